"""Adafactor: the squares of a matrix's gradients kept as a row and a column, so that the state is nearly nothing."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import maximum, mean, minimum, reduced, resolution, rms, sqrt, squares
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import log


def factored(
    update: Value,
    row_var: Value = reduced(0.0, dim=-1),
    col_var: Value = reduced(0.0, dim=-2),
    *,
    beta2_decay: Value,
    eps: Value,
    step: Value,
) -> tuple[Value, Value, Value]:
    """The gradient over the root of its squares, which are the product of a row and a column (algorithm 4)."""
    share = step**beta2_decay
    row_var = row_var + share * (mean(update**2, dim=-1) - row_var)
    col_var = col_var + share * (mean(update**2, dim=-2) - col_var)
    squares = row_var * col_var / maximum(mean(row_var, dim=-2), eps[0])
    return update / sqrt(maximum(squares, eps[0] * eps[0])), row_var, col_var


def factored_by_dtype(
    update: Value,
    row_var: Value = reduced(0.0, dim=-1),
    col_var: Value = reduced(0.0, dim=-2),
    *,
    beta2_decay: Value,
    step: Value,
) -> tuple[Value, Value, Value]:
    """``factored`` with the resolution of the parameter's dtype for the first eps."""
    eps = (resolution(update),)
    return factored(update, row_var, col_var, beta2_decay=beta2_decay, eps=eps, step=step)


def unfactored(
    update: Value, variance: Value = squares(0.0), *, beta2_decay: Value, eps: Value, step: Value
) -> tuple[Value, Value]:
    """The gradient over the root of its squares, for what has no rows and columns (algorithm 5)."""
    variance = variance + step**beta2_decay * (update**2 - variance)
    return update / sqrt(maximum(variance, eps[0] * eps[0])), variance


def unfactored_by_dtype(
    update: Value, variance: Value = squares(0.0), *, beta2_decay: Value, step: Value
) -> tuple[Value, Value]:
    """``unfactored`` with the resolution of the parameter's dtype for the first eps."""
    return unfactored(update, variance, beta2_decay=beta2_decay, eps=(resolution(update),), step=step)


def relative(param: Value, *, update: Value, lr: Value, eps: Value, d: Value, step: Value) -> Value:
    """A step that is at most ``lr``, at most 1 / sqrt(step), and relative to the parameter's own size (algorithm 4)."""
    rate = maximum(eps[1], rms(param)) * minimum(lr, 1 / sqrt(step))
    return param - rate / maximum(1.0, rms(update) / d) * update


def relative_decayed(
    param: Value, *, update: Value, lr: Value, eps: Value, d: Value, step: Value, weight_decay: Value
) -> Value:
    """``relative``, and a decoupled decay of the weights."""
    return relative(param, update=update, lr=lr, eps=eps, d=d, step=step) - lr * weight_decay * param


class Adafactor(Optimizer):
    """Adafactor: Adam's division by the root of squares, with a row and a column in place of a matrix of them.

    Args:
        params: parameters, named parameters or groups.
        lr: the largest relative step; at step t it is at most 1 / sqrt(t).
        beta2_decay: exponent of the step number with which new squares enter their average.
        eps: the least root of squares (None: ``torch.finfo(dtype).eps``), and the least size of a parameter that steps are
            relative to.
        d: the root mean square of an update from which it is shortened.
        weight_decay: shrinks the parameter by ``lr * weight_decay``.
        foreach: changes nothing: it chooses between torch's own loops.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The numbers and state dicts are those of ``torch.optim.Adafactor``. Of a matrix of n x m it keeps n + m numbers; of what has
    fewer than two dimensions as many as it has elements; of more dimensions, rows and columns of the last two.
    """

    reference: ClassVar = (
        "Shazeer and Stern, 2018, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, algorithms 4-6"
    )
    advice: ClassVar = (
        "For models whose second moments do not fit in memory, as large embeddings. Steps are relative to the "
        "size of each parameter and fall with the root of the step's number, so the default needs no "
        "schedule."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-4, 1.0)),
        "beta2_decay": Hyper(high=0),
        "eps": Hyper(low=0, length=2, optional=True),
        "d": Hyper(low=1),
    }
    rates: ClassVar = {"digits": 0.05, "breast-cancer": 0.2, "rosenbrock": 0.02, "beale": 0.02, "ravine": 0.5}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            beta2_decay=beta2_decay,
            eps=eps,
            d=d,
            weight_decay=weight_decay,
            foreach=foreach,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(eps: tuple[float | None, float], weight_decay: float, ndim: int) -> Pieces:
        by_dtype = (factored_by_dtype, unfactored_by_dtype)
        matrix, other = by_dtype if eps[0] is None else (factored, unfactored)
        return [matrix if ndim > 1 else other, relative_decayed if weight_decay else relative]
