"""MARS: Adam on gradients whose noise the gradient before takes back."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import minimum, norm, where
from ravine.optim import pieces
from ravine.optim._adam import adam
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def correct(update: Value, last_grad: Value = 0.0, *, betas: Value, gamma: Value, step: Value) -> tuple[Value, Value]:
    """Add a share of the change since the gradient before (algorithm 2)."""
    change = where(step == 1, 0.0, update - last_grad)
    return update + gamma * betas[0] / (1 - betas[0]) * change, update


def shorten(update: Value) -> Value:
    """Shorten each tensor to a norm of 1 (algorithm 2)."""
    return update * minimum(1.0, 1 / norm(update))


class MARS(Optimizer):
    """MARS-AdamW: variance reduction before AdamW, with one gradient a step (MARS-approx).

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the average of gradients and of their squares.
        eps: added to the root.
        weight_decay: decoupled: the parameter shrinks by ``lr * weight_decay`` of itself.
        gamma: how much of the change since the gradient before is added; 0 leaves a clipped AdamW.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    All parameters are stepped alike; the authors' code gives those of one dimension to AdamW unless ``optimize_1d=True``: put them in
    an ``AdamW`` for that. It takes the gradient before the first one as 0; here, as in the paper, the first has no change. Norms
    are those of each tensor, as there.
    """

    reference: ClassVar = (
        "Yuan et al., 2024, MARS: Unleashing the Power of Variance Reduction for Training Large Models, algorithm 2"
    )
    advice: ClassVar = (
        "AdamW for language models, with a correction by the gradient before; it keeps one more buffer. "
        "gamma=0.025 is the authors'."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
        "gamma": Hyper(low=0),
    }
    rates: ClassVar = {"digits": 0.02, "breast-cancer": 0.1, "rosenbrock": 0.002, "beale": 0.01, "ravine": 1}

    def __init__(
        self,
        params: Params,
        lr: Any = 3e-3,
        betas: tuple[Any, Any] = (0.95, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0,
        gamma: float = 0.025,
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
            gamma=gamma,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float) -> Pieces:
        return [*([pieces.decay_weights_decoupled] if weight_decay else []), correct, shorten, adam, pieces.descend]
