"""What the tests in Triton's interpreter share: parameters, gradients, and one step that is held to exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from exact_program import Expected, within
from torch import Tensor
from torch.nn import Parameter

from ravine.backends.triton import DeviceBatch
from ravine.optim import Optimizer
from ravine.optim import _registry as registry

Context = Callable[[], AbstractContextManager[None]]
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
#: More than a block of 1,024 and an odd rest, less than a block with an odd rest, no element, and no dimension.
SHAPES = ((1031,), (5, 5), (0,), ())


def parameters(dtype: torch.dtype, shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [Parameter(torch.randn(s, generator=generator).to(dtype)) for s in shapes]


def give(params: Sequence[Parameter], step: int, missing: Sequence[int] = ()) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for i, p in enumerate(params):
        grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        p.grad = None if i in missing else grad


def make(name: str, params: Any, **options: Any) -> Optimizer:
    named = registry.lookup(name)
    return named.cls(params, **{"lr": 0.01, **named.options, **options})


def kernels_step(optimizer: Optimizer) -> bool:
    """Whether all parameters were stepped by kernels of a GPU."""
    assert optimizer._plan is not None
    return all(isinstance(entry.batch, DeviceBatch) for entry in optimizer._plan._entries)


def of(optimizer: Optimizer) -> list[Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def buffers(optimizer: Optimizer, p: Parameter) -> dict[str, Tensor]:
    return {"param": p.detach(), **optimizer.state[p]}


def exact_step(optimizer: Optimizer, interpreting: Context) -> None:
    """A step by kernels: every result must be one that rounding allows."""
    expected = Expected(optimizer)
    before = [p.detach().clone() for p in of(optimizer)]
    with interpreting():
        optimizer.step()
    assert kernels_step(optimizer)
    for p, old in zip(of(optimizer), before, strict=True):
        if p.grad is None:
            assert torch.equal(p.detach(), old)
            continue
        for name in ("param", *expected.program.states):
            result, possible = buffers(optimizer, p)[name], expected.of(p, name)
            right = within(result, possible)
            assert right.all(), f"{name}: {result.reshape(-1)[torch.from_numpy(~right)][:3]}"


def close(one: Optimizer, other: Optimizer, rtol: float) -> None:
    """The parameters and states of two optimizers are equal to rounding."""
    for p, q in zip(of(one), of(other), strict=True):
        a, b = buffers(one, p), buffers(other, q)
        assert a.keys() == b.keys()
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=rtol, atol=rtol / 10, equal_nan=True)


FIELDS = ("grad_norm", "param_norm", "update_norm", "grad_max", "param_max", "update_max", "nonfinite")


def same_watch(one: Optimizer, other: Optimizer, rtol: float = 1e-5) -> None:
    """The figures of the watch are the same for every parameter."""
    names = map(str, range(len(of(one))))
    rows = [(one.watch.last[name], other.watch.last[name]) for name in names]
    for a, b in rows:
        for field in FIELDS:
            found, wanted = torch.tensor(float(getattr(a, field))), torch.tensor(float(getattr(b, field)))
            assert torch.allclose(found, wanted, rtol=rtol, atol=1e-30, equal_nan=True), (
                f"{field} {found}, not {wanted}"
            )
