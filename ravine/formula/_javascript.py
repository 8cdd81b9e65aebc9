"""Prints a program as a JavaScript function of typed arrays, for pages that run a formula in the browser.

The text is that of ``_python.py`` with JavaScript's declarations around it. What JavaScript computes otherwise than the
table of operations says (``Math.pow(1, NaN)``, ``Math.sign(-0)``) is mended in ``HELPERS``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ravine.errors import FormulaError
from ravine.formula._operations import ALONG
from ravine.formula._passes import Pass
from ravine.formula._pieces import Reduced
from ravine.formula._program import Program
from ravine.formula._python import Statements, code_name
from ravine.formula._rounding import as_stored
from ravine.formula._symbols import postorder

#: What printed functions call; it stands once before them.
HELPERS = """\
const { sqrt, abs, exp, log, tanh, floor } = Math, { isFinite: isfinite, isNaN: isnan } = Number;
const where = (condition, a, b) => (condition ? a : b), logical_not = (a) => !a, square = (x) => x * x;
const minimum = (a, b) => (a < b || a !== a ? a : b), maximum = (a, b) => (a > b || a !== a ? a : b);
const sign = (x) => (x > 0 ? 1 : x < 0 ? -1 : x === 0 ? 0 : x);
const mixed = (key) => key; // states are doubles here, and nothing is rounded
// in IEEE arithmetic 1 to any power is 1, and so is -1 to an infinite one
const pow = (a, b) => (a === 1 || (a === -1 && abs(b) === Infinity) ? 1 : Math.pow(a, b));
"""

_CALLS = {"pow"}
#: How a sum takes one element more.
_JOINED = {"squares": "{0} += square({1})", "sum": "{0} += {1}", "amax": "{0} = maximum({0}, abs({1}))"}
#: Of a vector of doubles. It has no rows and no columns.
_SIZES = {"numel": "params.length", "resolution": "2.220446049250313e-16", "rows": "NaN", "columns": "NaN"}


def why_no_javascript(program: Program) -> str:
    """Why a program cannot be printed; empty if it can."""
    called = dict.fromkeys(call.of.title for each in program.passes for call in each.calls)
    if called:
        kind = "a function of whole tensors, which" if len(called) == 1 else "functions of whole tensors, which"
        return f"it calls {', '.join(called)}, {kind} only torch can run"
    if program.along:
        used = {
            op.partition("_")[0]
            for each in program.passes
            for op in (s.op for s in postorder(each.results))
            if op in ALONG
        }
        used |= {"rows" if s.dim == -1 else "columns" for s in program.states.values() if isinstance(s, Reduced)}
        return f"it keeps or computes values of the {' and '.join(sorted(used, reverse=True))} of matrices, and a vector has none"
    return ""


def formula_javascript(program: Program) -> str:
    """One step of a program, as the text of a JavaScript function expression; ``HELPERS`` go before it.

    The function takes ``(params, grads, states, hypers, kept, step)``: the parameter, its gradient and, in the order of
    ``program.states``, each state as a ``Float64Array`` of one length; the values of ``program.hypers``; a
    ``Float64Array`` of the numbers in ``program.kept``; and the number of the step, from 1. It writes parameter, states and
    kept numbers, and returns true; false, with nothing written, where the program looks for NaN and infinity in the
    gradient and finds one. That parameter is all that the optimizer steps.

    Raises:
        FormulaError: the formula calls functions of whole tensors, or has values of rows or columns.
    """
    if reason := why_no_javascript(program):
        raise FormulaError(f"the formula cannot run in JavaScript: {reason}")
    lines = ["function (params, grads, states, hypers, kept, step) {"]
    for index, each in enumerate(program.passes):
        if each.reductions:
            lines.append(f"  let {', '.join(f'{r.name} = 0' for r in each.reductions)};")
        stages = [*_number_stage(program, index), *_element_stage(program, each)]
        lines += ["  {", *(f"    {line}" for line in stages), "  }"]  # numbers of two passes may have one name
        lines += [f"  if ({r.name} > 0) return false;" for r in each.reductions if r.guard]
    return "\n".join([*lines, "  return true;", "}"])


def _number_stage(program: Program, index: int) -> list[str]:
    """The numbers of a pass: its names for them, made by a function of what is known of the step."""
    last = program.passes[index] is program.passes[-1]
    head, *body = program.number_source(index, _CALLS, _constant, kept=last).splitlines()
    kept = [f"kept{i}" for i in range(len(program.kept) if last else 0)]
    # what is the argument of the function already is left out: `const [lr_, , n2]`
    names = [*("" if n == "step" else n for n in program.passes[index].number_names), *kept]
    if not names:
        return []
    *declared, results = (line.strip() for line in body)
    known = ["step", "...hypers", "...kept", *(_SIZES.get(r.name, r.name) for r in program.known(index))]
    return [
        f"const numbers = {head.removeprefix('def numbers').removesuffix(':')} => {{",
        *_declared(declared),
        f"  return [{results.removeprefix('return (').removesuffix(')').removesuffix(', ')}];",
        "};",
        f"const [{', '.join(names)}] = numbers({', '.join(known)});",
        *([f"kept.set([{', '.join(kept)}]);"] if kept else []),
    ]


def _element_stage(program: Program, each: Pass) -> list[str]:
    """The loop of a pass over the elements."""
    results = as_stored(each.results, each.writes, lambda name: True)
    body = Statements(results, each.leaves(), constant=_constant, calls=_CALLS)
    arrays = {"param": "params", "grad": "grads", **{name: f"states[{i}]" for i, name in enumerate(program.states)}}
    if not each.results:
        return []
    made, written = body.results[: len(each.reductions)], body.results[len(each.reductions) :]
    return [
        "for (let i = 0; i < params.length; i++) {",
        *(f"  const {code_name(name)} = {arrays[name]}[i];" for name in each.reads),
        *_declared(body.lines),
        *(f"  {_JOINED[r.kind].format(r.name, text)};" for r, text in zip(each.reductions, made, strict=True)),
        *(f"  {arrays[name]}[i] = {text};" for name, text in zip(each.writes, written, strict=True)),
        "}",
    ]


def _declared(lines: Iterable[str]) -> list[str]:
    return [f"  const {line};" for line in lines]


def _constant(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}Infinity"
