"""Who is timed: our optimizer, torch's ways of stepping the same, torch.compile, the bare memory stream."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ravine._bench.cases import Case, Configuration
from ravine._bench.measure import Step
from ravine.optim import _registry as registry

#: torch's own ways. Its default on a CPU is the for-loop, which is therefore not timed again.
TORCH: dict[str, dict[str, Any]] = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}
COMPILE = "compile"

#: Buffers that the stream goes through, in sizes of the parameters: parameter, gradient and one state.
STREAM_BUFFERS = 3


def gradients(case: Case, dtype: torch.dtype) -> list[Tensor]:
    """Gradients that stay the same at every step; all candidates read the same ones."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator).mul_(0.01).to(dtype) for shape in case.shapes]


def parameters(case: Case, grads: Sequence[Tensor]) -> list[torch.nn.Parameter]:
    """Parameters of one candidate's own, with these gradients."""
    generator = torch.Generator().manual_seed(0)
    params = []
    for shape, grad in zip(case.shapes, grads, strict=True):
        param = torch.nn.Parameter(torch.randn(shape, generator=generator).to(grad.dtype))
        param.grad = grad
        params.append(param)
    return params


def ravine_optimizer(configuration: Configuration, params: Sequence[Tensor]) -> torch.optim.Optimizer:
    """Our optimizer as a user gets it: nothing said about kernels."""
    return registry.lookup(configuration.name).cls(params, **configuration.options)


def torch_ways(configuration: Configuration) -> list[str]:
    """Which of ``TORCH`` this optimizer has; none, if torch has no such optimizer or option."""
    cls = getattr(torch.optim, configuration.name, None)
    known = inspect.signature(cls).parameters if cls else {}
    if not cls or not all(option in known for option in configuration.options):
        return []
    return [way for way, options in TORCH.items() if all(option in known for option in options)]


def torch_optimizer(configuration: Configuration, params: Sequence[Tensor], way: str) -> torch.optim.Optimizer:
    """torch's optimizer, stepping in one of the ``TORCH`` ways."""
    cls: type[torch.optim.Optimizer] = getattr(torch.optim, configuration.name)
    return cls(params, **configuration.options, **TORCH[way])


def compiled_step(optimizer: torch.optim.Optimizer) -> Step:
    """torch's step as torch.compile runs it; it compiles at the first calls."""
    # Compiled code is kept per function, and after a few versions of one torch quietly stops compiling it.
    torch.compiler.reset()

    def step() -> None:
        optimizer.step()

    return torch.compile(step)


def stream(case: Case, itemsize: int) -> tuple[Step, int]:
    """The memory stream: ``x.mul_(c)`` in place, and the bytes that one call reads and writes.

    It goes through as much memory as a step with one state does. It is always float32, whose
    multiplication costs nothing beside memory; 1 keeps the values from fading into slow subnormal ones.
    """
    x = torch.ones(STREAM_BUFFERS * case.elements * itemsize // 4, dtype=torch.float32)
    return lambda: x.mul_(1.0), 2 * x.nbytes
