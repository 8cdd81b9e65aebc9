"""QHAdam: Adam between its averages and the gradient of the moment."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import sqrt, squares
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, linear, log


def qhadam(
    update: Value,
    exp_avg: Value = 0.0,
    exp_avg_sq: Value = squares(0.0),
    *,
    betas: Value,
    nus: Value,
    eps: Value,
    step: Value,
) -> tuple[Value, Value, Value]:
    """Adam whose two averages are each mixed with what the gradient now adds to them (section 4)."""
    (beta1, beta2), (nu1, nu2) = betas, nus
    square = update**2
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * square
    average = (1 - nu1) * update + nu1 * (exp_avg / (1 - beta1**step))
    squares = (1 - nu2) * square + nu2 * (exp_avg_sq / (1 - beta2**step))
    return average / (sqrt(squares) + eps), exp_avg, exp_avg_sq


class QHAdam(Optimizer):
    """QHAdam: Adam with a long memory that still answers to the gradient of the moment.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the average of gradients and of their squares.
        nus: the share of each average, beside the gradient and its square; (1, 1) is Adam.
        eps: added to the root.
        weight_decay: decoupled: the parameter shrinks by ``lr * weight_decay`` of itself.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    Defaults are those that the paper recommends; those of the authors' package are Adam's.
    """

    reference: ClassVar = "Ma and Yarats, 2019, Quasi-hyperbolic momentum and Adam for deep learning, section 4"
    advice: ClassVar = (
        "Adam with two more shares, of the gradient of the moment and of its square; with nus of 1 it is "
        "Adam. The defaults are the authors' recommendation."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
        "nus": Hyper(low=0, high=1, length=2, search=(linear(0.0, 1.0), None)),
    }
    rates: ClassVar = {"digits": 0.02, "breast-cancer": 0.02, "rosenbrock": 1, "beale": 0.5, "ravine": 2}
    becomes: ClassVar = {"adam": {"nu1": 1.0}, "rmsprop": {"nu1": 0.0}}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.995, 0.999),
        nus: tuple[float, float] = (0.7, 1.0),
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
            nus=nus,
            eps=eps,
            weight_decay=weight_decay,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float) -> Pieces:
        return [*([pieces.decay_weights_decoupled] if weight_decay else []), qhadam, pieces.descend]
