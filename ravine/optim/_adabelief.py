"""AdaBelief: Adam that divides by how far gradients are from their average."""

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


def adabelief(
    update: Value, exp_avg: Value = 0.0, exp_avg_var: Value = squares(0.0), *, betas: Value, eps: Value, step: Value
) -> tuple[Value, Value, Value]:
    """Average of gradients over the root of the average of their squared distances from it (algorithm 2)."""
    beta1, beta2 = betas
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_var = beta2 * exp_avg_var + (1 - beta2) * (update - exp_avg) ** 2 + eps
    denominator = sqrt(exp_avg_var) / sqrt(1 - beta2**step) + eps
    return exp_avg / (1 - beta1**step) / denominator, exp_avg, exp_avg_var


class AdaBelief(Optimizer):
    """AdaBelief: long steps where gradients are what their average promised, short ones where they are not.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the average of gradients and of their squared distances from it.
        eps: added to the average of squares at every step, and to its root.
        weight_decay: decoupled: the parameter shrinks by ``lr * weight_decay`` of itself.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The paper's eps is 1e-8; 1e-16 is what its authors' package came to. That package rectifies as RAdam by default, which the
    algorithm does not, and neither does this.
    """

    reference: ClassVar = (
        "Zhuang et al., 2020, AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients, algorithm 2"
    )
    advice: ClassVar = (
        "In Adam's place where gradients agree for long, as at the end of a training: there its steps are "
        "longer. Its eps is inside the average and much smaller than Adam's."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
    }
    rates: ClassVar = {"digits": 0.02, "breast-cancer": 0.05, "rosenbrock": 0.1, "beale": 0.1, "ravine": 0.1}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-16,
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
        return [*([pieces.decay_weights_decoupled] if weight_decay else []), adabelief, pieces.descend]
