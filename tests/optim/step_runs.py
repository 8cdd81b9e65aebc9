"""What the tests of an optimizer's life share: optimizers by name, steps, and all that a step may write."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from kinds import dtype_cases, one_of_each_kind
from torch import Tensor
from torch.nn import Parameter

import ravine.optim
from ravine.optim import Optimizer
from ravine.optim import _registry as registry

PATHS = pytest.mark.parametrize("fused", [None, False])
EVERY = pytest.mark.parametrize("name", registry.names())
#: What does not depend on the formula: all by torch's operations, and one of each kind by a kernel of its own.
KERNEL_OF_EACH_KIND = pytest.mark.parametrize(
    ("name", "fused"),
    [(n, False) for n in registry.names()] + [(n, f) for n in one_of_each_kind(registry.names()) for f in (None, True)],
)


def every_dtype(*dtypes: torch.dtype) -> pytest.MarkDecorator:
    """All in these dtypes by torch's operations, and by kernels as ``dtype_cases`` has them."""
    eager: list[tuple[str, bool | None, torch.dtype]] = [(n, False, d) for d in dtypes for n in registry.names()]
    kernels: list[tuple[str, bool | None, torch.dtype]] = [(n, None, d) for n, d in dtype_cases() if d in dtypes]
    kernels += [(n, None, d) for n in one_of_each_kind(registry.names()) for d in dtypes if d.is_complex]
    return pytest.mark.parametrize(("name", "fused", "dtype"), eager + kernels, ids=str)


def randn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def make(name: str, params: Any, **kw: Any) -> Optimizer:
    named = registry.lookup(name)
    return named.cls(params, **{"lr": 0.1, **named.options, **kw})


def snapshot(optimizer: torch.optim.Optimizer) -> list[tuple[list[int], dict[str, list[int]]]]:
    """Everything that a step may write, bit for bit."""

    def bits(t: Tensor) -> list[int]:
        return t.detach().clone().contiguous().reshape(-1).view(torch.uint8).tolist() if t.numel() else []

    params = [p for g in optimizer.param_groups for p in g["params"]]
    return [(bits(p), {n: bits(v) for n, v in optimizer.state.get(p, {}).items()}) for p in params]


def take_steps(optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> None:
    """Steps along gradients that depend on the parameters alone."""
    for k in range(first, first + steps):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.cos(p.detach() * (k + 1))
        optimizer.step()


def beside_torch(
    change: Callable[[Any, list[Parameter]], None], fused: bool | None, cls: str = "SGD", **kw: Any
) -> list[tuple[list[Tensor], list[dict[str, Any]]]]:
    """The same three parameters in torch's class and ours: step, ``change(optimizer, parameters)``, step twice."""
    results = []
    for library in (torch.optim, None):
        params = [Parameter(randn(4, seed=s)) for s in range(3)]
        for p in params:
            p.grad = torch.ones(4)
        options = {"lr": 0.1, **kw} if library else {"lr": 0.1, "fused": fused, **kw}
        optimizer = (
            getattr(library, cls)(params[:2], **options)
            if library
            else getattr(ravine.optim, cls)(params[:2], **options)
        )
        optimizer.step()
        change(optimizer, params)
        optimizer.step()
        optimizer.step()
        results.append(([p.detach() for p in params], [optimizer.state.get(p, {}) for p in params]))
    (expected, theirs), (got, ours) = results
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(expected, got, strict=True))
    assert [set(s) - {"step"} for s in theirs] == [set(s) - {"step"} for s in ours]
    return results
