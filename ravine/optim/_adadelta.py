"""Adadelta."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import sqrt, squares
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._dialects import THEANO_BOOK
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim._variant import Variant
from ravine.optim.pieces import Value
from ravine.optim.search import log


def adadelta(
    update: Value, square_avg: Value = squares(0.0), acc_delta: Value = squares(0.0), *, rho: Value, eps: Value
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
        common: ``clip_norm``, ``ema_decay``, ``nonfinite``, ``watch``: see ``ravine.optim.Common``.
        capturable: changes nothing: a CUDA graph can capture a step on one GPU, but not with ``nonfinite="raise"``, nor
            where torch's operations on lists step (no Triton), nor of parameters on the CPU and a GPU together.
        foreach: changes nothing: it chooses between torch's own loops.
        differentiable: only False: a step is not recorded by autograd.

    The numbers and state dicts are those of ``torch.optim.Adadelta``.
    """

    reference: ClassVar = "Zeiler, 2012, ADADELTA: An Adaptive Learning Rate Method, algorithm 1"
    advice: ClassVar = (
        "Where no rate can be tuned: its steps are made of earlier steps. The first ones are as small as eps "
        "lets them be, so it starts slowly; a rate of 1 leaves the paper's steps as they are."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-2, 100.0)),
        "rho": Hyper(low=0, high=1),
    }
    rates: ClassVar = {
        "digits": 2,
        "fashion-mnist": 0.5,
        "breast-cancer": 20,
        "rosenbrock": 0.5,
        "beale": 1,
        "ravine": 10,
    }
    variants: ClassVar = {"adadelta-theano-book": Variant({"rho": 0.95, "eps": 1e-6}, source=THEANO_BOOK)}

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
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            rho=rho,
            eps=eps,
            weight_decay=weight_decay,
            foreach=foreach,
            capturable=capturable,
            maximize=maximize,
            differentiable=differentiable,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float) -> Pieces:
        return [*([pieces.decay_weights] if weight_decay else []), adadelta, pieces.descend]
