"""NovoGrad: momentum of gradients that are divided by the norm of their tensor."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import dot, scalar, sqrt, where
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def normalize(
    update: Value, exp_avg_sq: Value = scalar(0.0), *, betas: Value, eps: Value, step: Value
) -> tuple[Value, Value]:
    """Divide by the root of the averaged squared norm of the tensor, which starts as the first one (algorithm 1)."""
    square = dot(update, update)
    exp_avg_sq = where(step == 1, square, betas[1] * exp_avg_sq + (1 - betas[1]) * square)
    return update / (sqrt(exp_avg_sq) + eps), exp_avg_sq


def summed(update: Value, exp_avg: Value = 0.0, *, betas: Value) -> tuple[Value, Value]:
    """A decaying sum."""
    exp_avg = betas[0] * exp_avg + update
    return exp_avg, exp_avg


class NovoGrad(Optimizer):
    """NovoGrad: Adam whose squares are one number for each tensor, and whose weight decay is in the momentum.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the sum of divided gradients, and of the average of squared norms.
        eps: added to the root.
        weight_decay: times the parameter joins the divided gradient.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The momentum is a sum, as in the paper's algorithm: implementations with ``grad_averaging`` multiply what enters it by
    1 - beta1, which is this with ``lr * (1 - beta1)``. The first step also adds eps to the norm.
    """

    reference: ClassVar = (
        "Ginsburg et al., 2019, Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep Networks, "
        "algorithm 1"
    )
    advice: ClassVar = (
        "For speech and vision models in large batches, with Adam's ease and less state: one number for each "
        "tensor in place of squares for every element. Its rates are larger than Adam's."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
    }
    rates: ClassVar = {"digits": 0.02, "breast-cancer": 0.01, "rosenbrock": 0.0002, "beale": 0.0005, "ravine": 0.1}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.95, 0.98),
        eps: float = 1e-8,
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
        return [normalize, *([pieces.decay_weights] if weight_decay else []), summed, pieces.descend]
