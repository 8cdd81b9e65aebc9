"""Sums over tensors in Triton's interpreter: the numbers of torch's operations in float64, and sums that float32 cannot hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from interpreted_steps import Context, close, give, kernels_step, parameters
from torch.nn import Parameter

from ravine.formula import dot, mean, norm, numel, rms, sum, where
from ravine.optim import Optimizer


def everything(param: Any, average: Any = 0.0, *, grad: Any, lr: Any, step: Any) -> Any:
    average = 0.9 * average + grad
    agreed = mean(where(average * grad > 0, 1, 0))
    scale = dot(average, grad) / (1 + sum(abs(param), over="group")) + norm(average, over="all") / 1000
    change = agreed * average + (scale + rms(grad) + sum(grad) / (numel(grad) + 1)) * (step % 3)
    return param - lr * change, average


def two_groups(dtype: torch.dtype, **options: Any) -> Optimizer:
    params = parameters(dtype)
    return Optimizer([{"params": params[:1]}, {"params": params[1:], "lr": 0.02}], everything, lr=0.01, **options)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 3e-5)], ids=str)
def test_sums_are_those_of_torchs_operations(dtype: torch.dtype, rtol: float, interpreting: Context) -> None:
    ours, others = two_groups(dtype), two_groups(dtype, fused=False)
    for step, missing in enumerate(([], [1], [])):
        for optimizer in (ours, others):
            give([p for group in optimizer.param_groups for p in group["params"]], step, missing)
        with interpreting():
            ours.step()
        others.step()
    assert kernels_step(ours)
    close(ours, others, rtol)


def test_a_sum_of_what_float32_cannot_hold(interpreting: Context) -> None:
    def to_sum(param: Any, *, grad: Any) -> Any:
        return 0 * param + sum(grad) / 1e38

    p = Parameter(torch.ones(4000))
    p.grad = torch.full((4000,), 3e38)
    p.grad[1::2] *= -1
    p.grad[0] = 1e38
    with interpreting():
        Optimizer([p], to_sum).step()
    assert p[0].item() == pytest.approx(-2, rel=1e-4)


def test_numel_alone_costs_no_pass(interpreting: Context) -> None:
    def scaled(param: Any, *, grad: Any, lr: Any) -> Any:
        return param - lr * grad / numel(grad)

    params = [Parameter(torch.ones(4)), Parameter(torch.ones(2, 5))]
    optimizer = Optimizer(params, scaled, lr=1.0)
    for _ in range(2):
        for p in params:
            p.grad = torch.ones_like(p)
        with interpreting():
            optimizer.step()
    assert kernels_step(optimizer)
    torch.testing.assert_close(params[0].detach(), torch.full((4,), 0.5))
    torch.testing.assert_close(params[1].detach(), torch.full((2, 5), 0.8))
