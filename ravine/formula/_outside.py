"""What is not in the language of formulas, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from ravine.errors import FormulaError, nearest
from ravine.formula._operations import FUNCTIONS

#: What a user calls; abs is Python's own, and ~ stands for logical_not.
WHOLE = ("sum", "mean", "dot", "norm", "global_norm", "rms", "amax", "numel", "resolution")
PUBLIC = ["abs", *(name for name in FUNCTIONS if name not in ("abs", "logical_not")), *WHOLE]
#: What users write of other libraries, and what is written here instead.
_WHOLE = f"a formula says what happens to every element alike, and has of a whole tensor {', '.join(WHOLE)}"
#: What a formula does not say, and a function of whole tensors does.
OF_TENSORS = "products and shapes of matrices belong in a function of tensors that is marked @tensor_function, and called in the piece"
INSTEAD = {
    **{name: f"write {name}({'a, b' if name == 'dot' else 'x'}) with {name} from ravine.formula" for name in WHOLE},
    **dict.fromkeys(("median", "prod", "size", "shape", "item"), _WHOLE),
    **dict.fromkeys(
        ("matmul", "mm", "bmm", "mT", "T", "t", "transpose", "reshape", "view", "flatten", "unsqueeze", "squeeze"),
        OF_TENSORS,
    ),
    **dict.fromkeys(
        (
            "float",
            "double",
            "half",
            "to",
            "type",
            "astype",
            "detach",
            "clone",
            "copy",
            "data",
            "contiguous",
            "cpu",
            "cuda",
        ),
        "leave it out: a formula is computed in the precision of the parameter, on its device, and without autograd",
    ),
    "grad": "take the gradient as an argument, update or grad",
    "var": "write mean((x - mean(x))**2)",
    "std": "write sqrt(mean((x - mean(x))**2))",
    **dict.fromkeys(("fmod", "remainder"), "write a % b"),
    **dict.fromkeys(("clamp", "clip"), "write minimum(maximum(x, low), high)"),
    "clamp_min": "write maximum(x, low)",
    "clamp_max": "write minimum(x, high)",
    "hardtanh": "write minimum(maximum(x, -1), 1)",
    "max": "write maximum(a, b), element by element, or amax(x), the largest magnitude of the tensor",
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
    instead = INSTEAD.get(base)
    if instead is None and base in PUBLIC:
        instead = "write Python's own abs(x)" if base == "abs" else f"write {base} with {base} from ravine.formula"
    if name != base:
        hint = f": {instead}" if instead else ""
        instead = f"a piece changes nothing in place; it returns the new values{hint}"
    if instead is None:
        instead = f"use abs or a function of ravine.formula. {nearest(name, PUBLIC)}"
    raise FormulaError(f"{what} is not in the language of formulas; {instead}")
