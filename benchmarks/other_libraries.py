"""Compares steps with those of Keras, optax and fastai: the same start, the same gradients, 100 steps, a halved rate at 50.

A row says which optimizer, what to write here, and the largest difference between the parameters, relative to how far the
parameters moved. Libraries that are not installed are left out:

    pip install keras optax fastai
    python benchmarks/other_libraries.py
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ravine import optim
from ravine.formula import sqrt
from ravine.optim import pieces

STEPS, SHAPE = 100, (64, 32)
Run = Callable[[np.ndarray, list[np.ndarray]], np.ndarray]


def problem() -> tuple[np.ndarray, list[np.ndarray]]:
    """Where all begin, and the gradients of all steps: some large, some small, a few 0."""
    drawn = np.random.default_rng(0)
    scales = 10.0 ** drawn.uniform(-5, 1, SHAPE)
    grads = [(scales * drawn.normal(size=SHAPE)).astype(np.float64) for _ in range(STEPS)]
    for grad in grads:
        grad[0] = 0
    return drawn.normal(size=SHAPE).astype(np.float64), grads


def rate(lr: float, step: int) -> float:
    """The rate falls to half in the middle, since momentum that holds the rate differs only then."""
    return lr if step < STEPS // 2 else lr / 2


def ours(make: Callable[..., Any], lr: float) -> Run:
    """The steps of an optimizer of Ravine; torch's have the same interface."""

    def run(start: np.ndarray, grads: list[np.ndarray]) -> np.ndarray:
        param = torch.nn.Parameter(torch.tensor(start))
        optimizer = make([param], lr=lr)
        for step, grad in enumerate(grads):
            optimizer.param_groups[0]["lr"] = rate(lr, step)
            param.grad = torch.tensor(grad)
            optimizer.step()
        return param.detach().numpy()

    return run


def keras(name: str, lr: float, **options: Any) -> Run:
    """The steps of a Keras optimizer, on its PyTorch backend."""

    def run(start: np.ndarray, grads: list[np.ndarray]) -> np.ndarray:
        os.environ["KERAS_BACKEND"] = "torch"
        import keras

        keras.config.set_floatx("float64")
        variable = keras.Variable(start)
        optimizer = getattr(keras.optimizers, name)(learning_rate=lr, **options)
        optimizer.build([variable])
        for step, grad in enumerate(grads):
            optimizer.learning_rate = rate(lr, step)
            optimizer.apply([torch.tensor(grad)])
        return np.asarray(variable.value.detach())

    return run


def optax(name: str, lr: float, **options: Any) -> Run:
    """The steps of an optax optimizer."""

    def run(start: np.ndarray, grads: list[np.ndarray]) -> np.ndarray:
        import jax
        import optax

        jax.config.update("jax_enable_x64", True)
        tx = getattr(optax, name)(learning_rate=lambda step: rate(lr, step), **options)
        param: Any = start
        state = tx.init(param)
        for grad in grads:
            updates, state = tx.update(grad, state, param)
            param = optax.apply_updates(param, updates)
        return np.asarray(param)

    return run


def fastai(name: str, lr: float, **options: Any) -> Run:
    """The steps of a fastai optimizer."""

    def run(start: np.ndarray, grads: list[np.ndarray]) -> np.ndarray:
        from fastai import optimizer as of

        param = torch.nn.Parameter(torch.tensor(start))
        optimizer = getattr(of, name)([param], lr=lr, **options)
        for step, grad in enumerate(grads):
            optimizer.set_hyper("lr", rate(lr, step))
            param.grad = torch.tensor(grad)
            optimizer.step()
        return param.detach().numpy()

    return run


def rms(dialect: str, **options: Any) -> Callable[..., Any]:
    """A dialect of RMSProp with some options."""
    return lambda params, lr: optim.RMSprop.dialect(dialect, params, lr=lr, **options)


def of(cls: type, **options: Any) -> Callable[..., Any]:
    """An optimizer with some options."""
    return lambda params, lr: cls(params, lr=lr, **options)


def keras_adam(
    param: Any,
    m: Any = 0.0,
    v: Any = 0.0,
    *,
    grad: Any,
    lr: Any,
    step: Any,
    beta_1: Any = 0.9,
    beta_2: Any = 0.999,
    eps: Any = 1e-7,
) -> Any:
    """Adam as Keras has it: eps is added before the bias is corrected."""
    m = beta_1 * m + (1 - beta_1) * grad
    v = beta_2 * v + (1 - beta_2) * grad**2
    rate = lr * sqrt(1 - beta_2**step) / (1 - beta_1**step)
    return param - rate * m / (sqrt(v) + eps), m, v


ROWS: list[tuple[str, str, str, Run, Callable[..., Any], float]] = [
    ("keras", "RMSprop()", 'RMSprop.dialect("keras", params)', keras("RMSprop", 1e-3), rms("keras"), 1e-3),
    (
        "keras",
        "RMSprop(momentum=0.9, centered=True, weight_decay=0.01)",
        'RMSprop.dialect("keras", params, momentum=0.9, centered=True, weight_decay=0.01)',
        keras("RMSprop", 1e-3, momentum=0.9, centered=True, weight_decay=0.01),
        rms("keras", momentum=0.9, centered=True, weight_decay=0.01),
        1e-3,
    ),
    ("keras", "RMSprop()", "RMSprop(params, lr=1e-3)", keras("RMSprop", 1e-3), of(optim.RMSprop), 1e-3),
    ("keras", "Adam()", "Adam(params, lr=1e-3, eps=1e-7)", keras("Adam", 1e-3), of(optim.Adam, eps=1e-7), 1e-3),
    (
        "keras",
        "Adam()",
        "Optimizer(params, [keras_adam], lr=1e-3)",
        keras("Adam", 1e-3),
        lambda params, lr: optim.Optimizer(params, [keras_adam], lr=lr),
        1e-3,
    ),
    (
        "keras",
        "AdamW(weight_decay=0.004)",
        "AdamW(params, lr=1e-3, eps=1e-7, weight_decay=0.004)",
        keras("AdamW", 1e-3),
        of(optim.AdamW, eps=1e-7, weight_decay=0.004),
        1e-3,
    ),
    (
        "keras",
        "SGD(momentum=0.9)",
        "SGD(params, lr=0.01, momentum=0.9)",
        keras("SGD", 0.01, momentum=0.9),
        of(optim.SGD, momentum=0.9),
        0.01,
    ),
    (
        "keras",
        "SGD(momentum=0.9)",
        "Optimizer(params, [scale_by_lr, momentum, subtract], lr=0.01, momentum=0.9)",
        keras("SGD", 0.01, momentum=0.9),
        lambda params, lr: optim.Optimizer(
            params, [pieces.scale_by_lr, pieces.momentum, pieces.subtract], lr=lr, momentum=0.9
        ),
        0.01,
    ),
    (
        "keras",
        "Adagrad()",
        "Adagrad(params, lr=1e-3, initial_accumulator_value=0.1)",
        keras("Adagrad", 1e-3),
        of(optim.Adagrad, initial_accumulator_value=0.1),
        1e-3,
    ),
    ("keras", "Lion()", "Lion(params, lr=1e-3)", keras("Lion", 1e-3), of(optim.Lion), 1e-3),
    ("optax", "rmsprop(1e-3)", 'RMSprop.dialect("optax", params, lr=1e-3)', optax("rmsprop", 1e-3), rms("optax"), 1e-3),
    (
        "optax",
        "rmsprop(1e-3, momentum=0.9, centered=True)",
        'RMSprop.dialect("optax", params, lr=1e-3, momentum=0.9, centered=True)',
        optax("rmsprop", 1e-3, momentum=0.9, centered=True),
        rms("optax", momentum=0.9, centered=True),
        1e-3,
    ),
    ("optax", "adam(1e-3)", "Adam(params, lr=1e-3)", optax("adam", 1e-3), of(optim.Adam), 1e-3),
    (
        "optax",
        "adamw(1e-3)",
        "AdamW(params, lr=1e-3, weight_decay=1e-4)",
        optax("adamw", 1e-3),
        of(optim.AdamW, weight_decay=1e-4),
        1e-3,
    ),
    (
        "optax",
        "sgd(0.01, momentum=0.9)",
        "SGD(params, lr=0.01, momentum=0.9)",
        optax("sgd", 0.01, momentum=0.9),
        of(optim.SGD, momentum=0.9),
        0.01,
    ),
    (
        "optax",
        "lion(1e-3)",
        "Lion(params, lr=1e-3, weight_decay=1e-3)",
        optax("lion", 1e-3),
        of(optim.Lion, weight_decay=1e-3),
        1e-3,
    ),
    (
        "fastai",
        "RMSProp(params, 1e-3)",
        'RMSprop.dialect("fastai", params, lr=1e-3)',
        fastai("RMSProp", 1e-3),
        rms("fastai"),
        1e-3,
    ),
    (
        "fastai",
        "RMSProp(params, 1e-3, mom=0.9, wd=0.01)",
        'RMSprop.dialect("fastai", params, lr=1e-3, momentum=0.9, weight_decay=0.01)',
        fastai("RMSProp", 1e-3, mom=0.9, wd=0.01),
        rms("fastai", momentum=0.9, weight_decay=0.01),
        1e-3,
    ),
    (
        "fastai",
        "Adam(params, 1e-3)",
        "AdamW(params, lr=1e-3, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01)",
        fastai("Adam", 1e-3),
        of(optim.AdamW, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01),
        1e-3,
    ),
    (
        "fastai",
        "SGD(params, 0.01, mom=0.9)",
        "SGD(params, lr=0.01, momentum=0.9)",
        fastai("SGD", 0.01, mom=0.9),
        of(optim.SGD, momentum=0.9),
        0.01,
    ),
]


def differences() -> Iterator[tuple[str, str, str, float]]:
    """Library, what is written there and here, and the largest difference relative to the way."""
    start, grads = problem()
    for library, there, here, run, make, lr in ROWS:
        if importlib.util.find_spec(library) is not None:
            theirs, mine = run(start, grads), ours(make, lr)(start, grads)
            way = float(np.abs(theirs - start).max())
            yield library, there, here, float(np.abs(theirs - mine).max()) / way


if __name__ == "__main__":
    for library, there, here, difference in differences():
        print(f"{library:7} {there:56} {here:86} {difference:.1e}")
