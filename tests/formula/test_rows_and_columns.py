"""Values of rows and columns, kept numbers and functions of whole tensors: what they mean, kernels against torch, mistakes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from ravine.backends.cpu import MatrixFused
from ravine.errors import BackendError, FormulaError, ParameterError
from ravine.formula import (
    amax,
    dot,
    maximum,
    mean,
    norm,
    numel,
    reduced,
    resolution,
    rms,
    scalar,
    sqrt,
    squares,
    sum,
    tensor_function,
    tensor_state,
    trace_formula,
    where,
)
from ravine.optim import Optimizer, pieces

pytestmark = pytest.mark.usefixtures("one_thread")
#: One row, one column, rows longer than a chunk, several matrices in a chunk and one over several, none at all.
SHAPES = [(1, 7), (7, 1), (33, 5), (2, 20_000), (300, 101), (2, 3, 4, 5), (9, 40, 60), (3, 0), (0, 3)]


def scaled(
    update,
    rows=reduced(0.5, dim=-1),
    columns=reduced(0.0, dim=-2),
    largest=scalar(0.0),
    *,
    param,
    decay,
):
    """Something of everything: means, norms, largest values of rows and columns, sums over sums, numbers that are kept."""
    rows = decay * rows + (1 - decay) * mean(update**2, dim=-1)
    columns = decay * columns + (1 - decay) * norm(update, dim=-2)
    largest = maximum(largest, amax(update))
    one = update * columns / (sqrt(rows) + rms(param, dim=-1) + mean(rows, dim=-2))
    other = where(amax(update, dim=-1) > 1, one, one * dot(param, update, dim=-2))
    return other / (1 + largest + norm(other) + sum(rows) / numel(rows)), rows, columns, largest


def steps(shapes, dtype, fused, **options):
    generator = torch.Generator().manual_seed(0)
    params = [Parameter(torch.randn(s, generator=generator, dtype=torch.float64).to(dtype)) for s in shapes]
    optimizer = Optimizer(params, [scaled, pieces.descend], lr=0.1, decay=0.8, fused=fused, **options)
    for k in range(4):
        for i, p in enumerate(params):
            grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(dtype)
            p.grad = None if k == 2 and i in (1, 4) else grad
        optimizer.step()
    return params, optimizer


#: What an option changes is the same in every dtype: each is a kernel for each pass.
DTYPES_AND_OPTIONS = [
    *((dtype, {}) for dtype in (torch.float64, torch.float32, torch.bfloat16)),
    (torch.float32, {"clip_norm": 0.5}),
    (torch.bfloat16, {"watch": False}),
]


@pytest.mark.parametrize(("dtype", "options"), DTYPES_AND_OPTIONS, ids=str)
def test_the_kernel_of_matrices_equals_torchs_operations(dtype, options):
    (a, fused), (b, eager) = (steps(SHAPES, dtype, fused, **options) for fused in (True, False))
    assert {type(e.batch) for e in fused._plan._entries} == {MatrixFused}
    rtol = {torch.float64: 1e-11, torch.float32: 2e-4, torch.bfloat16: 2**-6}[dtype]
    for p, q in zip(a, b, strict=True):
        torch.testing.assert_close(p, q, rtol=rtol, atol=rtol)
        assert fused.state[p].keys() == eager.state[q].keys()
        for name, value in fused.state[p].items():
            torch.testing.assert_close(value, eager.state[q][name], rtol=rtol, atol=rtol, equal_nan=True)
    if options.get("watch", True):
        for i, p in enumerate(a):
            if p.numel():
                one, other = fused.watch.last[str(i)], eager.watch.last[str(i)]
                assert one.update_norm == pytest.approx(other.update_norm, rel=max(rtol, 1e-3))
                assert one.grad_max == pytest.approx(other.grad_max, rel=1e-6)


def test_against_numpy():
    p = Parameter(torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], dtype=torch.float64))
    g = np.array([[0.1, 0.4, -0.3], [2.0, -0.2, 0.6]])

    def rule(update, row=reduced(0.0, dim=-1), top=scalar(1.0), *, param):
        row = row + mean(update**2, dim=-1)
        top = maximum(top, amax(param))
        return update / sqrt(row) * amax(param, dim=-2) / top + numel(update, dim=-1) * numel(row), row, top

    optimizer = Optimizer([p], [rule, pieces.descend], lr=0.1)
    before = p.detach().numpy().copy()
    p.grad = torch.from_numpy(g)
    optimizer.step()
    row = (g * g).mean(1, keepdims=True)
    wanted = before - 0.1 * (g / np.sqrt(row) * np.abs(before).max(0, keepdims=True) / 4.0 + 3 * 2)
    np.testing.assert_allclose(p.detach().numpy(), wanted, rtol=1e-14)
    np.testing.assert_allclose(optimizer.state[p]["row"].numpy(), row, rtol=1e-14)
    assert optimizer.state[p]["top"].shape == ()
    assert float(optimizer.state[p]["top"]) == 4.0


@pytest.mark.parametrize("fused", [True, False])
def test_states_that_swap_or_keep_what_another_was(fused):
    def rule(
        update,
        one=reduced(1.0, dim=-1),
        other=reduced(2.0, dim=-1),
        columns=reduced(0.0, dim=-2),
        columns_before=reduced(0.5, dim=-2),
    ):
        new = columns / 2 + mean(update, dim=-2)
        return update * one + columns_before, other, one + amax(update, dim=-1), new, columns

    params = [Parameter(torch.zeros(s, dtype=torch.float64)) for s in ((3, 4), (2, 2, 5))]
    optimizer = Optimizer(params, [rule, pieces.descend], lr=0.1, fused=fused)
    generator = np.random.default_rng(0)
    states = [
        [np.full((*p.shape[:-1], 1), x) for x in (1.0, 2.0)]
        + [np.full((*p.shape[:-2], 1, p.shape[-1]), x) for x in (0, 0.5)]
        for p in params
    ]
    wanted = [np.zeros(p.shape) for p in params]
    for _ in range(5):
        for i, p in enumerate(params):
            g = generator.standard_normal(p.shape)
            p.grad = torch.from_numpy(g)
            one, other, columns, before = states[i]
            wanted[i] = wanted[i] - 0.1 * (g * one + before)
            states[i] = [
                other,
                one + np.abs(g).max(-1, keepdims=True),
                columns / 2 + g.mean(-2, keepdims=True),
                columns,
            ]
        optimizer.step()
        for p, values, w in zip(params, states, wanted, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-12, atol=1e-14)
            kept = [optimizer.state[p][name] for name in ("one", "other", "columns", "columns_before")]
            for ours, value in zip(kept, values, strict=True):
                np.testing.assert_allclose(ours.numpy(), value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("fused", [None, False])
def test_sums_that_float32_cannot_hold_are_made_again(fused):
    def rule(update, *, lr):
        return update / norm(update) * where(mean(update, dim=-1) > 0, 1, 1)

    p = Parameter(torch.zeros(4, 3))
    p.grad = torch.full((4, 3), 3e25)
    Optimizer([p], [rule, pieces.descend], lr=1.0, fused=fused).step()
    torch.testing.assert_close(p.detach(), torch.full((4, 3), -1 / math.sqrt(12)))


def test_by_hand_on_tensors_and_arrays():
    x = np.array([[1.0, -2.0], [3.0, 0.5]])
    for value in (x, torch.from_numpy(x)):
        assert np.asarray(sum(value, dim=-1)).tolist() == [[-1.0], [3.5]]
        assert np.asarray(amax(value, dim=-2)).tolist() == [[3.0, 2.0]]
        assert float(amax(value)) == 3.0
        assert numel(value, dim=-2) == 2.0
        assert resolution(value) == np.finfo(float).eps


# --- numbers that are kept ------------------------------------------------------------------------------------------


def test_a_number_of_the_group_is_one_for_all_and_stands_in_its_dict():
    def rule(update, k=scalar(0, per="group"), total=scalar(0.0, per="group")):
        k = k + 1
        total = total + norm(update, over="group")
        return update / total * k, k, total

    params = [Parameter(torch.ones(2)), Parameter(torch.ones(3))]
    optimizer = Optimizer([{"params": params[:1]}, {"params": params[1:]}], [rule, pieces.descend], lr=0.1)
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()
    optimizer.step()
    assert [g["k"] for g in optimizer.param_groups] == [2.0, 2.0]
    assert [g["total"] for g in optimizer.param_groups] == [pytest.approx(2 * math.sqrt(n)) for n in (2, 3)]
    optimizer.param_groups[0]["k"] = "many"
    with pytest.raises(Exception, match="'k', which the formula keeps, must be a number"):
        optimizer.step()


# --- functions of whole tensors -------------------------------------------------------------------------------------


@tensor_function(batched=True)
def turned(x, by=1):
    return x.flip(-1) * by


def with_function(update, momentum_buffer=0.0, *, momentum):
    momentum_buffer = momentum * momentum_buffer + update
    return turned(2 * momentum_buffer, by=3), momentum_buffer


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("fused", [True, False])
def test_a_function_gets_what_the_pass_before_made_and_the_next_reads_what_it_gave(fused, dtype):
    params = [Parameter(torch.randn(s).to(dtype)) for s in ((4, 3), (2, 5), (4, 3))]
    before = [p.detach().double() for p in params]
    optimizer = Optimizer(params, [with_function, pieces.descend], lr=0.1, momentum=0.9, fused=fused)
    total = [torch.zeros_like(b) for b in before]
    for _ in range(3):
        for i, p in enumerate(params):
            p.grad = torch.randn_like(p)
            total[i] = 0.9 * total[i] + p.grad.double()
            before[i] = before[i] - 0.1 * 6 * total[i].flip(-1)
        optimizer.step()
    for p, b in zip(params, before, strict=True):
        torch.testing.assert_close(
            p.double(), b, rtol=0.05 if dtype is torch.bfloat16 else 1e-5, atol=0.1 if dtype is torch.bfloat16 else 1e-5
        )


@pytest.mark.parametrize("fused", [True, False])
def test_states_named_as_what_a_function_gives_and_takes_are_other_values(fused):
    def rule(update, result0=3.0, argument0=2.0, argument0_new=1.0):
        result0 = 0.5 * result0 + update
        argument0 = argument0 + turned(2 * result0, by=3)
        return turned(update, by=argument0_new) * argument0, result0, argument0, argument0_new

    p = Parameter(torch.zeros(2, 3, dtype=torch.float64))
    optimizer = Optimizer([p], [rule, pieces.descend], lr=0.1, fused=fused)
    result0, argument0, wanted = torch.full((2, 3), 3.0), torch.full((2, 3), 2.0), torch.zeros(2, 3)
    for k in range(3):
        p.grad = torch.arange(6.0, dtype=torch.float64).view(2, 3) - k
        optimizer.step()
        result0 = 0.5 * result0 + p.grad
        argument0 = argument0 + 6 * result0.flip(-1)
        wanted = wanted - 0.1 * p.grad.flip(-1) * argument0
        torch.testing.assert_close(p.detach(), wanted)
        torch.testing.assert_close(optimizer.state[p]["result0"], result0)
        torch.testing.assert_close(optimizer.state[p]["argument0"], argument0)


def test_parameters_of_one_shape_are_one_call():
    calls = []

    @tensor_function(batched=True)
    def seen(x):
        calls.append(tuple(x.shape))
        return x + 0

    params = [Parameter(torch.ones(s)) for s in ((4, 3), (2, 5), (4, 3))]
    optimizer = Optimizer(params, [lambda update: seen(update), pieces.descend], lr=0.1)
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert sorted(calls) == [(2, 4, 3), (2, 5)]


@tensor_function(returns=2)
def gathered(x, total):
    return x / 2, total + x @ x.mT


def with_state(update, total=tensor_state(lambda shape: (shape[0], shape[0]), 1.0)):
    return gathered(update, total)


def test_a_state_of_a_shape_of_its_own_is_kept_saved_and_loaded():
    p = Parameter(torch.ones(2, 3))
    optimizer = Optimizer([p], [with_state, pieces.descend], lr=0.1)
    p.grad = torch.ones(2, 3)
    optimizer.step()
    assert torch.equal(optimizer.state[p]["total"], torch.full((2, 2), 4.0))
    fresh = Optimizer([p], [with_state, pieces.descend], lr=0.1)
    fresh.load_state_dict(optimizer.state_dict())
    fresh.step()
    assert torch.equal(fresh.state[p]["total"], torch.full((2, 2), 7.0))


# --- mistakes -------------------------------------------------------------------------------------------------------


def traced(*rules):
    return trace_formula([*rules, pieces.descend], {"lr": 0.1})


def test_rows_of_what_has_none():
    p = Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = Optimizer([p], [lambda update: update * mean(update, dim=-1), pieces.descend], lr=0.1)
    with pytest.raises(ParameterError, match=r"shape \(3,\).*has 1 dimension, so it has no rows.*def formula\(ndim\)"):
        optimizer.step()
    assert torch.equal(p, torch.ones(3))


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        (lambda update: mean(update, dim=0) * update, r"dim=0: it is -1 .*each row.* or -2"),
        (lambda update: mean(update, over="all", dim=-1) * update, "leave out one of them"),
        (lambda update: sum(mean(update, dim=-1), dim=-1) * update, "got one value for each row already"),
        (lambda update: update * (mean(0.5, dim=-1)), "dim=-1"),
    ],
)
def test_dimensions_that_cannot_be(rule, match):
    with pytest.raises(FormulaError, match=match):
        traced(rule)


def test_values_of_another_shape_than_their_state():
    def too_large(update, row=reduced(0.0, dim=-1)):
        return update, update**2

    def too_small(update, square=0.0):
        return update, mean(update, dim=-1)

    def no_number(update, k=scalar(1.0)):
        return update, update * k

    with pytest.raises(
        FormulaError, match=r"new row has one value for every element.*for each row.*mean\(\.\.\., dim=-1\)"
    ):
        traced(too_large)
    with pytest.raises(
        FormulaError, match="new square has one value for each row, and square has one for every element"
    ):
        traced(too_small)
    with pytest.raises(FormulaError, match=r"new k is a value for every element, and k is one number.*mean\(\.\.\.\)"):
        traced(no_number)
    with pytest.raises(FormulaError, match="takes a tensor.*got a number"):
        traced(lambda update, k=scalar(1.0): (update * norm(k), k))


def test_a_number_of_the_group_that_differs_from_tensor_to_tensor():
    def by_step(update, k=scalar(0.0, per="group"), *, step):
        return update, step + k

    def by_norm(update, k=scalar(0.0, per="group")):
        return update, norm(update) + k

    with pytest.raises(FormulaError, match=r"depends on step: count in the formula, k=scalar\(0, per='group'\)"):
        traced(by_step)
    with pytest.raises(FormulaError, match=r"a number of one tensor: write over='group'"):
        traced(by_norm)


def test_tensors_of_a_shape_of_their_own_are_for_functions_only():
    state = tensor_state(lambda shape: (2, 2))
    with pytest.raises(
        FormulaError, match=r"total is a tensor of a shape of its own: only a function.*@tensor_function"
    ):
        traced(lambda update, total=state: (update * total, total))
    with pytest.raises(FormulaError, match="turned takes tensors and numbers"):
        traced(lambda update: turned(update > 0))
    with pytest.raises(FormulaError, match="its new value is what a function gives"):
        traced(lambda update, total=state: (update, update))


def test_starts_that_cannot_be():
    for make, match in (
        (lambda: scalar("1"), "a kept number starts as a number"),
        (lambda: scalar(1.0, per="all"), "'tensor' .* or 'group'"),
        (lambda: reduced(0.0, dim=0), "dim is -1"),
        (lambda: tensor_state((2, 2)), "it takes a function of the parameter's shape"),
        (lambda: squares("a"), r"squares\('a'\): a state starts as a number, such as squares\(0.0\)"),
        (lambda: squares(None), r"squares\(None\)"),
        (lambda: squares(True), r"squares\(True\)"),
        *((lambda make=make: make(10**5000), "an int") for make in (squares, scalar)),
    ):
        with pytest.raises(FormulaError, match=match):
            make()


def test_what_is_no_function_or_tensor_is_said_where_it_is_given():
    for make, match in (
        (lambda: tensor_function(3), r"tensor_function\(3\): it marks a function; .* @tensor_function\(returns=2\)"),
        (lambda: tensor_function(returns=2)(None), r"tensor_function\(None\)"),
        (lambda: resolution("a"), r"it uses 'a' \(a str\)"),
        (lambda: resolution(1.0), "resolution takes a tensor"),
    ):
        with pytest.raises(FormulaError, match=match):
            make()


@pytest.mark.parametrize("fused", [None, False])
@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda x: x[:1], r"the tensor function f: its result has shape \(1, 3\), and the parameter has \(2, 3\)"),
        (
            lambda x: x.double(),
            r"its result is torch.float64, and the formula is computed in torch.float32.*\.to\(x.dtype\)",
        ),
        (lambda x: x.mul_(2), "the tensor function f writes to what it is given"),
        (lambda x: (x, x), r"gave 2 values, and is marked @tensor_function\(returns=1\)"),
        (lambda x: 3.0, r"its result is 3.0 \(a float\), not a tensor"),
    ],
)
def test_functions_that_give_something_else_change_nothing(function, match, fused):
    def f(x):
        return function(x)

    p = Parameter(torch.ones(2, 3))
    p.grad = torch.ones(2, 3)
    marked = tensor_function(f)
    optimizer = Optimizer([p], [lambda update: marked(2 * update), pieces.descend], lr=0.1, fused=fused)
    with pytest.raises(BackendError, match=match):
        optimizer.step()
    assert torch.equal(p, torch.ones(2, 3))


def test_a_function_of_numbers_only():
    with pytest.raises(FormulaError, match="turned is a function of whole tensors, and is given numbers only"):
        traced(lambda update, *, lr: update * turned(lr))
