"""Adadelta."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import sqrt
from ravine.optim import pieces
from ravine.optim._optimizer import Optimizer, Params, Pieces, options
from ravine.optim._shared import Shared
from ravine.optim.pieces import Value


def adadelta(
    update: Value, square_avg: Value = 0.0, acc_delta: Value = 0.0, *, rho: Value, eps: Value
) -> tuple[Value, Value, Value]:
    """Give the update the size of recent updates: RMS of updates over RMS of gradients (Zeiler, 2012, eq. 14)."""
    square_avg = rho * square_avg + (1 - rho) * update**2
    update = update * sqrt(acc_delta + eps) / sqrt(square_avg + eps)
    acc_delta = rho * acc_delta + (1 - rho) * update**2
    return update, square_avg, acc_delta


class Adadelta(Optimizer):
    """Adadelta: steps as large as recent steps were, so that the learning rate has no unit and is 1.

    Args:
        params: parameters, named parameters or groups.
        lr: factor of the step.
        rho: decay of the two averages of squares.
        eps: added inside both roots; it also starts the steps.
        weight_decay: L2 coefficient, added to the gradient.
        maximize: ascend.
        fused: the kernel where it can (None), always (True) or never (False).
        shared: ``clip_norm``, ``ema_decay``, ``nonfinite``, ``watch``: see ``ravine.optim._shared.Shared``.
        foreach, capturable, differentiable: torch's switches for its own loops; only their defaults have a meaning.

    The numbers and state dicts are those of ``torch.optim.Adadelta``.
    """

    reference: ClassVar = "Zeiler, 2012, ADADELTA: An Adaptive Learning Rate Method, algorithm 1"
    search: ClassVar = {"lr": (1e-2, 100.0)}

    def __init__(
        self,
        params: Params,
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**options(locals()))

    @staticmethod
    def formula(weight_decay: float) -> Pieces:
        return [*([pieces.decay_weights] if weight_decay else []), adadelta, pieces.descend]
