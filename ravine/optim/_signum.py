"""Signum: the sign of a momentum."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import sign
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def signum(update: Value, momentum_buffer: Value = 0.0, *, momentum: Value) -> tuple[Value, Value]:
    """The sign of the average of gradients (algorithm 2)."""
    momentum_buffer = momentum * momentum_buffer + (1 - momentum) * update
    return sign(momentum_buffer), momentum_buffer


class Signum(Optimizer):
    """Signum: every element moves by the learning rate, against the sign of its average gradient.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate; a third to a tenth of Adam's.
        momentum: decay of the average of gradients; with 0 it is signSGD.
        weight_decay: decoupled: the parameter shrinks by ``lr * weight_decay`` of itself.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.
    """

    reference: ClassVar = (
        "Bernstein et al., 2018, signSGD: Compressed Optimisation for Non-Convex Problems, algorithm 2"
    )
    advice: ClassVar = (
        "The simplest of the sign methods, for comparisons with Lion and Adam, and where gradients are sent "
        "as signs. Every element moves by the rate."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-6, 1e-2)),
        "momentum": Hyper(low=0, high=1, below=True, search=complement(0.0, 0.99)),
    }
    rates: ClassVar = {"digits": 0.001, "breast-cancer": 0.01, "rosenbrock": 0.002, "beale": 0.01, "ravine": 0.05}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-4,
        momentum: float = 0.9,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float) -> Pieces:
        return [*([pieces.decay_weights_decoupled] if weight_decay else []), signum, pieces.descend]
