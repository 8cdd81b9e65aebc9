"""Gradients that a GradScaler has scaled: steps are those of torch, and an overflow writes nothing."""

import copy
import math
import pickle

import pytest
import torch
from step_runs import KERNEL_OF_EACH_KIND, make, randn, snapshot
from torch.nn import Parameter

from ravine.formula import global_norm, minimum
from ravine.optim import SGD, Adam, Optimizer, RMSprop

EACH_FUSED = pytest.mark.parametrize("fused", [None, False, True])


def scaler():
    return torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)


@KERNEL_OF_EACH_KIND
def test_an_overflow_writes_nothing_also_on_the_first_step(name, fused):
    """torch's fused SGD leaves uninitialised momentum behind an overflow on the first step."""
    p, q = Parameter(randn(5)), Parameter(randn(5))
    ours, plain, s = make(name, [p], fused=fused), make(name, [q], fused=fused), scaler()
    for k in range(6):
        ours.zero_grad()
        overflow = k in (0, 3)
        before = snapshot(ours)
        loss = (p**2).sum() * (math.inf if overflow else 1)
        s.scale(loss).backward()
        scale = s.get_scale()
        s.step(ours)
        s.update()
        if overflow:
            assert snapshot(ours) == before
            assert s.get_scale() == scale / 2
        else:
            q.grad = 2 * q.detach()
            plain.step()
        # Scales are powers of 2, but a kernel may take them into a product of other numbers.
        assert torch.allclose(p.detach(), q.detach(), rtol=1e-5, atol=1e-6)
    assert ours.state[p]["step"] == 4


@EACH_FUSED
def test_scaled_steps_are_those_of_torch_with_and_without_clipping(fused):
    results = []
    for cls, kw in ((torch.optim.Adam, {}), (Adam, {"fused": fused})):
        model = torch.nn.Linear(4, 3)
        with torch.no_grad():
            for i, p in enumerate(model.parameters()):
                p.copy_(randn(*p.shape, seed=i))
        optimizer, s = cls(model.parameters(), lr=0.1, weight_decay=0.1, **kw), scaler()
        for k in range(10):
            optimizer.zero_grad()
            loss = (model(randn(2, 4, seed=k)) ** 2).sum() * (math.inf if k in (0, 5) else 1)
            s.scale(loss).backward()
            if k % 3 == 0:
                s.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            s.step(optimizer)
            s.update()
        results.append([p.detach() for p in model.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(*results, strict=True))


@EACH_FUSED
def test_says_to_trainers_what_torchs_class_says(fused):
    """Lightning refuses to clip where the flag is true: gradients would be scaled still."""
    for cls in (SGD, Adam):
        theirs = getattr(torch.optim, cls.__name__)([Parameter(torch.ones(3))], fused=fused)
        ours = cls([Parameter(torch.ones(3))], fused=fused)
        for optimizer in (ours, pickle.loads(pickle.dumps(ours)), copy.copy(ours)):
            flag = getattr(optimizer, "_step_supports_amp_scaling", False)
            assert flag == getattr(theirs, "_step_supports_amp_scaling", False) == bool(fused)
        assert hasattr(cls, "_step_supports_amp_scaling") == hasattr(type(theirs), "_step_supports_amp_scaling")


@EACH_FUSED
def test_the_scaler_leaves_nothing_behind(fused):
    p = Parameter(torch.ones(3))
    optimizer, s = SGD([p], lr=0.1, fused=fused), torch.amp.GradScaler("cpu", init_scale=4.0)
    s.scale((p * 2).sum()).backward()
    s.step(optimizer)
    s.update()
    # With fused=True its own formula divides, and the gradient is untouched; else the scaler has divided it.
    assert torch.equal(p.grad, torch.full((3,), 8.0 if fused else 2.0))
    p.grad = torch.ones(3)
    before = p.detach().clone()
    optimizer.step()
    assert torch.allclose(p.detach(), before - 0.1)
    disabled = torch.amp.GradScaler("cpu", enabled=False)
    disabled.scale((p * 2).sum()).backward()
    disabled.step(optimizer)
    assert torch.allclose(p.detach(), before - 0.4)


def test_two_optimizers_under_one_scaler():
    p, q = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    a, b, s = SGD([p], lr=0.1), RMSprop([q], lr=0.1), scaler()
    s.scale((p * 2).sum() + (q * math.inf).sum()).backward()
    s.step(a)
    s.step(b)
    s.update()
    assert torch.allclose(p.detach(), torch.full((3,), 0.8))
    assert torch.equal(q.detach(), torch.ones(3))
    assert not b.state.get(q)


def clip(update, *, most):
    return update * minimum(1.0, most / global_norm(update))


def descend(param, *, update, lr):
    return param - lr * update


@EACH_FUSED
def test_a_norm_sees_the_unscaled_gradient_and_not_what_overflowed(fused):
    p, q = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    ours = Optimizer([p], [clip, descend], lr=0.1, most=1.0, fused=fused)
    plain = Optimizer([q], [clip, descend], lr=0.1, most=1.0, fused=fused)
    s = scaler()
    for k in range(4):
        p.grad = None
        s.scale((p * 2).sum() * (math.inf if k == 1 else 1)).backward()
        s.step(ours)
        s.update()
        if k != 1:
            q.grad = torch.full((3,), 2.0)
            plain.step()
    assert torch.allclose(p.detach(), q.detach(), rtol=1e-6)
