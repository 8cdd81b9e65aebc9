"""LAMB: Adam's direction, and the length of each tensor's step from its norm."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import norm, where
from ravine.optim import pieces
from ravine.optim._adam import adam
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def trust(update: Value, *, param: Value) -> Value:
    """Scale to the norm of the parameter; where one of the two is 0, leave it (algorithm 2; phi is the identity)."""
    of_param, of_update = norm(param), norm(update)
    return where((of_param > 0) & (of_update > 0), of_param / of_update, 1.0) * update


class LAMB(Optimizer):
    """LAMB: AdamW with steps as long as ``lr`` times the norm of each tensor, for batches of thousands.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the average of gradients and of their squares.
        eps: added to the root.
        weight_decay: times the parameter joins Adam's step before its norm is taken.
        adapt: of a group: scale steps by norms; False, for biases and norms' scales, leaves AdamW.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    Some implementations clip all gradients to a norm of 1 first: ``clip_norm=1.0``.
    """

    reference: ClassVar = (
        "You et al., 2020, Large Batch Optimization for Deep Learning: Training BERT in 76 minutes, algorithm 2"
    )
    advice: ClassVar = (
        "For transformers in batches of thousands of examples. Biases and the scales of normalization layers "
        "go into a group with adapt=False."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
    }
    rates: ClassVar = {"digits": 0.005, "breast-cancer": 0.01, "rosenbrock": 0.02, "beale": 0.005, "ravine": 0.1}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
        adapt: bool = True,
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
            adapt=adapt,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float, adapt: bool) -> Pieces:
        return [adam, *([pieces.decay_weights] if weight_decay else []), *([trust] if adapt else []), pieces.descend]
