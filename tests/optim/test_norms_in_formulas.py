"""Formulas with ``norm`` and ``global_norm``: of which tensors the norms are."""

import math

import pytest
import torch
from step_runs import PATHS, randn
from torch.nn import Parameter

from ravine.formula import global_norm, minimum, norm
from ravine.optim import Optimizer


def clip(update, *, most):
    return update * minimum(1.0, most / global_norm(update))


def trust(update, *, param):
    return update * norm(param) / norm(update)


def scale_by_all(update, *, param):
    return update * global_norm(param)


def descend(param, *, update, lr):
    return param - lr * update


def tensors():
    return [randn(300, seed=1), randn(4, 8, seed=2), randn(20_000, seed=3), randn(2, seed=4), torch.zeros(0)]


@pytest.mark.parametrize("layout", ["kernel", "torch", "both"])
@pytest.mark.parametrize("missing", [(), (0,), (2, 3)])
def test_a_global_norm_joins_groups_backends_and_dtypes(layout, missing):
    """Clipping in the formula is torch.nn.utils.clip_grad_norm_ before SGD."""
    params = [Parameter(t.clone()) for t in tensors()]
    if layout == "both":
        strided = torch.zeros(4, 16)[:, ::2]
        params[1] = strided.copy_(tensors()[1]).requires_grad_()
    params[2] = Parameter(params[2].detach().double())
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.05}]
    ours = Optimizer(groups, [clip, descend], lr=0.1, most=1.0, fused=False if layout == "torch" else None)
    plain = [Parameter(p.detach().clone().double()) for p in params]
    theirs = torch.optim.SGD([{"params": plain[:2]}, {"params": plain[2:], "lr": 0.05}], lr=0.1)
    for k in range(3):
        for i, (p, q) in enumerate(zip(params, plain, strict=True)):
            p.grad = None if i in missing and k == 1 else torch.cos(p.detach() * (k + 1))
            q.grad = None if p.grad is None else p.grad.double().clone()
        torch.nn.utils.clip_grad_norm_(plain, 1.0)
        ours.step()
        theirs.step()
    assert all(
        torch.allclose(p.detach().double(), q.detach(), rtol=1e-5, atol=1e-6)
        for p, q in zip(params, plain, strict=True)
    )


@PATHS
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_norm_is_of_each_tensor_alone(fused, count):
    params = [Parameter(t.clone()) for t in tensors()[:count]]
    optimizer = Optimizer(params, [trust, descend], lr=0.1, fused=fused)
    for k in range(2):
        expected = []
        for p in params:
            p.grad = torch.cos(p.detach() * (k + 1))
            length = p.detach().norm() / p.grad.norm() if p.numel() else 0
            expected.append(p.detach() - 0.1 * p.grad * length)
        optimizer.step()
        assert all(torch.allclose(p.detach(), e, rtol=1e-5, atol=1e-6) for p, e in zip(params, expected, strict=True))


@PATHS
def test_groups_with_other_formulas_do_not_mix_their_norms(fused):
    class Mixed(Optimizer):
        def __init__(self, params, lr, most, clipped, fused):
            super().__init__(params, lr=lr, most=most, clipped=clipped, fused=fused)

        @staticmethod
        def formula(clipped):
            return [*([clip] if clipped else []), scale_by_all, descend]

    p, q = Parameter(torch.full((3,), 2.0)), Parameter(torch.full((4,), 3.0))
    whole = math.sqrt(3 * 4 + 4 * 9)
    groups = [{"params": [p], "clipped": True}, {"params": [q], "clipped": False}]
    optimizer = Mixed(groups, lr=1.0, most=1e9, clipped=True, fused=fused)
    p.grad, q.grad = torch.ones(3), torch.ones(4)
    optimizer.step()
    assert torch.allclose(p.detach(), torch.full((3,), 2.0 - whole))
    assert torch.allclose(q.detach(), torch.full((4,), 3.0 - whole))
