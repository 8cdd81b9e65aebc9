"""The printed JavaScript, run in node: the table of operations, every named optimizer over many steps, every option."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from javascript_steps import Case, Stepped, numpy, stepped, values_of

from ravine.errors import FormulaError
from ravine.formula import (
    amax,
    dot,
    exp,
    global_norm,
    mean,
    norm,
    numel,
    reduced,
    resolution,
    rms,
    scalar,
    tensor_function,
    trace_formula,
    where,
)
from ravine.formula import sum as sum_of
from ravine.formula._javascript import formula_javascript, why_no_javascript
from ravine.formula._operations import NORMS, OPERATIONS
from ravine.formula._symbols import apply
from ravine.optim import Optimizer
from ravine.optim import _registry as registry

STEPS = 150
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("adam", {"state_dtype": "8bit"}),  # a point has few elements, whose states stay wide
    ("adam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "amsgrad": True}),
    ("adam", {"clip_norm": 0.5}),
    ("adam", {"ema_decay": 0.9}),
    ("adam", {"cautious": True, "lookahead": (5, 0.5)}),
    ("adam", {"maximize": True}),
    ("adam", {"nonfinite": "skip"}),
    ("sgd", {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01, "maximize": True}),
    ("rmsprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.3}),
    ("prodigy", {"clip_norm": 1.0}),
]


def same(result: Any, wanted: Any) -> np.ndarray:
    """Equal to 1e-12, NaN to NaN, and zero to the zero of its sign."""
    result, wanted = np.asarray(result, dtype=float), np.asarray(wanted, dtype=float)
    near = np.isclose(result, wanted, rtol=1e-12, atol=0, equal_nan=True)
    return near & ((result != 0) | (np.signbit(result) == np.signbit(wanted)))


def case_of(name: str, options: dict[str, Any]) -> tuple[Case, Optimizer, torch.nn.Parameter]:
    named = registry.lookup(name)
    p = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    optimizer = named.cls([p], fused=False, watch=False, **{"lr": 0.01, **named.options, **options})
    program = optimizer._programs(optimizer.param_groups[0])
    (traced,) = program.values()
    random = np.random.default_rng(7)
    grads = [random.standard_normal(2) * 10.0 ** random.integers(-4, 3) for _ in range(STEPS)]
    if options.get("nonfinite") == "skip":
        grads[5] = np.array([math.nan, 1.0])
    return (
        Case(traced, numpy(p), values_of({**optimizer._neutral, **optimizer.param_groups[0]}, traced), grads),
        optimizer,
        p,
    )


def check(case: Case, optimizer: Optimizer, p: torch.nn.Parameter, steps: list[Stepped], what: str) -> None:
    """Every step leaves what torch's operations leave: parameter, states, kept numbers."""
    for number, (grad, made) in enumerate(zip(case.grads, steps, strict=True), 1):
        p.grad = torch.from_numpy(grad)
        optimizer.step()
        state = optimizer.state[p]
        names = [name for name in case.program.kept if name != "rounding.key"]  # a page rounds nothing
        kept = {name: float(state.get(name, optimizer.param_groups[0].get(name))) for name in names}
        left = {"param": (made.param, numpy(p))}
        left |= {name: (made.states[name], numpy(state[name])) for name in case.program.states}
        left |= {name: (np.array(made.kept[name]), np.array(kept[name])) for name in kept}
        for part, (ours, torchs) in left.items():
            # by the length of the vector: where two numbers cancel, their rounding is all that is left
            near = np.abs(ours - torchs) <= 1e-12 * np.abs(torchs).max()
            assert near.all(), f"{what}, step {number}: {part} is {ours}, not {torchs}"


def test_every_named_optimizer_and_every_option_over_many_steps() -> None:
    cases = []
    for name, options in [*((name, {}) for name in registry.names()), *OPTIONS]:
        case, optimizer, p = case_of(name, options)
        cases.append((case, optimizer, p, f"{name} {options}"))
    assert len(cases) > 60
    for (case, optimizer, p, what), steps in zip(cases, stepped([c[0] for c in cases]), strict=True):
        if "skip" in what:  # its count of steps does not include the one that is left out
            assert [one.done for one in steps].index(False) == 5
            assert (steps[5].param == steps[4].param).all()
            steps, case.grads = steps[:5], case.grads[:5]
        check(case, optimizer, p, steps, what)


def table_rows() -> list[tuple[str, tuple[float, ...]]]:
    return [(name, row) for name, op in OPERATIONS.items() for row in op.rows]


def test_operations_on_elements_have_the_value_of_the_table() -> None:
    cases = []
    for name, row in table_rows():
        given = row[:-1]
        piece = _fixed(name, len(given))
        program = trace_formula([piece], {})
        filled = [np.array([float(v)]) for v in (*given, 0.0, 0.0)[:3]]
        states = dict(zip(("s1", "s2"), filled[1:], strict=True))
        before = [filled[0], *(states[s] for s in program.states)]
        cases.append(Case(program, np.zeros(1), {}, [np.zeros(1)], [before]))
    for (name, row), (made,) in zip(table_rows(), stepped(cases), strict=True):
        assert same(made.param, [float(row[-1])]).all(), f"{name}{row[:-1]} is {made.param[0]}, not {row[-1]}"


def _fixed(name: str, count: int) -> Any:
    """A piece of one operation on the parameter and two states."""
    truths = {"and": count, "or": count, "logical_not": count, "where": 1}.get(name, 0)

    def piece(param: Any, s1: Any = 0.0, s2: Any = 0.0) -> Any:
        values = [v > 0.5 if i < truths else v for i, v in enumerate([param, s1, s2][:count])]
        made = apply(name, *values)
        return (where(made, 1.0, 0.0) if made.truth else made), s1 + 0, s2 + 0

    return piece


def test_operations_on_numbers_have_the_value_of_the_table() -> None:
    cases = []
    for name, row in table_rows():
        given = [float(v) for v in row[:-1]]
        program = trace_formula([_of_numbers(name, len(given))], dict.fromkeys("abc", 0.0))
        values = dict(zip("abc", [*given, 0.0, 0.0], strict=False))
        cases.append(Case(program, np.zeros(1), values, [np.zeros(1)]))
    for (name, row), (made,) in zip(table_rows(), stepped(cases), strict=True):
        assert same(made.param, [float(row[-1])]).all(), f"{name}{row[:-1]} is {made.param[0]}, not {row[-1]}"


def _of_numbers(name: str, count: int) -> Any:
    """A piece whose new parameter is one operation on hyperparameters."""
    truths = {"and": count, "or": count, "logical_not": count, "where": 1}.get(name, 0)

    def piece(param: Any, *, a: Any, b: Any, c: Any) -> Any:
        values = [v > 0.5 if i < truths else v for i, v in enumerate([a, b, c][:count])]
        made = apply(name, *values)
        return where(made, 1.0, 0.0) if made.truth else made

    return piece


def test_norms_of_special_elements() -> None:
    def lengths(param: Any, *, grad: Any) -> Any:
        return param * 0 + norm(grad)

    program = trace_formula([lengths], {})
    cases = [Case(program, np.zeros(len(row)), {}, [np.array(row)]) for row, _ in NORMS if row]
    for (row, wanted), (made,) in zip([n for n in NORMS if n[0]], stepped(cases), strict=True):
        assert same(made.param, np.full(len(row), wanted)).all()


def test_sums_of_every_kind_are_of_the_only_parameter() -> None:
    def sums(
        param: Any,
        a: Any = 0.0,
        b: Any = 0.0,
        c: Any = 0.0,
        d: Any = 0.0,
        e: Any = scalar(2.0),
        *,
        grad: Any,
    ) -> Any:
        highest = amax(param) + amax(grad, over="all") + amax(a + grad, over="group")
        return (
            param - 0.1 * grad / (global_norm(grad) + norm(param, over="group")),
            grad * 0 + sum_of(grad) + sum_of(param * grad, over="all"),
            mean(grad) + rms(param) - grad,
            dot(grad, param + 1) * numel(grad) + grad * numel(param, over="all"),
            highest * grad + 1e12 * resolution(param),
            e * 0.5 + norm(b + grad) / norm(grad - mean(param)),
        )

    p = torch.nn.Parameter(torch.tensor([0.3, -2.0, 1.5], dtype=torch.float64))
    optimizer = Optimizer([p], [sums], fused=False, watch=False)
    random = np.random.default_rng(5)
    case = Case(optimizer.program(), numpy(p), {}, list(random.standard_normal((20, 3))))
    (steps,) = stepped([case])
    check(case, optimizer, p, steps, "sums")


def test_a_name_that_is_a_word_of_javascript_or_of_the_printer() -> None:
    def odd(
        param: Any, let: Any = 1.0, sum0: Any = 2.0, i: Any = 3.0, *, grad: Any, delete: Any, kept: Any, α: Any
    ) -> Any:
        return param + delete * grad + α, let + kept, sum0 + norm(grad), i + 1

    program = trace_formula([odd], {"delete": 0.0, "kept": 0.0, "α": 0.0})
    hypers = {"delete": 2.0, "kept": 10.0, "α": 100.0}
    ((made,),) = stepped([Case(program, np.array([1.0]), hypers, [np.array([5.0])])])
    assert (made.param[0], made.states["let"][0], made.states["sum0"][0], made.states["i"][0]) == (
        111.0,
        11.0,
        7.0,
        4.0,
    )


def test_what_cannot_be_printed_says_why() -> None:
    @tensor_function
    def turned(x: Any) -> Any:
        return x

    def whole(param: Any, *, grad: Any) -> Any:
        return param - turned(grad)

    def factored(param: Any, row_avg: Any = reduced(0.0, dim=-1), *, grad: Any) -> Any:
        return param - grad, row_avg + sum_of(grad, dim=-1)

    def columns(param: Any, *, grad: Any) -> Any:
        return param - grad * sum_of(exp(grad), dim=-2)

    for piece, text in (
        (whole, "it calls turned"),
        (factored, "values of the rows of matrices"),
        (columns, "values of the columns of matrices"),
    ):
        program = trace_formula([piece], {})
        assert text in why_no_javascript(program)
        with pytest.raises(FormulaError, match=text):
            formula_javascript(program)
    muon = registry.lookup("muon").cls([torch.nn.Parameter(torch.zeros(2, 2))], lr=0.1)
    assert "it calls orthogonalize" in why_no_javascript(muon.program())
