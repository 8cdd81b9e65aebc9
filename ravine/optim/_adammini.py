"""Adam-mini: Adam with one second moment for each row of a matrix, and one for each other tensor."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import maximum, mean, numel, reduced, scalar, sqrt, sum
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def adam_of_rows(
    update: Value,
    exp_avg: Value = 0.0,
    exp_avg_sq: Value = reduced(0.0, dim=-1),
    *,
    betas: Value,
    eps: Value,
    step: Value,
) -> tuple[Value, Value, Value]:
    """Adam's update, with the mean square of each row of the gradient for its squares (algorithm 1)."""
    beta1, beta2 = betas
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * mean(update**2, dim=-1)
    denominator = sqrt(exp_avg_sq) / sqrt(1 - beta2**step) + eps
    return exp_avg / (1 - beta1**step) / denominator, exp_avg, exp_avg_sq


def adam_of_tensors(
    update: Value, exp_avg: Value = 0.0, exp_avg_sq: Value = scalar(0.0), *, betas: Value, eps: Value, step: Value
) -> tuple[Value, Value, Value]:
    """The same with the mean square of the tensor."""
    beta1, beta2 = betas
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * sum(update**2) / maximum(1, numel(update))  # 0 without elements
    denominator = sqrt(exp_avg_sq) / sqrt(1 - beta2**step) + eps
    return exp_avg / ((1 - beta1**step) * denominator), exp_avg, exp_avg_sq


class AdamMini(Optimizer):
    """Adam-mini: Adam with one learning rate for each row of a matrix, and half of Adam's memory.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decays of the averages of gradients and of mean squares.
        eps: added to the root of the mean square.
        weight_decay: shrinks the parameter by ``lr * weight_decay``.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    A block, whose elements share a mean square, is a row of a matrix: an output of ``torch.nn.Linear``, a token of
    ``torch.nn.Embedding``. That is the paper's partition of a transformer but for queries and keys, whose blocks are the heads
    there: to have it, give each head a parameter or reshape to heads by rows. All other tensors are one block each, as the
    paper has it of other networks. Beside a matrix of n x m it keeps n x m + n numbers.
    """

    reference: ClassVar = "Zhang et al., 2024, Adam-mini: Use Fewer Learning Rates To Gain More, algorithms 1 and 3"
    advice: ClassVar = (
        "In AdamW's place where memory counts: one rate for each row, so half of the state. AdamW's rates and "
        "decay can be kept."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-4, 1.0)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.5, 0.99), None)),
    }
    rates: ClassVar = {"digits": 0.002, "breast-cancer": 0.01, "rosenbrock": 0.1, "beale": 0.5, "ravine": 1}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
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
            weight_decay=weight_decay,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float, ndim: int) -> Pieces:
        decay = [pieces.decay_weights_decoupled] if weight_decay else []
        return [adam_of_rows if ndim == 2 else adam_of_tensors, *decay, pieces.descend]
