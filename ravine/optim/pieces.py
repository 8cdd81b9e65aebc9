"""Pieces that several optimizers are made of. Each is a formula in the language of ``ravine.formula``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ravine.formula import ParamCopy, Piece, global_norm, maximum, mean, minimum, norm, where
from ravine.optim._hyperparameters import Hyper
from ravine.optim.search import log

__all__ = [
    "HYPERS",
    "adaptive_clip",
    "ascend",
    "cautious",
    "clip_global_norm",
    "clip_norm",
    "clip_value",
    "decay_weights",
    "decay_weights_decoupled",
    "descend",
    "ema",
    "lookahead",
    "momentum",
    "scale_by_lr",
    "subtract",
    "unscale",
]


def __dir__() -> list[str]:
    return __all__


#: What the hyperparameters of these pieces may be, and those of every formula.
HYPERS: Mapping[str, Hyper] = {
    "lr": Hyper(low=0, search=log(1e-4, 1.0)),
    "eps": Hyper(low=0),
    "weight_decay": Hyper(low=0),
    "momentum": Hyper(low=0),
    "clip_norm": Hyper(low=0, zero=False, optional=True),
    "ema_decay": Hyper(low=0, high=1, below=True, optional=True),
    "lookahead": Hyper(low=0, zero=False, length=2, optional=True),
    "max_norm": Hyper(low=0),
    "max_value": Hyper(low=0),
    "clip_factor": Hyper(low=0),
    "least_norm": Hyper(low=0),
}

_COPY = ParamCopy(wide=True)

# A piece computes with symbols while it is traced, and with numbers or tensors when it is called by hand.
Value = Any


def unscale(grad: Value, *, grad_scale: Value) -> Value:
    """Divide the gradient by the loss scale of mixed precision (put in front of the formula by GradScaler)."""
    return grad / grad_scale


def ascend(grad: Value) -> Value:
    """Turn the gradient round (put in front of the formula by ``maximize=True``)."""
    return -grad


def clip_global_norm(grad: Value, *, clip_norm: Value) -> Value:
    """Shorten the gradients of all parameters together to the norm ``clip_norm`` (Pascanu et al., 2013, algorithm 1).

    The numbers are those of ``torch.nn.utils.clip_grad_norm_``.
    """
    return grad * minimum(1.0, clip_norm / (global_norm(grad) + 1e-6))


def clip_norm(grad: Value, *, max_norm: Value) -> Value:
    """Shorten the gradient of each parameter by itself to the norm ``max_norm``."""
    return grad * minimum(1.0, max_norm / (norm(grad) + 1e-6))


def clip_value(grad: Value, *, max_value: Value) -> Value:
    """Bring every element of the gradient into ``[-max_value, max_value]``, as ``torch.nn.utils.clip_grad_value_``."""
    return maximum(minimum(grad, max_value), -max_value)


def adaptive_clip(grad: Value, *, param: Value, clip_factor: Value = 0.01, least_norm: Value = 1e-3) -> Value:
    """Shorten each parameter's gradient to ``clip_factor`` times the parameter's norm (AGC: Brock et al., 2021, eq. 3).

    The norms are over the whole tensor; the paper takes them over the rows of a weight. ``least_norm`` stands for the
    norm of parameters that are smaller, so that those that start at 0 can move.
    """
    longest = clip_factor * maximum(norm(param), least_norm)
    return grad * minimum(1.0, longest / maximum(norm(grad), 1e-6))


def decay_weights(update: Value, *, param: Value, weight_decay: Value) -> Value:
    """L2 regularisation: the gradient of weight_decay / 2 * param^2 joins the gradient."""
    return update + weight_decay * param


def decay_weights_decoupled(param: Value, *, lr: Value, weight_decay: Value) -> Value:
    """Weight decay apart from the gradient (Loshchilov and Hutter, 2019, Decoupled Weight Decay Regularization)."""
    return param * (1 - lr * weight_decay)


def cautious(update: Value, *, grad: Value) -> Value:
    """Leave out what points against the gradient, and lengthen the rest (put before the step by ``cautious=True``).

    Liang et al., 2024, Cautious Optimizers, algorithm 1. Where update and gradient are at right angles (their product is
    0) the paper keeps the element; here, as in its authors' code, it is left out, and the share that is kept counts as at
    least 0.001.
    """
    agrees = where(update * grad > 0, 1, 0)
    return update * agrees / maximum(mean(agrees), 1e-3)


def lookahead(param: Value, slow_param: Value = _COPY, *, lookahead: Value, step: Value) -> tuple[Value, Value]:
    """Every k steps go ``alpha`` of the way from the slow parameters, and begin there (Zhang et al., 2019, algorithm 1)."""
    k, alpha = lookahead
    now = step % k == 0
    moved = slow_param + alpha * (param - slow_param)
    return where(now, moved, param), where(now, moved, slow_param)


def momentum(update: Value, momentum_buffer: Value = 0.0, *, momentum: Value) -> tuple[Value, Value]:
    """Heavy-ball momentum (Polyak, 1964): the buffer is a decaying sum of the updates."""
    momentum_buffer = momentum * momentum_buffer + update
    return momentum_buffer, momentum_buffer


def scale_by_lr(update: Value, *, lr: Value) -> Value:
    """The learning rate before what follows, so that a momentum after it keeps the rates of its steps."""
    return lr * update


def descend(param: Value, *, update: Value, lr: Value) -> Value:
    """One step against the update."""
    return param - lr * update


def subtract(param: Value, *, update: Value) -> Value:
    """One step against an update that has the learning rate in it."""
    return param - update


_AVERAGE = ParamCopy(wide=True, average=True)


@cache
def ema(decay: float | None = None) -> Piece:
    """A decaying average of the parameters, for ``with optimizer.averaged():``; the last piece of a formula.

    It starts as the parameter and moves by ``1 - decay`` of the way at every step, in the pass that steps (Polyak and
    Juditsky, 1992; with a decay: Tarvainen and Valpola, 2017, Mean teachers, eq. 2).

    Args:
        decay: the default of the hyperparameter ``ema_decay``.
    """

    def average(param_avg: Value = _AVERAGE, *, param: Value, ema_decay: Value = decay) -> Value:
        return ema_decay * param_avg + (1 - ema_decay) * param

    return Piece(average)
