"""What is not in the language of formulas, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from ravine.errors import FormulaError, nearest
from ravine.formula._operations import FUNCTIONS

#: What a user calls; abs is Python's own, and ~ stands for logical_not.
PUBLIC = ["abs", *(name for name in FUNCTIONS if name not in ("abs", "logical_not")), "norm", "global_norm"]
#: What users write of other libraries, and what is written here instead.
_WHOLE = "a formula says what happens to every element alike, and has of a whole tensor norm(x) and global_norm(x) only"
_INSTEAD = {
    **dict.fromkeys(
        ("mean", "sum", "std", "var", "median", "prod", "dot", "matmul", "numel", "size", "shape", "item"), _WHOLE
    ),
    **dict.fromkeys(("clamp", "clip"), "write minimum(maximum(x, low), high)"),
    **dict.fromkeys(("max", "amax"), "write maximum(a, b), element by element"),
    **dict.fromkeys(("min", "amin"), "write minimum(a, b), element by element"),
    **dict.fromkeys(("square", "pow", "power"), "write x**2"),
    "rsqrt": "write 1 / sqrt(x)",
    "reciprocal": "write 1 / x",
    "sigmoid": "write 1 / (1 + exp(-x))",
    "relu": "write maximum(x, 0)",
}


def outside(what: str, instead: str = "") -> NoReturn:
    """Raise FormulaError for an operation of Python."""
    raise FormulaError(
        f"{what} is not in the language of formulas{instead}. It has + - * / ** (with a number), comparisons, "
        f"& | ~ on truth values, and {', '.join(PUBLIC)}"
    )


def refused(what: str, instead: str = "") -> Callable[..., NoReturn]:
    """A method of Python's data model that is not in the language."""

    def method(*_: object) -> NoReturn:
        outside(what, instead)

    return method


def foreign(what: str, name: str) -> NoReturn:
    """Raise FormulaError for a function of another library."""
    base = name.rstrip("_")
    instead = _INSTEAD.get(base)
    if name != base:
        instead = "a piece changes nothing in place; it returns the new values"
    if instead is None:
        instead = f"use abs or a function of ravine.formula. {nearest(name, PUBLIC)}"
    raise FormulaError(f"{what} is not in the language of formulas; {instead}")
