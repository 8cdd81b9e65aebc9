"""What rounding costs: against NumPy by hand, in double precision, and the same from kernels and from torch's operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kinds import NAMES, one_of_each_kind
from torch.nn import Parameter

from ravine.backends import STATISTICS, statistic
from ravine.backends._eight_bits import SCALES, decode, is_code
from ravine.backends._foreach import Foreach
from ravine.backends._rounding_figures import SAMPLE
from ravine.backends.cpu._kernel import kernel_source
from ravine.formula._compensation import REST, whole
from ravine.optim import Adafactor, Adam, Optimizer, RMSprop, pieces
from ravine.optim._registry import lookup

STATES, PARAM = statistic("state_rounding_square", "param_rounding_square")
SHAPES = ((300, 70), (5,), (), (0, 3))
#: The dtype of parameters, and the options that say how states are kept.
KINDS = [
    (torch.float32, {"state_dtype": "bfloat16"}),
    (torch.float32, {"state_dtype": "bfloat16", "rounding": "stochastic"}),
    (torch.float32, {"state_dtype": {"exp_avg": "float16"}}),
    (torch.float32, {"state_dtype": {"exp_avg": "float16"}, "rounding": "stochastic"}),
    (torch.float32, {"state_dtype": "8bit"}),
    (torch.float32, {"state_dtype": "8bit", "rounding": "nearest"}),
    (torch.float32, {"state_dtype": {"exp_avg_sq": "8bit"}}),
    (torch.bfloat16, {}),
    (torch.bfloat16, {"state_dtype": "float32"}),
    (torch.bfloat16, {"rounding": "stochastic", "state_dtype": "bfloat16"}),
    (torch.float16, {}),
    (torch.float64, {"state_dtype": "bfloat16"}),
    (torch.bfloat16, {"param_bits": "stochastic"}),
    (torch.bfloat16, {"param_bits": 24}),
    (torch.bfloat16, {"param_bits": 24, "rounding": "stochastic"}),
    (torch.bfloat16, {"param_bits": 32, "state_dtype": "bfloat16"}),
]


def parameters(dtype=torch.float32, shapes=SHAPES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = [Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]
    turned = torch.randn(90, 80, generator=generator).to(dtype).t()
    return [*made, Parameter(turned)] if shapes == SHAPES else made


def steps(optimizer, params, first, last, size=1e-2):
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        for p in params:
            p.grad = (torch.randn(p.shape, generator=generator) * size).to(p.dtype)
        optimizer.step()


def last(optimizer):
    assert len(optimizer.watch.last)
    return optimizer._monitor.record.last


def held(optimizer, p, name):
    """What a parameter or a state holds, in the order of memory."""
    tensor = p.detach() if name == "param" else optimizer.state[p][name]
    value = decode(tensor, optimizer.state[p][name + SCALES]) if is_code(tensor.dtype) else tensor
    if name == "param" and REST in optimizer.state[p]:
        value = whole(tensor, optimizer.state[p])
    dense = torch.empty_like(p.detach(), dtype=torch.float64).copy_(value)
    return dense.as_strided((dense.numel(),), (1,)).numpy()[:SAMPLE].copy()


def narrow(tensor):
    return tensor.dtype in (torch.bfloat16, torch.float16) or is_code(tensor.dtype)


@pytest.mark.parametrize("fused", [None, False])
@pytest.mark.parametrize(("dtype", "options"), KINDS)
def test_they_are_those_of_adam_by_hand(dtype, options, fused):
    params, lr, betas, eps = parameters(dtype), 2e-3, (0.9, 0.99), 1e-8
    optimizer = Adam(params, lr=lr, betas=betas, eps=eps, fused=fused, **options)
    steps(optimizer, params, 0, 20)
    names = ("param", "exp_avg", "exp_avg_sq")
    before = [{n: held(optimizer, p, n) for n in names} for p in params]
    steps(optimizer, params, 20, 21)
    found = last(optimizer)
    seen = 0
    for i, p in enumerate(params):
        grad = torch.empty_like(p.detach(), dtype=torch.float64).copy_(p.grad)
        g, old = grad.as_strided((grad.numel(),), (1,)).numpy()[:SAMPLE], before[i]
        exact = {"exp_avg": betas[0] * old["exp_avg"] + (1 - betas[0]) * g}
        exact["exp_avg_sq"] = betas[1] * old["exp_avg_sq"] + (1 - betas[1]) * g**2
        mean, square = exact["exp_avg"] / (1 - betas[0] ** 21), exact["exp_avg_sq"] / (1 - betas[1] ** 21)
        # What is rounded at random goes into the step as it was before.
        exact["param"] = old["param"] - lr * mean / (np.sqrt(square) + eps)
        ratios = {"param": 0.0, "exp_avg": 0.0, "exp_avg_sq": 0.0}
        for name in names:
            tensor = p if name == "param" else optimizer.state[p][name]
            if narrow(tensor) and p.numel():
                lost, changed = held(optimizer, p, name) - exact[name], exact[name] - old[name]
                ratios[name] = (lost**2).sum() / (changed**2).sum()
                seen += 1
        assert found[STATES, i] == pytest.approx(max(ratios["exp_avg"], ratios["exp_avg_sq"]), rel=0.01)
        digits = 1e-3 if "param_bits" in options else 0  # of float32, beside those of 24 and 32 bits
        assert found[PARAM, i].sqrt() == pytest.approx(np.sqrt(ratios["param"]), rel=0.01, abs=digits)
    assert seen


#: Each kind in two ways, which have both dtypes of states and of parameters between them; its neighbours have the other two.
WAYS = [("bfloat16", torch.float32), ("8bit", torch.float32), ("bfloat16", torch.bfloat16), ("8bit", torch.bfloat16)]
IN_TURN = [(n, *WAYS[way]) for i, n in enumerate(one_of_each_kind(NAMES)) for way in ((0, 3), (1, 2))[i % 2]]


@pytest.mark.parametrize(("name", "state_dtype", "dtype"), IN_TURN)
def test_kernels_have_those_of_torchs_operations(name, state_dtype, dtype):
    """A sum that differs in its last bit may be rounded to the other side."""
    cls = lookup(name).cls
    shapes = ((96, 64),)
    ours, others = parameters(dtype, shapes), parameters(dtype, shapes)
    options = {**lookup(name).options, "state_dtype": state_dtype, "rounding": "stochastic"}
    kernels, eager = cls(ours, **options), cls(others, fused=False, **options)
    steps(kernels, ours, 0, 5)
    steps(eager, others, 0, 5)
    assert last(kernels)[[STATES, PARAM]].numpy() == pytest.approx(last(eager)[[STATES, PARAM]].numpy(), rel=0.05)
    assert (last(kernels)[PARAM] > 0).all() == (dtype is torch.bfloat16)


@pytest.mark.parametrize(("dtype", "options"), [k for k in KINDS if "8bit" not in str(k)])
def test_lists_of_tensors_have_the_same(dtype, options, monkeypatch):
    ours, others, made = parameters(dtype), parameters(dtype), []
    one = Adam(ours, fused=False, **options)
    steps(one, ours, 0, 3)
    monkeypatch.setattr("ravine.optim._engine.batches.Eager", lambda *args: made.append(Foreach(*args)) or made[-1])
    lists = Adam(others, fused=False, **options)
    steps(lists, others, 0, 3)
    assert made
    assert last(lists)[[STATES, PARAM]].numpy() == pytest.approx(last(one)[[STATES, PARAM]].numpy(), rel=0.02)


@pytest.mark.parametrize("fused", [None, False])
def test_rounding_to_nearest_costs_at_most_the_change(fused):
    """The old value could have been kept; a rate so small that nothing moves is where it has 1."""
    params = parameters(torch.bfloat16)
    optimizer = RMSprop(params, lr=1e-7, fused=fused)
    steps(optimizer, params, 0, 30)
    found = last(optimizer)[[STATES, PARAM]].sqrt()
    assert (found <= 1 + 1e-6).all()
    assert found[1, :2].tolist() == pytest.approx([1.0, 1.0], abs=1e-3)


def test_the_sample_is_what_begins_a_tensor():
    """Elements behind it do not count, whether they are in the same chunk or not."""
    figures = []
    for size in (1.0, 1e4):
        torch.manual_seed(0)
        p = Parameter(torch.zeros(3 * 16384, dtype=torch.bfloat16))
        optimizer = RMSprop([p], lr=1e-3)
        for _ in range(4):
            grad = torch.randn(p.shape)
            grad[SAMPLE:] *= size
            p.grad = grad.bfloat16()
            optimizer.step()
        figures.append(last(optimizer)[[STATES, PARAM]].tolist())
    assert figures[0] == figures[1]
    assert 0 < figures[0][0][0] < 1


@pytest.mark.parametrize("fused", [None, False])
def test_what_does_not_change_loses_nothing(fused):
    params = parameters(torch.bfloat16)
    optimizer = RMSprop(params, lr=1e-3, fused=fused)
    for p in params:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert last(optimizer)[[STATES, PARAM]].tolist() == [[0.0] * len(params)] * 2


def test_small_gradients_have_the_figures_of_large_ones():
    """Changes of their averages of squares are 1e-20, whose squares no float32 holds."""
    found = []
    for size in (2.0**-33, 1.0):
        params = parameters()
        optimizer = RMSprop(params, lr=1e-3, eps=0.0, state_dtype="bfloat16")
        steps(optimizer, params, 0, 5, size)
        found.append(last(optimizer)[STATES].tolist())
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert found[0][0] > 0


def test_nothing_is_lost_where_nothing_is_narrow():
    params = parameters()
    optimizer = Adam(params)
    steps(optimizer, params, 0, 3)
    assert not last(optimizer)[[STATES, PARAM]].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kernels_of_wide_tensors_know_nothing_of_it(dtype, monkeypatch):
    """Their text is the same where these lines do not exist at all."""
    p = parameters(dtype)[:1]
    optimizer = Adam(p)
    steps(optimizer, p, 0, 1)
    program = optimizer._plan._entries[0].batch.program
    dtypes = dict.fromkeys(program.buffers, dtype)
    text = kernel_source(program, 0, dtypes, watch=True)
    monkeypatch.setattr("ravine.backends.cpu._kernel.rounding_lines", lambda *args: ([], [], []))
    assert text == kernel_source(program, 0, dtypes, watch=True)
    assert "rounding" not in text
    narrow_text = kernel_source(program, 0, dtypes | {"exp_avg": torch.bfloat16}, watch=False)
    assert "what rounding costs" not in narrow_text  # without the watch


@pytest.mark.parametrize("fused", [None, False])
def test_a_state_that_is_not_finite_has_no_figure(fused):
    params = parameters(shapes=((40, 3), (7,)))
    optimizer = Adam(params, state_dtype="bfloat16", fused=fused)
    steps(optimizer, params, 0, 1)
    optimizer.state[params[0]]["exp_avg"][0, 0] = torch.nan
    steps(optimizer, params, 1, 2)
    figures = last(optimizer)[STATES]
    assert figures[0].isnan()
    assert figures[1].isfinite()
    row = optimizer.watch.last["0"]
    assert row.rounding != row.rounding


def test_sparse_gradients_have_none():
    for fused in (None, False):
        table = torch.nn.Embedding(50, 8, sparse=True)
        table.weight.data = table.weight.data.bfloat16()
        optimizer = RMSprop(table.parameters(), lr=1e-2, fused=fused)
        for _ in range(3):
            table(torch.tensor([1, 2, 7])).square().sum().backward()
            optimizer.step()
        assert not last(optimizer)[[STATES, PARAM]].any()
        assert last(optimizer)[statistic("update_square")].all()


def test_a_formula_with_rows_and_columns_has_them():
    p, other = parameters(torch.bfloat16, ((260, 90),)), parameters(torch.bfloat16, ((260, 90),))
    kernel, eager = Adafactor(p, lr=1e-3), Adafactor(other, lr=1e-3, fused=False)
    steps(kernel, p, 0, 4)
    steps(eager, other, 0, 4)
    assert 0.1 < last(kernel)[PARAM, 0] <= 1
    assert last(kernel)[PARAM, 0].item() == pytest.approx(last(eager)[PARAM, 0].item(), rel=0.01)


def test_a_state_that_is_written_and_not_read_has_one():
    def keeps(update, old=0.0):
        return update, update * 1.1

    for fused in (None, False):
        params = parameters()
        optimizer = Optimizer(params, [keeps, pieces.descend], lr=0.1, state_dtype="bfloat16", fused=fused)
        steps(optimizer, params, 0, 2)
        before = held(optimizer, params[0], "old")
        steps(optimizer, params, 2, 3)
        exact = params[0].grad.double().numpy().reshape(-1)[:SAMPLE] * np.float32(1.1).astype(np.float64)
        ratio = ((held(optimizer, params[0], "old") - exact) ** 2).sum() / ((exact - before) ** 2).sum()
        assert last(optimizer)[STATES, 0].item() == pytest.approx(ratio, rel=0.01)


def test_inside_backward_they_are_the_same():
    ones, others = parameters(torch.bfloat16), parameters(torch.bfloat16)
    plain, inside = Adam(ones), Adam(others)
    inside.in_backward()
    for step in range(3):
        for params, optimizer in ((ones, plain), (others, inside)):
            generator = torch.Generator().manual_seed(step)
            sum((p.float() * torch.randn(p.shape, generator=generator)).sum() for p in params).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert torch.equal(last(plain), last(inside))
    assert last(plain)[PARAM, 0] > 0


def test_they_are_sums_that_only_the_first_chunk_has():
    assert all(s.reduce == "sum" for s in STATISTICS if "rounding" in s.name)
