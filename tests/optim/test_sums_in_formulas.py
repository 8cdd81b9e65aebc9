"""Formulas with sums over tensors, against the same in NumPy's doubles; whole numbers by ``floor`` and ``%``."""

import math

import numpy as np
import pytest
import torch
from step_runs import PATHS, randn
from torch.nn import Parameter

from ravine.errors import FormulaError
from ravine.formula import dot, floor, mean, norm, numel, param_copy, rms, sum, where
from ravine.optim import Optimizer, pieces

SHAPES = ((300, 70), (7,), (), (20_000,), (0,))


def everything(param, average=0.0, *, grad, lr, step):
    average = 0.9 * average + grad
    agreed = mean(where(average * grad > 0, 1, 0))
    scale = dot(average, grad) / (1 + sum(abs(param), over="group")) + norm(average, over="all") / 1000
    change = agreed * average + (scale + rms(grad) + sum(grad) / (numel(grad) + 1)) * (step % 3)
    return param - lr * (change + mean(grad, over="group") + rms(param, over="all")), average


def by_numpy(params, averages, grads, groups, rates, step):
    """The same, written a second time."""
    averages = [0.9 * a + g for a, g in zip(averages, grads, strict=True)]
    length = math.sqrt(np.sum([np.sum(a**2) for a in averages]))
    made = []
    for p, a, g, group, lr in zip(params, averages, grads, groups, rates, strict=True):
        of_group = np.sum([np.abs(q).sum() for q, h in zip(params, groups, strict=True) if h == group])
        scale = (a * g).sum() / (1 + of_group) + length / 1000
        size = np.sqrt((g**2).mean()) if g.size else 0.0
        change = ((a * g > 0).mean() if g.size else 0.0) * a
        mean_of_group = np.sum([h.sum() for h, k in zip(grads, groups, strict=True) if k == group])
        mean_of_group /= np.sum([h.size for h, k in zip(grads, groups, strict=True) if k == group])
        all_of_it = math.sqrt(np.sum([(q**2).sum() for q in params]) / np.sum([q.size for q in params]))
        change = change + (scale + size + g.sum() / (g.size + 1)) * (step % 3)
        made.append(p - lr * (change + mean_of_group + all_of_it))
    return made, averages


@PATHS
def test_a_sum_of_what_a_number_chooses_is_of_as_many_elements(fused):
    def descend_if(param, *, grad, lr):
        return param - sum(where(lr > 0, grad, 2.0)) - 0 * sum(where(lr > 0, 1.0, param))

    p = Parameter(torch.ones(7))
    optimizer = Optimizer([p], [descend_if], lr=0.1, fused=fused)
    for lr, expected in ((0.1, 7 * 3.0), (0.0, 7 * 2.0)):
        optimizer.param_groups[0]["lr"] = lr
        before, p.grad = p.detach().clone(), torch.full((7,), 3.0)
        optimizer.step()
        assert torch.equal(p, before - expected)


@PATHS
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_sums_are_those_of_numpy(fused, dtype, rtol):
    params = [Parameter(randn(*shape, dtype=dtype, seed=i)) for i, shape in enumerate(SHAPES)]
    groups, rates = [0, 0, 1, 1, 1], [0.01, 0.01, 0.02, 0.02, 0.02]
    optimizer = Optimizer(
        [{"params": params[:2]}, {"params": params[2:], "lr": 0.02}], everything, lr=0.01, fused=fused
    )
    wanted, averages = [p.detach().double().numpy().copy() for p in params], [np.zeros(p.shape) for p in params]
    for step in range(1, 6):
        grads = [randn(*shape, dtype=dtype, seed=10 * step + i) for i, shape in enumerate(SHAPES)]
        for p, g in zip(params, grads, strict=True):
            p.grad = g
        optimizer.step()
        wanted, averages = by_numpy(wanted, averages, [g.double().numpy() for g in grads], groups, rates, step)
    for p, w in zip(params, wanted, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=rtol, atol=rtol)


@PATHS
def test_sums_of_what_float32_cannot_hold(fused):
    def to_sum(param, *, grad):
        return param * 0 + sum(grad) / 1e38

    def to_nothing(param, *, grad):
        return where(param == param, 0, 0) + sum(grad)

    grad = torch.full((40_000,), 3e38)
    grad[1::2] *= -1
    grad[0] = 1e38
    p, q = Parameter(torch.ones(40_000)), Parameter(torch.ones(3))
    p.grad, q.grad = grad, torch.tensor([1e-42, 1e-42, -1e-42])
    Optimizer([p], to_sum, fused=fused).step()
    Optimizer([q], to_nothing, fused=fused).step()
    assert p[0].item() == pytest.approx(-2, rel=1e-4)
    assert q[0].item() == pytest.approx(1e-42, rel=1e-2)
    for bad, wanted in ((math.nan, math.nan), (math.inf, math.inf)):
        q.grad = torch.tensor([1.0, bad, 2.0])
        Optimizer([q], to_nothing, fused=fused).step()
        np.testing.assert_array_equal(q.detach().numpy(), np.full(3, wanted, dtype=np.float32))


@PATHS
def test_a_complex_tensor_is_twice_as_many_numbers(fused):
    def sizes(param, *, grad):
        return 0 * param + sum(grad) + 100 * numel(grad)

    p = Parameter(torch.zeros(3, dtype=torch.complex64))
    p.grad = torch.tensor([1 + 2j, 3 + 4j, 5 + 6j])
    Optimizer([p], sizes, fused=fused).step()
    assert torch.view_as_real(p.detach()).unique().tolist() == [621.0]


@PATHS
def test_numel_alone_costs_no_pass(fused):
    def scaled(param, *, grad, lr):
        return param - lr * grad / numel(grad)

    params = [Parameter(torch.ones(4)), Parameter(torch.ones(2, 5))]
    optimizer = Optimizer(params, scaled, lr=1.0, fused=fused)
    assert len(optimizer.program().passes) == 1
    for _ in range(2):
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
    assert params[0].tolist() == [0.5] * 4
    torch.testing.assert_close(params[1].detach(), torch.full((2, 5), 0.8))


@PATHS
def test_lookahead_is_written_with_a_remainder(fused):
    """Zhang et al., 2019, algorithm 1: every k steps the slow weights go a share of the way, and the fast ones begin there."""

    def lookahead(param, slow=param_copy, *, step, k, share):
        now = step % k == 0
        moved = slow + share * (param - slow)
        return where(now, moved, param), where(now, moved, slow)

    p = Parameter(randn(50, dtype=torch.float64))
    fast = slow = p.detach().numpy().copy()
    optimizer = Optimizer([p], [pieces.descend, lookahead], lr=0.1, k=3, share=0.5, fused=fused)
    for step in range(1, 12):
        p.grad = torch.cos(p.detach())
        fast = fast - 0.1 * np.cos(fast)
        if step % 3 == 0:
            fast = slow = slow + 0.5 * (fast - slow)
        optimizer.step()
        np.testing.assert_allclose(p.detach().numpy(), fast, rtol=1e-13)
    np.testing.assert_allclose(optimizer.state[p]["slow"].numpy(), slow, rtol=1e-13)


@PATHS
@pytest.mark.parametrize("k", [3.0, -2.5, 0.1])
def test_remainders_of_elements_are_pythons(fused, k):
    def taken(param, *, grad, k):
        return grad % k + 1000 * (grad // k)

    values = [-7.25, -3.0, -0.5, 0.0, 0.75, 2.5, 6.0, 100.0]
    p = Parameter(torch.zeros(8, dtype=torch.float64))
    p.grad = torch.tensor(values, dtype=torch.float64)
    Optimizer([p], taken, k=k, fused=fused).step()
    wanted = [v - math.floor(v / k) * k + 1000 * math.floor(v / k) for v in values]
    np.testing.assert_allclose(p.detach().numpy(), wanted, rtol=1e-13, atol=1e-13)


def test_by_hand_they_are_torchs_and_numpys():
    x = randn(5, 4, dtype=torch.float64)
    for value in (x, x.numpy()):
        assert sum(value) == pytest.approx(float(x.sum()))
        assert mean(value) == pytest.approx(float(x.mean()))
        assert rms(value) == pytest.approx(float((x * x).mean().sqrt()))
        assert dot(value, value) == pytest.approx(float((x * x).sum()))
        assert numel(value) == 20
    assert floor(-1.5) == -2


@pytest.mark.parametrize(
    ("piece", "text"),
    [
        (lambda update, *, lr: sum(lr) * update, "a sum or norm takes a tensor"),
        (lambda update, *, lr: update / numel(lr), "numel takes a tensor"),
        (
            lambda update: update * sum(update, over="everything"),
            "over='everything' is not known: a sum runs over 'tensor'",
        ),
        (lambda update: update.mean(), r"\.mean is not in the language of formulas; write mean\(x\) with mean from"),
        (lambda update: update - torch.std(update), r"write sqrt\(mean\(\(x - mean\(x\)\)\*\*2\)\)"),
        (lambda update: update * mean(update > 0), "a truth value cannot be used as a number in a sum"),
    ],
)
def test_what_cannot_be_summed_is_said(piece, text):
    with pytest.raises(FormulaError, match=text):
        Optimizer([Parameter(torch.ones(2))], [piece, pieces.descend], lr=0.1)
