"""Formulas with rows, columns and functions of whole tensors on a CUDA device, against torch's operations there."""

from __future__ import annotations

import pytest
import torch
from on_cuda import MATRICES, close, give, kernels_step, make, no_waiting, parameters, same
from torch.nn import Parameter

from ravine.formula import amax, mean, reduced, sqrt
from ravine.optim import Adafactor, Optimizer, pieces

#: One tile and several, in both directions; rows of 16 elements and others; many small matrices; none; what is no matrix.
SHAPES = ((300, 256), (1030, 64), (64, 32, 3, 3), (5000, 8), (2, 70_000), (1, 1), (0, 4), (40, 24), (40, 24), (7,))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["adafactor", "came", "adammini"])
def test_rows_and_columns(name, dtype):
    a, b = parameters(dtype, SHAPES), parameters(dtype, SHAPES)
    ours, eager = make(name, a), make(name, b, fused=False)
    for step in range(3):
        missing = (1, 4) if step == 1 else ()
        give(a, step, missing)
        give(b, step, missing)
        ours.step()
        eager.step()
        assert kernels_step(ours)
        same(ours, eager, dtype)
        eager.load_state_dict(ours.state_dict())
        for p, q in zip(a, b, strict=True):
            q.data.copy_(p.data)


@pytest.mark.parametrize("name", MATRICES)
def test_functions_of_whole_tensors(name):
    shapes = [(64, 48), (64, 48), (33, 80), (9,)]
    a, b = parameters(torch.float64, shapes), parameters(torch.float64, shapes)
    ours, eager = make(name, a), make(name, b, fused=False)
    for step in range(3):
        give(a, step)
        give(b, step)
        ours.step()
        eager.step()
    assert kernels_step(ours)
    # What is computed in bfloat16 can differ by a bit of that.
    far = 2e-4 if name in ("muon", "normuon") else 1e-8
    for p, q in zip(a, b, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=far)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["muon", "normuon"])
def test_muon_makes_matrices_orthogonal(name, dtype):
    """The singular values of an update are near 1, as Newton and Schulz's iteration leaves them."""
    (p,) = params = parameters(dtype, [(256, 256)])
    optimizer = make(name, params, lr=1.0, weight_decay=0.0)
    before = p.detach().float().clone()
    give(params, 0)
    optimizer.step()
    assert kernels_step(optimizer)
    values = torch.linalg.svdvals(before - p.detach().float())
    assert float(values.median() / values.max()) > 0.5


@pytest.mark.parametrize("name", ["adafactor", "came", "adammini", "muon", "normuon", "psgdkron"])
def test_no_step_waits_for_the_device(name):
    params = parameters(torch.float32, SHAPES[:4])
    optimizer = make(name, params)
    for step in range(3):
        give(params, step)
        optimizer.step()
    for step in range(70):
        optimizer.param_groups[0]["lr"] = 0.01 / (step + 1)
        with no_waiting():
            optimizer.step()
    assert kernels_step(optimizer)


def test_sums_are_the_same_every_time():
    def run():
        params = parameters(torch.float32, SHAPES)
        optimizer = make("adafactor", params, clip_norm=1.0)
        for step in range(3):
            give(params, step)
            optimizer.step()
        return params

    for p, q in zip(run(), run(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("name", ["adafactor", "muon"])
def test_a_graph_captures_a_step(name):
    shapes = [(300, 256), (300, 256), (64, 7), (5,)]
    a, b = parameters(torch.float32, shapes), parameters(torch.float32, shapes)
    ours, plain = make(name, a), make(name, b)
    give(a, 0)
    give(b, 0)
    ours.step()
    plain.step()
    static = [p.grad for p in a]
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        ours.step()
    for step in range(1, 5):
        give(b, step)
        for g, q in zip(static, b, strict=True):
            g.copy_(q.grad)
        graph.replay()
        plain.step()
    same(ours, plain, torch.float32)


def test_a_step_that_is_skipped_changes_no_row():
    params = parameters(torch.float32, SHAPES)
    optimizer = make("adafactor", params, nonfinite="skip")
    give(params, 0)
    optimizer.step()
    kept = [t.clone() for p in params for t in (p.detach(), *optimizer.state[p].values())]
    give(params, 1)
    params[0].grad[3, 3] = float("nan")
    with no_waiting():
        optimizer.step()
    now = [t for p in params for t in (p.detach(), *optimizer.state[p].values())]
    for one, other in zip(now, kept, strict=True):  # means of no elements are NaN
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_more_elements_than_32_bits_count():
    n = 2**31 + 4096
    if torch.cuda.mem_get_info()[0] < 12 * n:
        pytest.skip("it takes some 25 GB")

    def rule(update, row=reduced(0.0, dim=-1)):
        row = mean(update**2, dim=-1)
        return update / sqrt(row) / amax(update, dim=-2), row

    p = Parameter(torch.zeros(n // 4096, 4096, dtype=torch.bfloat16, device="cuda"))
    p.grad = torch.ones_like(p)
    p.grad[-1] = 2.0
    optimizer = Optimizer([p], [rule, pieces.descend], lr=1.0)
    optimizer.step()
    assert kernels_step(optimizer)
    assert bool((p == -0.5).all())
    assert float(optimizer.state[p]["row"][-1]) == 4.0


def test_adafactor_is_torchs():
    shapes = [(300, 256), (64, 7), (5,)]
    a, b = parameters(torch.float32, shapes), parameters(torch.float32, shapes)
    ours, theirs = Adafactor(a, lr=0.01), torch.optim.Adafactor(b, lr=0.01)
    for step in range(5):
        give(a, step)
        give(b, step)
        ours.step()
        theirs.step()
    assert kernels_step(ours)
    for p, q in zip(a, b, strict=True):
        close(p, q, torch.float32)
