"""Pieces that several optimizers are made of. Each is a formula in the language of ``ravine.formula``."""

from __future__ import annotations

from typing import Any

# A piece computes with symbols while it is traced, and with numbers or tensors when it is called by hand.
Value = Any


def unscale(grad: Value, *, grad_scale: Value) -> Value:
    """Divide the gradient by the loss scale of mixed precision (put in front of the formula by GradScaler)."""
    return grad / grad_scale


def ascend(grad: Value) -> Value:
    """Turn the gradient round (put in front of the formula by ``maximize=True``)."""
    return -grad


def decay_weights(update: Value, *, param: Value, weight_decay: Value) -> Value:
    """L2 regularisation: the gradient of weight_decay / 2 * param^2 joins the gradient."""
    return update + weight_decay * param


def decay_weights_decoupled(param: Value, *, lr: Value, weight_decay: Value) -> Value:
    """Weight decay apart from the gradient (Loshchilov and Hutter, 2019, Decoupled Weight Decay Regularization)."""
    return param * (1 - lr * weight_decay)


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
