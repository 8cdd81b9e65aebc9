"""Kernels and the eager backend against the formula itself, called by hand with NumPy's doubles."""

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.backends._eager import Eager
from ravine.backends.cpu import Fused, kernel_source
from ravine.formula import (
    exp,
    global_norm,
    isfinite,
    isnan,
    log,
    maximum,
    minimum,
    norm,
    param_copy,
    rename,
    sign,
    sqrt,
    tanh,
    trace_formula,
    where,
)
from ravine.optim import Optimizer

PRECISION = {torch.float64: 1e-13, torch.float32: 5e-6, torch.bfloat16: 2.0**-7, torch.float16: 2.0**-9}


def everything(param, average=param_copy, other=0.5, *, grad, a, b, step):
    """Every function of the language in one piece."""
    x = where((grad > a) & ~(param <= b) | isnan(grad), sqrt(abs(grad)) + exp(-abs(param)), sign(grad) * tanh(param))
    y = minimum(maximum(x, -a), log(abs(param) + 1)) * (1 - b**step) + where(isfinite(grad), grad, 0) ** 3
    average = a * average + (1 - a) * y
    other = where(step == 1, y, where(grad != 0, other, average) / (1 + abs(average) ** 0.5))
    return param - a * average + other**2 / 7, average, other


def batch(kind, program, params, states):
    if kind == "eager":
        return Eager(program, params, states)
    return Fused(program, params, states, params[0].dtype)


def run(kind, piece, dtype, steps=3, sizes=((3, 5), (40_000,), (), (0,), (1,)), **hypers):
    """Step random tensors; give what the backend left and what the piece, called by hand, makes of the same start."""
    generator = torch.Generator().manual_seed(7)
    program = trace_formula([piece], hypers)
    params = [torch.randn(s, generator=generator).to(dtype).requires_grad_() for s in sizes]
    states = []
    for p in params:
        start = {n: p.detach().clone() if v is param_copy else torch.full_like(p, v) for n, v in program.states.items()}
        states.append({n: s.detach() for n, s in start.items()})
    expected = [
        [t.detach().double().numpy().copy() for t in (p, *d.values())] for p, d in zip(params, states, strict=True)
    ]
    stepped = batch(kind, program, params, states)
    reads = [n for n, p in inspect.signature(piece).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for step in range(1, steps + 1):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator).to(dtype)
        assert stepped.gather()
        stepped.write(program.numbers(0, step, [hypers[n] for n in program.hypers]))
        for i, p in enumerate(params):
            known = {**hypers, "grad": p.grad.double().numpy(), "step": step}
            new = piece(*expected[i], **{n: known[n] for n in reads})
            # What is kept between steps is rounded to the dtype of its tensor.
            expected[i] = [torch.from_numpy(np.array(v)).to(dtype).double().numpy() for v in new]
    return params, states, expected


@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@pytest.mark.parametrize("kind", ["eager", "fused"])
def test_every_function_of_the_language(kind, dtype):
    steps = 3 if dtype is torch.float64 else 1
    params, states, expected = run(kind, everything, dtype, steps, a=0.7, b=-0.3)
    for p, s, reference in zip(params, states, expected, strict=True):
        for found, wanted in zip([p.detach(), *s.values()], reference, strict=True):
            assert found.dtype == dtype
            np.testing.assert_allclose(found.double().numpy(), wanted, rtol=PRECISION[dtype], atol=PRECISION[dtype])


leaf = st.sampled_from(["param", "grad", "state", "a", "b", 2.0, -0.5])
node = st.recursive(
    leaf,
    lambda child: st.one_of(
        st.tuples(st.sampled_from("+-*/"), child, child),
        st.tuples(st.sampled_from(["sqrt", "abs", "sign", "tanh", "square"]), child),
        st.tuples(st.sampled_from(["minimum", "maximum"]), child, child),
    ),
    max_leaves=12,
)
FUNCTIONS = {"sqrt": lambda x: sqrt(abs(x)), "abs": abs, "sign": sign, "tanh": tanh, "square": lambda x: x**2}


def evaluate(tree, names):
    if not isinstance(tree, tuple):
        return names.get(tree, tree) if isinstance(tree, str) else tree
    op, *children = tree
    values = [evaluate(c, names) for c in children]
    if op in FUNCTIONS:
        return FUNCTIONS[op](*values)
    if op in ("minimum", "maximum"):
        return {"minimum": minimum, "maximum": maximum}[op](*values)
    left, right = values
    # A denominator away from 0: what is tested is the printing of expressions, not the condition of random ones.
    return {"+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right,
            "/": lambda: left / (1 + abs(right))}[op]()  # fmt: skip


@pytest.mark.slow  # compiles a kernel for each formula
@settings(max_examples=12, deadline=None)
@given(first=node, second=node)
def test_random_formulas(first, second):
    def piece(param, state=0.25, *, grad, a, b):
        names = {"param": param, "state": state, "grad": grad, "a": a, "b": b}
        return 0 * param + grad + evaluate(first, names), 0 * state + evaluate(second, names)

    for kind in ("eager", "fused"):
        params, states, expected = run(kind, piece, torch.float64, 1, sizes=((50,),), a=0.3, b=1.7)
        for found, wanted in zip([params[0].detach(), states[0]["state"]], expected[0], strict=True):
            np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_sixteen_bits_are_rounded_as_torch_rounds_them(dtype):
    """param - (-grad) in float32, rounded once: what torch's own conversion gives, for every kind of number."""

    def add(param, *, grad, a):
        return param + a * grad

    special = torch.tensor(
        [0.0, -0.0, 1e-40, 6e-8, 1e30, -1e30, math.inf, -math.inf, math.nan, 65504, 1 + 2**-9, 1 + 2**-11]
    )
    p = torch.cat([torch.randn(5000), special]).to(dtype).requires_grad_()
    p.grad = torch.cat([torch.randn(5000) / 300, special.flip(0)]).to(dtype)
    wanted = (p.detach().float() + p.grad.float()).to(dtype)
    stepped = Fused(trace_formula([add], {"a": 1.0}), [p], [{}], dtype)
    assert stepped.gather()
    stepped.write((1.0,))
    assert torch.equal(p.detach().nan_to_num(nan=77), wanted.nan_to_num(nan=77))


def clip_and_trust(update, *, param, limit):
    update = update * minimum(1, limit / (global_norm(update) + 1e-6))
    return update * where(norm(param) > 0, norm(param) / norm(update), 1)


def descend(param, *, update, lr):
    return param - lr * update


@pytest.mark.parametrize("fused", [True, False, None])
def test_norms_join_tensors_groups_and_backends(fused):
    """Clipping by the global norm, then a trust ratio per tensor, against torch's norms in double precision."""
    generator = torch.Generator().manual_seed(3)
    params = [
        torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in ((40_000,), (7, 3), (5,))
    ]
    if fused is None:  # one that only the eager backend takes
        params.append(torch.randn(6, 8, generator=generator, dtype=torch.float64)[:, ::2].detach().requires_grad_())
    left_out = torch.ones(3, dtype=torch.float64, requires_grad=True)
    groups = [{"params": [params[0], left_out]}, {"params": params[1:], "lr": 0.5}]
    optimizer = Optimizer(groups, [clip_and_trust, descend], lr=0.1, limit=2.0, fused=fused)
    for _ in range(3):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        total = torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in params]))
        wanted = []
        for p in params:
            update = p.grad * min(1, 2.0 / (total.item() + 1e-6))
            ratio = torch.linalg.vector_norm(p) / torch.linalg.vector_norm(update)
            wanted.append((p - (0.1 if p is params[0] else 0.5) * ratio * update).detach())
        optimizer.step()
        for p, w in zip(params, wanted, strict=True):
            torch.testing.assert_close(p.detach(), w, rtol=1e-12, atol=1e-12)
    assert torch.equal(left_out, torch.ones(3, dtype=torch.float64))


def test_a_state_of_another_dtype_is_kept_in_it():
    def average(param, mean=0.0, *, grad):
        mean = 0.5 * mean + grad
        return param - mean, mean

    p = torch.randn(1000, requires_grad=True)
    p.grad = torch.randn(1000)
    wanted_mean = p.grad.to(torch.bfloat16)
    wanted = p.detach() - p.grad
    state = {"mean": torch.zeros(1000, dtype=torch.bfloat16)}
    stepped = Fused(trace_formula([average], {}), [p], [state], torch.float32)
    assert stepped.gather()
    stepped.write(())
    assert torch.equal(state["mean"], wanted_mean)
    assert torch.equal(p.detach(), wanted)


def test_a_kernel_is_text_that_can_be_read():
    source = kernel_source(trace_formula([descend], {"lr": 0.1}), 0, {"param": torch.float32, "grad": torch.float32})
    assert "param_new = param - lr_ * grad" in source
    compile(source, "<kernel>", "exec")


def test_a_tuple_and_a_number_of_a_name_like_its_elements():
    def piece(param, *, grad, betas, betas_0, betas_1):
        return param - (betas[0] + 10 * betas[1] + 100 * betas_0 + 1000 * betas_1) * grad

    for fused in (True, False):
        p = torch.nn.Parameter(torch.zeros(3))
        p.grad = torch.ones(3)
        Optimizer([p], [piece], fused=fused, betas=(0.1, 0.2), betas_0=3.0, betas_1=4.0).step()
        assert p.tolist() == pytest.approx([-4302.1] * 3)


def test_words_of_python_can_be_names():
    def momentum(update, buffer=0.0, *, decay):
        buffer = decay * buffer + update
        return buffer, buffer

    words = rename(momentum, buffer="lambda", decay="if")
    for fused in (True, False):
        p = torch.nn.Parameter(torch.zeros(3))
        p.grad = torch.ones(3)
        optimizer = Optimizer([p], [words, descend], fused=fused, lr=1.0, **{"if": 0.5})
        optimizer.step()
        optimizer.step()
        assert p.tolist() == [-2.5] * 3
        assert optimizer.state[p]["lambda"].tolist() == [1.5] * 3


#: Names that generated code has of its own, or that look like them.
OWN = ["count", "start", "first", "i", "n", "moved", "top", "grad_square", "param_top", "sqrt", "where", "numbers"]
OWN += ["v0", "x0", "new_param", "param_", "count_user", "at_float32", "float32", "magnitude"]
OWN += ["param_new", "grad_array", "n0", "h_", "h_0", "total0", "inf", "float", "abs", "div", "element", "_", "é"]


def three_and_three(states, hypers):
    """A piece of three states and three hyperparameters with these names, and what it is called with."""
    lines = [f"def piece(param, {', '.join(f'{s}=0.0' for s in states)}, *, grad, {', '.join(hypers)}):"]
    lines += [f"    {s} = {0.25 * (i + 1)} * {s} + grad" for i, s in enumerate(states)]
    moves = " - ".join(f"{h} * {s}" for h, s in zip(hypers, states, strict=True))
    scope = {}
    exec("\n".join([*lines, f"    return param - {moves}, {', '.join(states)}"]), scope)
    return scope["piece"], dict(zip(hypers, (0.1, 0.2, 0.4), strict=True))


#: By three, since each kernel costs half a second: every name is a state of one and a hyperparameter of another.
THREES = [OWN[i : i + 3] for i in range(0, len(OWN), 3)]


@pytest.mark.parametrize("i", range(len(THREES)), ids=["-".join(names) for names in THREES])
def test_a_formula_may_use_any_name(i):
    """Its states and hyperparameters are never mixed up with the kernel's own variables."""

    def run(states, hypers, fused):
        piece, values = three_and_three(states, hypers)
        p = torch.nn.Parameter(torch.linspace(-1, 1, 20_000))
        optimizer = Optimizer([p], [piece], fused=fused, **values)
        for step in range(3):
            p.grad = torch.full_like(p, 0.1 * step + 0.1)
            optimizer.step()
        row = optimizer.watch.last["0"]
        kept = [optimizer.state[p][s][:1] for s in states]
        rows = torch.tensor([row.grad_norm, row.param_norm, row.update_norm, row.update_max])
        return torch.cat([p.detach(), *kept, rows])

    wanted = run(["s", "t", "u"], ["g", "h", "k"], False)
    for fused in (True, False):
        assert torch.allclose(run(THREES[i], THREES[i - 1], fused), wanted, rtol=1e-4, atol=1e-6)
