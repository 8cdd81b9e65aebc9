"""Rprop: a step size of each element that grows while its gradient keeps its sign."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.errors import OptionError
from ravine.formula import maximum, minimum, sign, where
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import log


def rprop(
    update: Value,
    prev: Value = 0.0,
    step_size: Value = 0.0,
    *,
    lr: Value,
    etas: Value,
    step_sizes: Value,
    step: Value,
) -> tuple[Value, Value, Value]:
    """The sign of the gradient times a step size; where the sign turned, no step and a smaller size (iRprop-)."""
    agreement = sign(update * prev)
    factor = where(agreement > 0, etas[1], where(agreement < 0, etas[0], 1.0))
    step_size = where(step == 1, lr, step_size) * factor
    step_size = minimum(maximum(step_size, step_sizes[0]), step_sizes[1])
    prev = where(agreement < 0, 0.0, update)
    return sign(prev) * step_size, prev, step_size


class Rprop(Optimizer):
    """Rprop: of a gradient only the sign counts, so it is for gradients of all the data, not of batches.

    Args:
        params: parameters, named parameters or groups.
        lr: the step size of every element at the first step; later it has no effect.
        etas: what a step size is multiplied by where the gradient's sign turned (between 0 and 1), and where it stayed
            (above 1).
        step_sizes: the least and the largest step size.
        foreach, capturable: change nothing: they choose between torch's own loops.
        maximize: ascend.
        differentiable: only False: a step is not recorded by autograd.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The numbers and state dicts are those of ``torch.optim.Rprop``: where the sign turned, the step is left out and not taken
    back (Igel and Hüsken, 2000, iRprop-).
    """

    reference: ClassVar = (
        "Riedmiller and Braun, 1993, RPROP, eq. 4-7; Igel and Hüsken, 2000, Improving the Rprop Learning Algorithm"
    )
    advice: ClassVar = (
        "For gradients of all the data at once, as of small networks and of fits; with batches the sign "
        "changes by chance. Step sizes grow by a fifth and are halved, as in the first papers."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "etas": Hyper(low=0, zero=False, length=2),
        "step_sizes": Hyper(low=0, length=2),
    }
    rates: ClassVar = {"digits": 0.005, "breast-cancer": 0.1, "rosenbrock": 0.5, "beale": 0.01, "ravine": 0.01}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            etas=etas,
            step_sizes=step_sizes,
            capturable=capturable,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(etas: tuple[float, float]) -> Pieces:
        if not etas[0] < 1 < etas[1]:
            raise OptionError(f"etas={etas}: the first is below 1 and shrinks a step size, the second above 1 grows it")
        return [rprop, pieces.subtract]
