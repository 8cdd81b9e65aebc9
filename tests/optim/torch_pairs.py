"""Ours beside torch's: the options that are compared, and what makes and compares the pairs.

The classes are found. A class that torch.optim has too needs a row in ``OPTIONS``; a test says so.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch

from ravine.backends.cpu._compiler import has_float16
from ravine.optim import Optimizer
from ravine.optim import _registry as registry

#: Options of each class, torch's names and torch's meaning. Every branch of a formula, and other values than defaults.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {},
        {"lr": 0.05, "weight_decay": 0.1},
        {"lr": 0.05, "momentum": 0.8},
        {"lr": 0.05, "momentum": 0.8, "dampening": 0.3},
        {"lr": 0.05, "momentum": 0.8, "nesterov": True},
        {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1, "maximize": True},
        {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ],
    "Adadelta": [
        {},
        {"lr": 0.5, "rho": 0.7, "eps": 1e-3},
        {"lr": 0.5, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.1, "maximize": True},
    ],
    "Adagrad": [
        {},
        {"lr": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3},
        {"lr": 0.1, "lr_decay": 0.2},
        {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "maximize": True},
    ],
    "Adam": [
        {},
        {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-3},
        {"lr": 0.02, "amsgrad": True},
        {"lr": 0.02, "weight_decay": 0.1, "maximize": True},
        {"lr": 0.02, "weight_decay": 0.1, "amsgrad": True},
        {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ],
    "AdamW": [
        {},
        {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.2},
        {"lr": 0.02, "weight_decay": 0.2, "amsgrad": True, "maximize": True},
        {"weight_decay": 0},
    ],
    "ASGD": [
        {},
        {"lr": 0.05, "lambd": 0.02, "alpha": 0.6, "t0": 3.0},
        {"lr": 0.05, "weight_decay": 0.1, "t0": 0.0, "maximize": True},
    ],
    "NAdam": [
        {},
        {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-3, "momentum_decay": 0.1, "maximize": True},
        {"lr": 0.02, "weight_decay": 0.1},
        {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ],
    "Adamax": [
        {},
        {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-3},
        {"lr": 0.02, "weight_decay": 0.1, "maximize": True},
    ],
    "Adafactor": [
        {},
        {"lr": 0.1, "beta2_decay": -0.5, "eps": (1e-6, 1e-2), "d": 1.5},
        {"lr": 0.1, "weight_decay": 0.1, "maximize": True},
    ],
    "Muon": [
        {},
        {"lr": 0.02, "momentum": 0.8, "nesterov": False, "weight_decay": 0},
        {
            "lr": 0.02,
            "ns_coefficients": (2.0, -1.5, 0.5),
            "ns_steps": 3,
            "eps": 1e-5,
            "adjust_lr_fn": "match_rms_adamw",
        },
    ],
    "RAdam": [
        {},
        {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-3, "maximize": True},
        {"lr": 0.02, "weight_decay": 0.1},
        {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ],
    "Rprop": [
        {},
        {"lr": 0.03, "etas": (0.4, 1.5), "step_sizes": (0.01, 0.1), "maximize": True},
    ],
    "RMSprop": [
        {},
        {"lr": 0.02, "alpha": 0.8, "eps": 1e-3},
        {"lr": 0.02, "weight_decay": 0.1, "maximize": True},
        {"lr": 0.02, "momentum": 0.8},
        {"lr": 0.02, "centered": True},
        {"lr": 0.02, "centered": True, "alpha": 0.8, "eps": 1e-3, "momentum": 0.8, "weight_decay": 0.1},
    ],
}

#: Vectors with a ragged tail, and the shapes that are easily forgotten.
SHAPES = [(17, 31), (37,), (1,), (), (2, 0)]


def takes_dense(cls: type[Optimizer]) -> bool:
    """Whether torch's class of the same name steps dense gradients (SparseAdam: tests/optim/test_sparse_gradients.py)."""
    p = torch.nn.Parameter(torch.zeros(1, 1))
    p.grad = torch.zeros(1, 1)
    try:
        theirs_of(cls)([p]).step()
    except RuntimeError:
        return False
    return True


def theirs_of(cls: type[Optimizer]) -> type[torch.optim.Optimizer]:
    """torch's class of the same name."""
    return getattr(torch.optim, cls.__name__)


IN_TORCH = [c for c in registry.classes() if hasattr(torch.optim, c.__name__)]
CLASSES = [c for c in IN_TORCH if takes_dense(c)]

#: The numbers that formulas keep for a parameter, by name.
KEPT = {name for c in IN_TORCH for name in c([torch.nn.Parameter(torch.zeros(1, 1))]).program().kept}


def option_id(options: dict[str, Any]) -> str:
    return ",".join(k if v is True else f"{k}={v}" for k, v in options.items()).replace(" ", "") or "defaults"


def in_torch(cls: type[Optimizer], options: dict[str, Any]) -> bool:
    """Whether this torch has these options (before 2.7, Adam had no ``decoupled_weight_decay``)."""
    return options.keys() <= inspect.signature(theirs_of(cls)).parameters.keys()


def cases(classes: list[type[Optimizer]] = CLASSES) -> list[Any]:
    """Every class with each of its options, as pytest's parameters."""
    return [
        pytest.param(
            c,
            options,
            id=f"{c.__name__}-{option_id(options)}",
            marks=[] if in_torch(c, options) else pytest.mark.skip(reason="this torch has no such option"),
        )
        for c in classes
        for options in OPTIONS.get(c.__name__, [])
    ]


each_case = pytest.mark.parametrize(("cls", "options"), cases())
each_path = pytest.mark.parametrize("fused", [False, True], ids=["eager", "fused"])


#: Classes that torch lets step real tensors only.
REAL_ONLY = ("Adafactor", "Muon")


def fit(cls: type, shapes: Any) -> list[tuple[int, ...]]:
    """The shapes as torch's class takes them: Muon's are matrices, Adafactor's have elements."""
    full = [s for s in map(tuple, shapes) if math.prod(s)]
    if cls.__name__ == "Muon":
        return [(s[0], math.prod(s[1:])) if s else (1, 1) for s in full]
    return full if cls.__name__ == "Adafactor" else [tuple(s) for s in shapes]


def need_kernel(dtype: torch.dtype, fused: bool) -> None:
    if fused and dtype is torch.float16 and not has_float16():
        pytest.skip("no float16 kernels on this machine")


def make_params(shapes: Any, dtype: torch.dtype, seed: int = 0) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(s, dtype=torch.float64, generator=generator).to(dtype)) for s in shapes]


def twins(params: list[torch.nn.Parameter], dtype: torch.dtype | None = None) -> list[torch.nn.Parameter]:
    """The same values in memory of their own, in another dtype if one is given."""
    return [torch.nn.Parameter(p.detach().to(dtype or p.dtype, copy=True)) for p in params]


class Gradients:
    """The same random gradients for several lists of parameters, other ones at every call.

    With ``present``, parameters whose entry is false get none; no element is nearer to 0 than ``least``.
    """

    def __init__(self, seed: int = 1) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *lists: list[torch.nn.Parameter], present: list[bool] | None = None, least: float = 0.0) -> None:
        for i, same in enumerate(zip(*lists, strict=True)):
            first = same[0]
            kind = torch.complex128 if first.is_complex() else torch.float64
            g = torch.randn(first.shape, dtype=kind, generator=self.generator)
            g = (g + least * g.sgn()).to(first.dtype)
            for p in same:
                p.grad = g.to(p.dtype, copy=True) if present is None or present[i] else None


def tensors(optimizer: torch.optim.Optimizer, p: torch.nn.Parameter) -> dict[str, torch.Tensor]:
    """The parameter and its states by name, without numbers and the count of steps."""
    states = optimizer.state.get(p, {}).items()
    return {"param": p.detach(), **{n: v for n, v in states if n != "step" and n not in KEPT}}


def numbers(optimizer: torch.optim.Optimizer, p: torch.nn.Parameter) -> dict[str, torch.Tensor]:
    """The numbers that are kept for a parameter, by name."""
    return {n: v for n, v in optimizer.state.get(p, {}).items() if n in KEPT}


def pairs(
    ours: torch.optim.Optimizer,
    theirs: torch.optim.Optimizer,
    our_params: list[torch.nn.Parameter],
    their_params: list[torch.nn.Parameter],
) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    """Every parameter and state of ours beside torch's, which must be the same ones."""
    result = []
    for i, (p, q) in enumerate(zip(our_params, their_params, strict=True)):
        mine, other = tensors(ours, p), tensors(theirs, q)
        assert mine.keys() == other.keys(), f"parameter {i}"
        if "step" in theirs.state.get(q, {}) and "step" not in getattr(ours, "not_in_torch", {}):
            assert float(ours.state[p]["step"]) == float(theirs.state[q]["step"]), f"parameter {i}"
        kept, given = numbers(ours, p), numbers(theirs, q)
        assert kept.keys() == given.keys(), f"parameter {i}"
        for name, value in kept.items():
            assert value.shape == given[name].shape == ()
            assert float(value) == pytest.approx(float(given[name]), rel=1e-12), f"{name} of parameter {i}"
        result += [(f"{name} of parameter {i}, shape {tuple(p.shape)}", mine[name], other[name]) for name in mine]
    return result


def assert_close(
    ours: torch.optim.Optimizer,
    theirs: torch.optim.Optimizer,
    our_params: list[torch.nn.Parameter],
    their_params: list[torch.nn.Parameter],
    relative: float = 1e-12,
    where: str = "",
) -> None:
    """Every parameter and state agrees: no element differs by more than ``relative`` of its tensor's largest."""
    if type(ours).__name__ == "Muon":  # it rounds to bfloat16 on the way, where a last digit can become a third one
        relative = max(relative, 1e-3)
    for name, a, b in pairs(ours, theirs, our_params, their_params):
        assert a.dtype == b.dtype, name
        if b.numel():
            error, largest = float((a - b).abs().max()), float(b.abs().max())
            assert error <= relative * largest, f"{name}{where}: off by {error:g}, largest element {largest:g}"


def ulp(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The distance from x (float64) to the next number of the dtype."""
    info = torch.finfo(dtype)
    exponent = torch.frexp(x.abs()).exponent
    return torch.ldexp(torch.ones_like(x), exponent - 1).clamp(min=info.tiny) * info.eps
