"""Lion: the sign of a momentum."""

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


def lion(update: Value, exp_avg: Value = 0.0, *, betas: Value) -> tuple[Value, Value]:
    """The sign of one average of gradients; the average that is kept is slower (algorithm 2)."""
    beta1, beta2 = betas
    return sign(beta1 * exp_avg + (1 - beta1) * update), beta2 * exp_avg + (1 - beta2) * update


class Lion(Optimizer):
    """Lion: every element moves by the learning rate, in the direction of the sign of its momentum.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate; a third to a tenth of Adam's.
        betas: decay of the average that gives the sign, and of the one that is kept.
        weight_decay: decoupled; three to ten times AdamW's.
        maximize, fused, common: as every optimizer; see ``Optimizer`` and ``Common``.
    """

    reference: ClassVar = "Chen et al., 2023, Symbolic Discovery of Optimization Algorithms, algorithm 2"
    advice: ClassVar = "Where state counts: one buffer. A rate 3 to 10 times below AdamW's, as much more decay."
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-6, 1e-2)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
    }
    rates: ClassVar = {"digits": 0.001, "breast-cancer": 0.005, "rosenbrock": 0.02, "beale": 0.02, "ravine": 0.05}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-4,
        betas: tuple[Any, Any] = (0.9, 0.99),
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params, lr=lr, betas=betas, weight_decay=weight_decay, maximize=maximize, fused=fused, **common
        )

    @staticmethod
    def formula(weight_decay: float) -> Pieces:
        return [*([pieces.decay_weights_decoupled] if weight_decay else []), lion, pieces.descend]
