"""What a step makes of NaN, infinity, zero and negative numbers: the same in the kernel and in torch's operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ravine.formula import isfinite, isnan, where
from ravine.optim import Optimizer

INF, NAN = math.inf, math.nan
both = pytest.mark.parametrize("fused", [True, False], ids=["kernel", "eager"])


def step(
    piece: Callable[..., Any],
    fused: bool,
    grad: list[float],
    param: list[float] | None = None,
    dtype: torch.dtype = torch.float32,
    **hypers: Any,
) -> list[float]:
    """The parameter after one step; it starts at 0 unless said."""
    p = torch.nn.Parameter(torch.tensor(param or [0.0] * len(grad), dtype=dtype))
    p.grad = torch.tensor(grad, dtype=dtype)
    Optimizer([p], [piece], fused=fused, watch=False, **hypers).step()
    return [float(x) for x in p.detach()]


def same(found: list[float], wanted: list[float]) -> bool:
    """Whether the numbers are equal; NaN equals NaN."""
    return found == pytest.approx(wanted, rel=1e-6, abs=0, nan_ok=True)


@both
def test_whether_a_computed_value_is_finite_is_seen(fused: bool) -> None:
    def guard(param: Any, *, grad: Any, a: Any) -> Any:
        update = grad * a + grad
        return where(isfinite(update), update, -1.0)

    def is_nan(param: Any, *, grad: Any, a: Any) -> Any:
        return where(isnan(grad - a * grad), -1.0, grad)

    grads = [1.0, INF, -INF, NAN, 3e38]
    assert same(step(guard, fused, grads, a=2.0), [3.0, -1.0, -1.0, -1.0, -1.0])
    assert same(step(is_nan, fused, grads, a=0.0), [1.0, -1.0, -1.0, -1.0, 3e38])
