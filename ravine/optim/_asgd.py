"""ASGD: gradient descent whose result is the average of its last points."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import ParamCopy, maximum, scalar, where
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import log

#: In torch it starts as 0, and is the parameter from the first step on.
_MEAN = ParamCopy(average=True)


def averaged_descent(
    param: Value,
    ax: Value = _MEAN,
    eta: Value = scalar(0.0),
    mu: Value = scalar(1.0),
    *,
    update: Value,
    lr: Value,
    lambd: Value,
    alpha: Value,
    t0: Value,
    step: Value,
) -> tuple[Value, Value, Value, Value]:
    """A step of falling length ``eta``, and the mean of the points from step t0 on (Bottou's rates for section 2's average)."""
    eta = where(step == 1, lr, eta)
    param = param * (1 - lambd * eta) - eta * update
    ax = where(mu == 1, param, ax + mu * (param - ax))
    return param, ax, lr / (1 + lambd * lr * step) ** alpha, 1 / maximum(1.0, step - t0)


class ASGD(Optimizer):
    """Averaged SGD: rates that fall slowly, and the mean of all points since step ``t0``.

    The mean is the state ``ax``; ``with optimizer.averaged():`` puts it in the parameters' place.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate of the first step; later ones are ``lr / (1 + lambd * lr * step) ** alpha``.
        lambd: shrinks the parameter by ``lambd`` times the rate, and makes the rate fall.
        alpha: power of the falling rate.
        t0: the step from which points are averaged; until then the average is the last point.
        weight_decay: L2 coefficient, added to the gradient.
        foreach, capturable: change nothing: they choose between torch's own loops.
        maximize: ascend.
        differentiable: only False: a step is not recorded by autograd.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The numbers and state dicts are those of ``torch.optim.ASGD``; ``eta`` and ``mu`` are kept in double precision, where torch
    keeps them in the default dtype.
    """

    reference: ClassVar = (
        "Polyak and Juditsky, 1992, Acceleration of Stochastic Approximation by Averaging, eq. 2; rates: Bottou, 2012, "
        "Stochastic Gradient Descent Tricks, section 5"
    )
    advice: ClassVar = (
        "For convex problems, where the mean of the points is better than the last: evaluate inside "
        "optimizer.averaged(). Rates fall as 1/t^alpha; t0=1e6 begins to average late, so set it to the steps "
        "after which the training is near its end."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-3, 10.0)),
        "lambd": Hyper(low=0),
        "alpha": Hyper(low=0),
        "t0": Hyper(low=0),
    }
    rates: ClassVar = {"digits": 0.5, "breast-cancer": 0.5, "rosenbrock": 0.002, "beale": 0.01, "ravine": 0.1}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        *,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            lambd=lambd,
            alpha=alpha,
            t0=t0,
            weight_decay=weight_decay,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            capturable=capturable,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float) -> Pieces:
        return [*([pieces.decay_weights] if weight_decay else []), averaged_descent]
