"""LaProp: momentum of gradients that have been divided already."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import sqrt, squares
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def laprop(
    update: Value, exp_avg: Value = 0.0, exp_avg_sq: Value = squares(0.0), *, betas: Value, eps: Value, step: Value
) -> tuple[Value, Value, Value]:
    """Average of gradients, each over the root of the average of squares at its own step (algorithm 1)."""
    beta1, beta2 = betas
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update**2
    scaled = update / (sqrt(exp_avg_sq) / sqrt(1 - beta2**step) + eps)
    exp_avg = beta1 * exp_avg + (1 - beta1) * scaled
    return exp_avg / (1 - beta1**step), exp_avg, exp_avg_sq


class LaProp(Optimizer):
    """LaProp: Adam with the division before the momentum, so that any two betas go together.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the average of divided gradients, and of squares.
        eps: added to the root.
        weight_decay: decoupled: the parameter shrinks by ``lr * weight_decay`` of itself.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The authors' code has the learning rate in the average, so a later rate leaves it alone, adds eps before it corrects the root
    for starting at 0, and decays weights by ``weight_decay`` without ``lr``; this is the algorithm of the paper, with decay as in
    AdamW.
    """

    reference: ClassVar = "Ziyin et al., 2020, LaProp: Separating Momentum and Adaptivity in Adam, algorithm 1"
    advice: ClassVar = (
        "In Adam's place where beta1 and beta2 are far apart, as in noisy problems with a short beta2: "
        "dividing comes before the momentum."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
    }
    rates: ClassVar = {"digits": 0.02, "breast-cancer": 0.1, "rosenbrock": 0.05, "beale": 0.1, "ravine": 0.2}

    def __init__(
        self,
        params: Params,
        lr: Any = 4e-4,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-15,
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
        return [*([pieces.decay_weights_decoupled] if weight_decay else []), laprop, pieces.descend]
