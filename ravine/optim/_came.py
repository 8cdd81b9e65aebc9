"""CAME: Adafactor whose steps are shorter where its updates disagree with their own average."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import maximum, mean, reduced, rms, sqrt, squares
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def over_root(x: Value, row: Value, col: Value) -> Value:
    """x over the root of ``row * col / mean(row)``, in factors of which none is too small for single precision."""
    return x / sqrt(row / mean(row, dim=-2)) / sqrt(col)


def factored(
    update: Value,
    exp_avg_sq_row: Value = reduced(0.0, dim=-1),
    exp_avg_sq_col: Value = reduced(0.0, dim=-2),
    *,
    betas: Value,
    eps: Value,
) -> tuple[Value, Value, Value]:
    """The gradient over the root of its squares, which are the product of a row and a column."""
    _, beta2, _ = betas
    squares = update**2 + eps[0]
    exp_avg_sq_row = beta2 * exp_avg_sq_row + (1 - beta2) * mean(squares, dim=-1)
    exp_avg_sq_col = beta2 * exp_avg_sq_col + (1 - beta2) * mean(squares, dim=-2)
    return over_root(update, exp_avg_sq_row, exp_avg_sq_col), exp_avg_sq_row, exp_avg_sq_col


def unfactored(update: Value, exp_avg_sq: Value = squares(0.0), *, betas: Value, eps: Value) -> tuple[Value, Value]:
    """The gradient over the root of its squares, for what has no rows and columns."""
    _, beta2, _ = betas
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * (update**2 + eps[0])
    return update / sqrt(exp_avg_sq), exp_avg_sq


def shortened(update: Value, *, clip_threshold: Value) -> Value:
    """The update, brought to a root mean square of at most the threshold."""
    return update / maximum(1.0, rms(update) / clip_threshold)


def confident(
    update: Value,
    exp_avg: Value = 0.0,
    exp_avg_res_row: Value = reduced(0.0, dim=-1),
    exp_avg_res_col: Value = reduced(0.0, dim=-2),
    *,
    betas: Value,
    eps: Value,
) -> tuple[Value, Value, Value, Value]:
    """The average of updates over the root of the squares of what they differ from it by, a row and a column too."""
    beta1, _, beta3 = betas
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    apart = (update - exp_avg) ** 2 + eps[1]
    exp_avg_res_row = beta3 * exp_avg_res_row + (1 - beta3) * mean(apart, dim=-1)
    exp_avg_res_col = beta3 * exp_avg_res_col + (1 - beta3) * mean(apart, dim=-2)
    return over_root(exp_avg, exp_avg_res_row, exp_avg_res_col), exp_avg, exp_avg_res_row, exp_avg_res_col


def averaged(update: Value, exp_avg: Value = 0.0, *, betas: Value) -> tuple[Value, Value]:
    """The average of updates, for what has no rows and columns."""
    exp_avg = betas[0] * exp_avg + (1 - betas[0]) * update
    return exp_avg, exp_avg


class CAME(Optimizer):
    """CAME: Adafactor with momentum, and each step divided by how far updates have been from their average.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decays of the averages of updates, of squares of gradients, and of squares of what updates differ from their
            average by.
        eps: added to these two kinds of squares.
        clip_threshold: the root mean square to which longer updates are shortened before they are averaged.
        weight_decay: shrinks the parameter by ``lr * weight_decay``.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    Of a matrix of n x m it keeps n x m + 2 n + 2 m numbers; of more dimensions, rows and columns of the last two. What has
    fewer than two dimensions is stepped by its averaged updates alone, as in the authors' code; the paper is of matrices.
    No average is unbiased: early steps are long, by up to ``(1 - betas[0]) / sqrt(1 - betas[2])``.
    """

    reference: ClassVar = (
        "Luo et al., 2023, CAME: Confidence-guided Adaptive Memory Efficient Optimization, algorithm 2; vectors: its "
        "authors' code"
    )
    advice: ClassVar = (
        "In Adafactor's place for language models in large batches: it also damps steps that do not agree "
        "with their average. Its rates are near AdamW's, without Adafactor's scaling."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=3, search=(complement(0.5, 0.99), None, None)),
        "eps": Hyper(low=0, length=2),
        "clip_threshold": Hyper(low=0, zero=False),
    }
    rates: ClassVar = {"digits": 0.0002, "breast-cancer": 0.0005, "rosenbrock": 0.1, "beale": 0.5, "ravine": 0.2}

    def __init__(
        self,
        params: Params,
        lr: Any = 2e-4,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
        eps: tuple[float, float] = (1e-30, 1e-16),
        clip_threshold: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            clip_threshold=clip_threshold,
            weight_decay=weight_decay,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float, ndim: int) -> Pieces:
        before, after = (factored, confident) if ndim > 1 else (unfactored, averaged)
        decay = [pieces.decay_weights_decoupled] if weight_decay else []
        return [before, shortened, after, *decay, pieces.descend]
