"""MADGRAD: sums of all gradients, seen from where the parameter started."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import param_copy, sqrt, squares
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def madgrad(
    param: Value,
    x0: Value = param_copy,
    s: Value = 0.0,
    grad_sum_sq: Value = squares(0.0),
    *,
    update: Value,
    lr: Value,
    momentum: Value,
    eps: Value,
    step: Value,
) -> tuple[Value, Value, Value, Value]:
    """The start minus the weighted sum of gradients over the cube root of that of squares; part of the way (algorithm 1)."""
    weight = lr * sqrt(step)
    s = s + weight * update
    grad_sum_sq = grad_sum_sq + weight * update**2
    target = x0 - s / (grad_sum_sq ** (1 / 3) + eps)
    return momentum * param + (1 - momentum) * target, x0, s, grad_sum_sq


class MADGRAD(Optimizer):
    """MADGRAD: Adagrad's dual averaging with momentum, for problems where SGD is better than Adam.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        momentum: how much of the way to the new point is not gone.
        weight_decay: L2 coefficient, added to the gradient.
        eps: added to the cube root.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    A parameter's start is kept as a state also where momentum is 0, where the authors' code computes it anew; that code adds eps
    to the learning rate too.
    """

    reference: ClassVar = "Defazio and Jelassi, 2021, Adaptivity without Compromise: MADGRAD, algorithm 1"
    advice: ClassVar = (
        "Where SGD with momentum is better than Adam, as on pictures, with less search for a rate. It begins "
        "from where it started, so weight decay should be lower than elsewhere, often 0."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-4, 1.0)),
        "momentum": Hyper(low=0, high=1, below=True, search=complement(0.0, 0.99)),
    }
    rates: ClassVar = {"digits": 0.02, "breast-cancer": 0.1, "rosenbrock": 0.005, "beale": 0.01, "ravine": 0.1}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-2,
        momentum: float = 0.9,
        weight_decay: float = 0,
        eps: float = 1e-6,
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
            eps=eps,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float) -> Pieces:
        return [*([pieces.decay_weights] if weight_decay else []), madgrad]
