"""ADOPT: Adam that divides by squares it has not seen the gradient in."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import maximum, minimum, sqrt, squares, where
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def adopt(
    update: Value, exp_avg: Value = 0.0, exp_avg_sq: Value = squares(0.0), *, betas: Value, eps: Value, step: Value
) -> tuple[Value, Value, Value]:
    """Average of gradients, each over the root of the squares before it and clipped (algorithm 2).

    The first gradient only starts the squares.
    """
    beta1, beta2 = betas
    bound = (step - 1) ** 0.25
    scaled = maximum(minimum(update / maximum(sqrt(exp_avg_sq), eps), bound), -bound)
    exp_avg = where(step == 1, 0.0, beta1 * exp_avg + (1 - beta1) * scaled)
    exp_avg_sq = where(step == 1, update**2, beta2 * exp_avg_sq + (1 - beta2) * update**2)
    return exp_avg, exp_avg, exp_avg_sq


def decay_weights_later(param: Value, *, lr: Value, weight_decay: Value, step: Value) -> Value:
    """Decoupled weight decay, from the second step on."""
    return param * where(step == 1, 1.0, 1 - lr * weight_decay)


class ADOPT(Optimizer):
    """ADOPT: Adam with the order changed so that it converges for any beta2.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the average of scaled gradients, and of their squares.
        eps: the least root that is divided by.
        weight_decay: decoupled: the parameter shrinks by ``lr * weight_decay`` of itself.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The first step moves nothing. A scaled gradient is clipped to the fourth root of the step before, as in the paper's second
    version and the authors' code.
    """

    reference: ClassVar = (
        "Taniguchi et al., 2024, ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal Rate, algorithm 2"
    )
    advice: ClassVar = (
        "In Adam's place where beta2 must be far below 0.999 or gradients are heavy-tailed: it divides by "
        "squares that the gradient is not in. The first gradient only starts these."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
    }
    rates: ClassVar = {"digits": 0.01, "breast-cancer": 0.2, "rosenbrock": 2, "beale": 2, "ravine": 1}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.9999),
        eps: float = 1e-6,
        weight_decay: float = 0,
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
    def formula(weight_decay: float) -> Pieces:
        return [*([decay_weights_later] if weight_decay else []), adopt, pieces.descend]
