"""LARS: SGD with a rate for each tensor that follows its norm."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import norm, where
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def adapt_rate(update: Value, *, param: Value, weight_decay: Value, trust_coefficient: Value) -> Value:
    """Decay, and scale to trust_coefficient times the parameter's norm over the gradient's (eq. 6)."""
    of_param, of_grad = norm(param), norm(update)
    rate = trust_coefficient * of_param / (of_grad + weight_decay * of_param)
    return where((of_param > 0) & (of_grad > 0), rate, 1.0) * (update + weight_decay * param)


class LARS(Optimizer):
    """LARS: every tensor moves by a share of its own norm, for batches of thousands.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        momentum: factor of the momentum, which sums steps with their learning rates.
        weight_decay: L2 coefficient, added to the gradient.
        trust_coefficient: the length of a step over the norm of the tensor, before ``lr``.
        adapt: of a group: scale its gradients by norms; False, for biases and norms' scales, leaves SGD.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    Where a norm is 0 the gradient is not scaled, as in all implementations; the paper does not say.
    """

    reference: ClassVar = "You et al., 2017, Large Batch Training of Convolutional Networks, algorithm 1"
    advice: ClassVar = (
        "For convolutional networks in batches of thousands of examples. Biases and the scales of "
        "normalization layers go into a group with adapt=False."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-2, 1e2)),
        "momentum": Hyper(low=0, search=complement(0.0, 0.99)),
        "trust_coefficient": Hyper(low=0),
    }
    rates: ClassVar = {"digits": 2, "breast-cancer": 2, "rosenbrock": 2, "beale": 10, "ravine": 5}

    def __init__(
        self,
        params: Params,
        lr: Any = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0,
        trust_coefficient: float = 1e-3,
        adapt: bool = True,
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
            trust_coefficient=trust_coefficient,
            adapt=adapt,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float, momentum: float, adapt: bool) -> Pieces:
        return [
            *([adapt_rate] if adapt else [pieces.decay_weights] if weight_decay else []),
            pieces.scale_by_lr,
            *([pieces.momentum] if momentum else []),
            pieces.subtract,
        ]
