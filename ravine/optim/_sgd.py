"""SGD, with momentum and Nesterov's look-ahead."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.errors import OptionError
from ravine.formula import where
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._dialects import THEANO_BOOK
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim._variant import Variant
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def damped_momentum(
    update: Value, momentum_buffer: Value = 0.0, *, momentum: Value, dampening: Value, step: Value
) -> tuple[Value, Value]:
    """Momentum whose new updates are damped, except the first, which fills the buffer."""
    momentum_buffer = where(step == 1, update, momentum * momentum_buffer + (1 - dampening) * update)
    return momentum_buffer, momentum_buffer


def look_ahead(update: Value, momentum_buffer: Value = 0.0, *, momentum: Value) -> tuple[Value, Value]:
    """Nesterov's momentum: the step is taken from where the momentum is about to lead."""
    momentum_buffer = momentum * momentum_buffer + update
    return update + momentum * momentum_buffer, momentum_buffer


_MOMENTUM_RATES = {
    "digits": 0.05,
    "fashion-mnist": 0.01,
    "breast-cancer": 0.2,
    "rosenbrock": 0.001,
    "beale": 0.002,
    "ravine": 0.02,
}


_NESTEROV_RATES = {
    "digits": 0.05,
    "fashion-mnist": 0.02,
    "breast-cancer": 0.2,
    "rosenbrock": 0.001,
    "beale": 0.002,
    "ravine": 0.02,
}


class SGD(Optimizer):
    """Stochastic gradient descent: ``param -= lr * grad``, optionally with momentum.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        momentum: factor of the momentum buffer; 0 keeps none.
        dampening: share of a new gradient that does not enter the buffer.
        weight_decay: L2 coefficient, added to the gradient.
        nesterov: look ahead along the momentum; needs momentum above 0 and no dampening.
        maximize: ascend.
        fused: the kernel where it can (None), always (True) or never (False).
        common: ``clip_norm``, ``ema_decay``, ``nonfinite``, ``watch``: see ``ravine.optim.Common``.
        lr_in_momentum: the momentum sums ``lr * update``, so a later rate leaves it alone (Theano's books, TensorFlow, Keras).
        foreach: changes nothing: it chooses between torch's own loops.
        differentiable: only False: a step is not recorded by autograd.

    The numbers and state dicts are those of ``torch.optim.SGD``; Ravine also counts ``step``.
    """

    reference: ClassVar = "Robbins and Monro, 1951; momentum: Polyak, 1964; nesterov: Sutskever et al., 2013, eq. 3-4"
    advice: ClassVar = (
        "Take it with momentum 0.9 for convolutional networks, where a tuned rate is known, and where memory "
        "counts. Its rate has the unit of parameter over gradient, so the default is only a beginning: "
        "`ravine lr-find` looks for one."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-3, 10.0)),
        "momentum": Hyper(low=0),
        "dampening": Hyper(),
    }
    rates: ClassVar = {
        "digits": 0.5,
        "fashion-mnist": 0.1,
        "breast-cancer": 2,
        "rosenbrock": 0.001,
        "beale": 0.01,
        "ravine": 0.1,
    }
    variants: ClassVar = {
        "momentum": Variant(
            {"momentum": 0.9},
            search={"momentum": complement(0.0, 0.99)},
            rates=_MOMENTUM_RATES,
            becomes={"sgd": {"momentum": 0.0}},
            timed=True,
        ),
        "nesterov": Variant(
            {"momentum": 0.9, "nesterov": True},
            search={"momentum": complement(0.0, 0.99)},
            rates=_NESTEROV_RATES,
            becomes={"sgd": {"momentum": 0.0}},
        ),
        "momentum-theano-book": Variant(
            {"momentum": 0.9, "lr_in_momentum": True}, source=THEANO_BOOK, rates=_MOMENTUM_RATES
        ),
        "nesterov-theano-book": Variant(
            {"momentum": 0.9, "nesterov": True, "lr_in_momentum": True}, source=THEANO_BOOK
        ),
    }
    not_in_torch: ClassVar = {"step": 1.0}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        lr_in_momentum: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
            foreach=foreach,
            differentiable=differentiable,
            fused=fused,
            lr_in_momentum=lr_in_momentum,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float, momentum: float, dampening: float, nesterov: bool, lr_in_momentum: bool) -> Pieces:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise OptionError(
                f"Nesterov momentum requires a momentum and zero dampening; it has momentum={momentum!r}, dampening={dampening!r}: "
                "write momentum=0.9, dampening=0, nesterov=True"
            )
        heavy_ball = look_ahead if nesterov else damped_momentum if dampening else pieces.momentum
        return [
            *([pieces.decay_weights] if weight_decay else []),
            *([pieces.scale_by_lr] if lr_in_momentum else []),
            *([heavy_ball] if momentum else []),
            pieces.subtract if lr_in_momentum else pieces.descend,
        ]
