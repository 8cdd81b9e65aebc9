"""RMSprop and its dialects: everybody writes the same average of squares, and then differs."""

from __future__ import annotations

from typing import Any, ClassVar, Self, Unpack

from ravine.errors import OptionError, nearest
from ravine.formula import isfinite, sqrt, squares, start, where
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._dialects import DIALECTS
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim._variant import Variant
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def average_square(square_avg: Value = squares(0.0), *, update: Value, alpha: Value) -> Value:
    """Decaying average of the squared gradients: the second moment."""
    return alpha * square_avg + (1 - alpha) * update**2


def sum_square(square_avg: Value = squares(0.0), *, update: Value, alpha: Value) -> Value:
    """Decaying sum of the squared gradients: ``1 / (1 - alpha)`` times the average."""
    return alpha * square_avg + update**2


def average_gradient(grad_avg: Value = 0.0, *, update: Value, alpha: Value) -> Value:
    """Decaying average of the gradients: the first moment, for the variance."""
    return alpha * grad_avg + (1 - alpha) * update


def over_root(update: Value, *, square_avg: Value, eps: Value) -> Value:
    """Divide by the root of the second moment."""
    return update / (sqrt(square_avg) + eps)


def over_root_eps_inside(update: Value, *, square_avg: Value, eps: Value) -> Value:
    """Divide by the root of the second moment, eps inside it."""
    return update / sqrt(square_avg + eps)


def variance(square_avg: Value, grad_avg: Value) -> Value:
    """Second moment minus the square of the first.

    It can round below 0, where its root is NaN. It is then nothing but rounding error: its magnitude keeps the step at
    the size that it has when the error falls on the other side; 0 would leave eps alone to divide by. Where squares
    overflow it is infinite, not the NaN of infinity minus infinity.
    """
    return where(isfinite(square_avg), abs(square_avg - grad_avg**2), square_avg)


def over_deviation(update: Value, *, square_avg: Value, grad_avg: Value, eps: Value) -> Value:
    """Divide by the standard deviation (Graves, 2013, eq. 40)."""
    return update / (sqrt(variance(square_avg, grad_avg)) + eps)


def over_deviation_eps_inside(update: Value, *, square_avg: Value, grad_avg: Value, eps: Value) -> Value:
    """Divide by the standard deviation, eps inside the root."""
    return update / sqrt(variance(square_avg, grad_avg) + eps)


class RMSprop(Optimizer):
    """RMSprop: divide the gradient by the root of a decaying average of its square.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        alpha: decay of the average of squares.
        eps: added to the root.
        weight_decay: L2 coefficient, added to the gradient.
        momentum: factor of a momentum after the division; 0 keeps none.
        centered: divide by the standard deviation instead.
        maximize: ascend.
        fused: the kernel where it can (None), always (True) or never (False).
        common: ``clip_norm``, ``ema_decay``, ``nonfinite``, ``watch``: see ``ravine.optim.Common``.
        eps_inside_root: ``sqrt(square_avg + eps)`` (TensorFlow, Keras, optax, Lasagne).
        square_avg_start: what the average of squares starts from (TensorFlow, timm: 1).
        lr_in_momentum: the momentum sums ``lr * update``, so a later rate leaves it alone (TensorFlow, Keras, optax).
        momentum_first: accumulate the gradient, then divide (fastai).
        decoupled_weight_decay: decay the parameter by ``lr * weight_decay`` before the step (Keras, fastai).
        undamped: sum squares without the factor ``1 - alpha`` (the fastai book).
        capturable: changes nothing: a CUDA graph can capture a step on one GPU, but not with ``nonfinite="raise"``, nor
            where torch's operations on lists step (no Triton), nor of parameters on the CPU and a GPU together.
        foreach: changes nothing: it chooses between torch's own loops.
        differentiable: only False: a step is not recorded by autograd.

    The numbers and state dicts are those of ``torch.optim.RMSprop``, but centered gives no NaN for finite input.
    ``RMSprop.dialect(name, params)`` gives another library's numbers and defaults.
    """

    reference: ClassVar = "Tieleman and Hinton, 2012, Lecture 6.5; centered: Graves, 2013, eq. 38-45"
    advice: ClassVar = (
        "For reinforcement learning and recurrent networks, where the scale of gradients changes within tens "
        "of steps. alpha=0.99 looks back a hundred steps; libraries differ in it and in where eps stands, and "
        "those settings have names of their own."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "alpha": Hyper(low=0, search=complement(0.9, 0.999)),
        "square_avg_start": Hyper(low=0),
    }
    rates: ClassVar = {
        "digits": 0.002,
        "fashion-mnist": 0.0005,
        "breast-cancer": 0.05,
        "rosenbrock": 0.01,
        "beale": 0.01,
        "ravine": 0.1,
    }
    variants: ClassVar = {
        "rmsprop-centered": Variant({"momentum": 0.9, "centered": True}, timed=True),
        **{
            f"rmsprop-{name}": Variant(d.options, source=f"{d.source} (a dialect of RMSprop)")
            for name, d in DIALECTS.items()
        },
    }

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        *,
        fused: bool | None = None,
        eps_inside_root: bool = False,
        square_avg_start: float = 0.0,
        lr_in_momentum: bool = False,
        momentum_first: bool = False,
        decoupled_weight_decay: bool = False,
        undamped: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            capturable=capturable,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            fused=fused,
            eps_inside_root=eps_inside_root,
            square_avg_start=square_avg_start,
            lr_in_momentum=lr_in_momentum,
            momentum_first=momentum_first,
            decoupled_weight_decay=decoupled_weight_decay,
            undamped=undamped,
            **common,
        )

    @staticmethod
    def formula(
        weight_decay: float,
        momentum: float,
        centered: bool,
        eps_inside_root: bool,
        square_avg_start: float,
        lr_in_momentum: bool,
        momentum_first: bool,
        decoupled_weight_decay: bool,
        undamped: bool,
    ) -> Pieces:
        decay = pieces.decay_weights_decoupled if decoupled_weight_decay else pieces.decay_weights
        plain, inside = (over_deviation, over_deviation_eps_inside) if centered else (over_root, over_root_eps_inside)
        heavy_ball = [pieces.momentum] if momentum else []
        return [
            *([decay] if weight_decay else []),
            start(sum_square if undamped else average_square, square_avg=square_avg_start),
            *([average_gradient] if centered else []),
            *(heavy_ball if momentum_first else []),
            inside if eps_inside_root else plain,
            *([pieces.scale_by_lr] if lr_in_momentum else []),
            *([] if momentum_first else heavy_ball),
            pieces.subtract if lr_in_momentum else pieces.descend,
        ]

    @classmethod
    def dialect(cls, name: str, params: Params, **overrides: Any) -> Self:
        """RMSprop as another library or book has it, with its defaults; ``overrides`` are options of ``RMSprop``.

        Raises:
            OptionError: no dialect of that name, or it has no default learning rate and none was given.
        """
        if name not in DIALECTS:
            raise OptionError(f"RMSprop has no dialect {name!r}. {nearest(name, DIALECTS)}")
        chosen = {**DIALECTS[name].options, **overrides}
        if "lr" not in chosen:
            raise OptionError(f"{DIALECTS[name].source} has no default learning rate: pass lr=...")
        return cls(params, **chosen)
