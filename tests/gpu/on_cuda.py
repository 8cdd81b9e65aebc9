"""What the tests on a CUDA device share: parameters, gradients, and the same steps by torch's operations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn import Parameter

from ravine.backends.triton import DeviceBatch
from ravine.optim import Optimizer
from ravine.optim import _registry as registry

SHAPES = ((37, 41), (), (0,), (3,), (1024,), (65_537,), (4, 8, 2))
#: Optimizers whose formula has functions of whole tensors: what rounding does to them depends on the function.
MATRICES = ("muon", "normuon", "psgdkron", "shampoo", "soap")
RTOL = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2**-7, torch.float16: 2**-9}


def parameters(dtype: torch.dtype, shapes: Sequence[tuple[int, ...]] = SHAPES, seed: int = 0) -> list[Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [Parameter(torch.randn(s, generator=generator).to("cuda", dtype)) for s in shapes]


def give(params: Sequence[Parameter], step: int, missing: Sequence[int] = ()) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for i, p in enumerate(params):
        grad = torch.randn(p.shape, generator=generator).to(p.device, p.dtype)
        p.grad = None if i in missing else grad


def make(name: str, params: Sequence[Parameter], **options: Any) -> Optimizer:
    named = registry.lookup(name)
    return named.cls(params, **{"lr": 0.01, **named.options, **options})


def kernels_step(optimizer: Optimizer) -> bool:
    """Whether all parameters were stepped by kernels on a GPU."""
    plan = optimizer._plan
    return plan is not None and all(isinstance(e.batch, DeviceBatch) for e in plan._entries)


def close(a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype, but: float = 0.0) -> None:
    """Equal to rounding, but for this share of the elements, where a formula takes signs."""
    a, b = a.detach().double().reshape(-1), b.detach().double().reshape(-1)
    wrong = ((a - b).abs() > RTOL[dtype] * (b.abs() + 0.1)) | (a.isnan() != b.isnan())
    assert int(wrong.sum()) <= but * a.numel(), f"{int(wrong.sum())} of {a.numel()}; {a[wrong][:5]} for {b[wrong][:5]}"


def same(one: Optimizer, other: Optimizer, dtype: torch.dtype, but: float = 0.0) -> None:
    """The parameters and states of two optimizers are equal to rounding."""
    groups = zip(one.param_groups, other.param_groups, strict=True)
    for p, q in ((p, q) for g, h in groups for p, q in zip(g["params"], h["params"], strict=True)):
        close(p, q, dtype, but)
        assert one.state[p].keys() == other.state[q].keys()
        for name in one.state[p]:
            close(one.state[p][name], other.state[q][name], dtype, but)


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """What waits for the device raises."""
    torch.cuda.synchronize()
    try:
        torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
