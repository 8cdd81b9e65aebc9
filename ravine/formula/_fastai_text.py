"""What to write for a stat or a stepper of fastai's kind, as the text of a piece, and which of its lines cannot be read."""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

from ravine.errors import FormulaError, an, shown
from ravine.formula._outside import PUBLIC, WHOLE
from ravine.formula._python import Statements
from ravine.formula._symbols import Symbol

_TENSORS = ("data", "grad")  # what such functions read of their parameter


def arguments_of(function: Callable[..., Any], what: str = "a piece") -> list[inspect.Parameter]:
    """The arguments of a function that is to be ``what``.

    Raises:
        FormulaError: it is no function, or one of Python's own without a signature.
    """
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise FormulaError(f"{what} is a Python function with a readable signature; got {shown(function)}") from None


def named_arguments(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The arguments after the first, without ``**kwargs``."""
    return [p for p in arguments_of(function)[1:] if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def code_of(function: Callable[..., Any]) -> CodeType | None:
    """The code of a function, also of a ``functools.partial`` or of an object that can be called."""
    function = getattr(function, "func", function)
    function = function if hasattr(function, "__code__") else type(function).__call__
    return getattr(function, "__code__", None)


def is_of_fastai(function: Callable[..., Any]) -> bool:
    """Whether it looks like a stat or a stepper: ``def step(p, lr, **kwargs)``."""
    parameters = arguments_of(getattr(function, "func", function))
    if not parameters or any(p.kind is p.KEYWORD_ONLY for p in parameters):
        return False
    code = code_of(function)
    if code is not None and any(name in code.co_names for name in _TENSORS):
        return True
    return len(parameters) > 1 and parameters[0].name == "p" and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD


def title_of(function: Callable[..., Any]) -> str:
    """Its name; of a ``functools.partial`` that of what it calls, of an object that of its class."""
    function = getattr(function, "func", function)
    return getattr(function, "__name__", "") or type(function).__name__


def call_of(function: Callable[..., Any]) -> str:
    """How a reader names it in a call: of a ``functools.partial`` with what that gives."""
    given = [
        *map(repr, getattr(function, "args", ())),
        *(f"{n}={v!r}" for n, v in getattr(function, "keywords", {}).items()),
    ]
    return f"partial({', '.join([title_of(function), *given])})" if given else title_of(function)


def defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The defaults of its arguments: of a ``functools.partial`` first those, then those of ``function.defaults``."""
    arguments = named_arguments(function)
    signature = {a.name: a.default for a in arguments if a.default is not inspect.Parameter.empty}
    inner = getattr(function, "func", function)
    return {**signature, **getattr(inner, "defaults", {}), **getattr(function, "keywords", {})}


def line_of(error: BaseException, function: Callable[..., Any]) -> str:
    """Which line of the function's file raised an error, as it stands there; empty where that cannot be said."""
    code, line = code_of(function), 0
    trace = error.__traceback__
    while code is not None and trace is not None:
        if trace.tb_frame.f_code.co_filename == code.co_filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    if code is None or not line:
        return ""
    text = linecache.getline(code.co_filename, line).strip()
    return f" in line {line} of {Path(code.co_filename).name}{f', {text},' if text else ''}"


def written_out(function: Callable[..., Any], kept: Collection[str] = ()) -> str:
    """The piece to write for it, as far as its arguments say; ``kept`` are the states of earlier ones."""
    arguments, defaults = named_arguments(function), defaults_of(function)
    known = {name for name, default in defaults.items() if isinstance(default, int | float) and name != "step"}
    states = [a.name for a in arguments if a.name in defaults and defaults[a.name] is None and a.name not in kept]
    reads = [a.name for a in arguments if a.name not in states]
    after = ["grad", *(f"{name}={defaults[name]!r}" if name in known else name for name in reads)]
    if states:
        changes, result = ", ".join(f"{state}=0.0" for state in states), f"...  # the new {', '.join(states)}"
    else:
        changes, result = "param", "param - ...  # the new param"
    return f"def {title_of(function)}({changes}, *, {', '.join(after)}):\n    return {result}"


def imported_by(pieces: str) -> str:
    """The line that imports what pieces name, and an empty line; nothing if they name nothing."""
    called = set(re.findall(r"\b([a-z]\w*)\(", pieces)) & {*PUBLIC}
    called |= {"param_copy"} if "=param_copy" in pieces else set()
    names = sorted(called - {"abs", *re.findall(r"^def (\w+)", pieces, re.MULTILINE)})
    return f"from ravine.formula import {', '.join(names)}\n\n" if names else ""


class PieceText(Statements):
    """Statements as a user writes them, with the functions of ``ravine.formula``.

    Args:
        roots: the symbols.
        leaves: the names of what is known.
    """

    def __init__(self, roots: Sequence[Symbol], leaves: Mapping[Symbol, str]) -> None:
        self._tensor = next((name for symbol, name in leaves.items() if symbol.element), "param")
        super().__init__(roots, leaves)
        self.lines, self.results = (
            [_plain_difference(t) for t in self.lines],
            [_plain_difference(t) for t in self.results],
        )

    def _print(self, symbol: Symbol) -> tuple[str, int]:
        op, args = symbol.op, symbol.args
        if op == "numel":
            along = {"columns": ", dim=-1", "rows": ", dim=-2"}.get(symbol.name, "")
            return f"numel({self._tensor}{along})", 9
        if op == "logical_not":
            return f"~({self._texts[id(args[0])][0]})", 9
        if op == "sum_of_squares":
            inner = self._texts[id(args[0])][0]
            return f"dot({inner}, {inner})", 9
        if op == "sqrt" and args[0].op == "sum_of_squares" and self._texts[id(args[0])][0].startswith("dot("):
            return f"norm({self._texts[id(args[0].args[0])][0]})", 9
        lines, _, name = op.partition("_")
        if lines in ("rows", "columns") and name in WHOLE:
            return f"{name}({self._texts[id(args[0])][0]}, dim={-1 if lines == 'rows' else -2})", 9
        return super()._print(symbol)


def _plain_difference(text: str) -> str:
    return text.replace(" + -1.0 * ", " - ")


def refuse_state(name: str, value: object) -> None:
    """Raise FormulaError for what a stat keeps and no formula can."""
    if value is None or isinstance(value, list | tuple | dict | str):
        raise FormulaError(
            f"it keeps {name!r}, {an(type(value).__name__)}; a state of a formula is one tensor or one number"
        )
