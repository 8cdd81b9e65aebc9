"""SGDW: SGD with momentum and decoupled weight decay."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim._sgd import look_ahead
from ravine.optim.search import complement, log


class SGDW(Optimizer):
    """SGDW: SGD with momentum whose weight decay does not pass through the momentum.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        momentum: factor of the momentum buffer.
        weight_decay: decoupled: the parameter shrinks by ``lr * weight_decay`` of itself.
        nesterov: look ahead along the momentum.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The paper multiplies the decay by the schedule alone, not by ``lr``: its factor is ``lr * weight_decay`` here, as in AdamW and in
    timm. There the momentum sums steps with their learning rates, here gradients, as in torch.
    """

    reference: ClassVar = "Loshchilov and Hutter, 2019, Decoupled Weight Decay Regularization, algorithm 1"
    advice: ClassVar = (
        "As SGD with momentum, where weights are decayed: the decay does not go through the momentum, so its "
        "best value does not move with the rate."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-3, 10.0)),
        "momentum": Hyper(low=0, search=complement(0.0, 0.99)),
    }
    rates: ClassVar = {"digits": 0.1, "breast-cancer": 0.2, "rosenbrock": 0.001, "beale": 0.002, "ravine": 0.05}
    becomes: ClassVar = {"momentum": {"weight_decay": 0.0}, "sgd": {"momentum": 0.0, "weight_decay": 0.0}}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 1e-2,
        nesterov: bool = False,
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
            nesterov=nesterov,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float, momentum: float, nesterov: bool) -> Pieces:
        heavy_ball = look_ahead if nesterov else pieces.momentum
        return [
            *([pieces.decay_weights_decoupled] if weight_decay else []),
            *([heavy_ball] if momentum else []),
            pieces.descend,
        ]
