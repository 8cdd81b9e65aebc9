"""What is not in the language of formulas, and what to write instead."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NoReturn

from ravine._lazy import missing
from ravine.errors import FormulaError, nearest
from ravine.formula._operations import FUNCTIONS

#: What a user calls; abs is Python's own, and ~ stands for logical_not.
WHOLE = ("sum", "mean", "dot", "norm", "global_norm", "rms", "amax", "numel", "resolution")
PUBLIC = ["abs", *(name for name in FUNCTIONS if name not in ("abs", "logical_not")), *WHOLE]
#: What users write of other libraries, and what is written here instead.
_WHOLE = f"a formula says what happens to every element alike, and has of a whole tensor {', '.join(WHOLE)}"
#: What a formula does not say, and a function of whole tensors does.
OF_TENSORS = "products and shapes of matrices belong in a function of tensors that is marked @tensor_function, and called in the piece"
_OPERATORS = {
    name: f"write {written}"
    for names, written in {
        "add": "a + b",
        "sub subtract": "a - b",
        "mul multiply": "a * b",
        "div divide true_divide": "a / b",
        "floor_divide": "a // b",
        "fmod remainder": "a % b",
        "neg negative": "-x",
        "addcmul": "a + value * b * c",
        "addcdiv": "a + value * b / c",
        "lerp": "a + weight * (b - a)",
        "gt greater": "a > b",
        "ge greater_equal": "a >= b",
        "lt less": "a < b",
        "le less_equal": "a <= b",
        "eq": "a == b",
        "ne not_equal": "a != b",
        "logical_and": "a & b, of truth values",
        "logical_or": "a | b, of truth values",
    }.items()
    for name in names.split()
}
INSTEAD = {
    **{name: f"write {name}({'a, b' if name == 'dot' else 'x'}) with {name} from ravine.formula" for name in WHOLE},
    **dict.fromkeys(("median", "prod", "size", "shape", "item", "ndim", "dim"), _WHOLE),
    **dict.fromkeys(
        (
            "matmul",
            "mm",
            "bmm",
            "mT",
            "T",
            "t",
            "transpose",
            "reshape",
            "view",
            "flatten",
            "unsqueeze",
            "squeeze",
            "svd",
            "qr",
            "inv",
            "einsum",
            "outer",
            "cumsum",
            "cat",
            "stack",
        ),
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
            "dtype",
            "device",
            "requires_grad",
        ),
        "leave it out: a formula is computed in the precision of the parameter, on its device, and without autograd",
    ),
    "grad": "take the gradient as an argument, update or grad",
    "var": "write mean((x - mean(x))**2)",
    "std": "write sqrt(mean((x - mean(x))**2))",
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
    "softplus": "write log(1 + exp(x))",
    "log1p": "write log(1 + x)",
    "expm1": "write exp(x) - 1",
    "exp2": "write 2**x",
    "sgn": "write sign(x)",
    "ceil": "write -floor(-x)",
    "trunc": "write sign(x) * floor(abs(x))",
    "round": "write floor(x + 0.5)",
    "normalize": "write x / norm(x)",
    "vector_norm": "write norm(x)",
    "nan_to_num": "write where(isfinite(x), x, 0.0)",
    "masked_fill": "write where(condition, value, x)",
    **_OPERATORS,
    **dict.fromkeys(
        ("zeros_like", "zeros", "zero", "new_zeros"),
        "write 0.0: a number stands for a tensor of it, as in where(condition, x, 0.0)",
    ),
    **dict.fromkeys(("ones_like", "ones", "new_ones"), "write 1.0: a number stands for a tensor of it"),
    **dict.fromkeys(("full_like", "full", "fill", "new_full"), "write the number: it stands for a tensor of it"),
    **dict.fromkeys(
        (
            "rand",
            "rand_like",
            "randn",
            "randn_like",
            "randint_like",
            "normal",
            "uniform",
            "bernoulli",
            "dropout",
            "multinomial",
        ),
        "a formula has no random numbers",
    ),
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
        hint = f": {instead}" if instead and instead.startswith("write") else f"; {instead}" if instead else ""
        instead = f"a piece changes nothing in place; it returns the new values{hint}"
    if instead is None and _is_elsewhere(what, base):
        instead = (
            f"its functions are {', '.join(PUBLIC)}, and what happens to a whole tensor may stand in a function of tensors "
            "that is marked @tensor_function"
        )
    elif instead is None:
        instead = f"use abs or a function of ravine.formula. {nearest(name, PUBLIC)}"
    raise FormulaError(f"{what} is not in the language of formulas; {instead}")


def no_attribute(package: str, name: str, listed: list[str]) -> AttributeError | ImportError:
    """The error for a function that a user looks for in the package ``ravine.formula``, which has the ``listed`` names."""
    instead = "write Python's own abs(x)" if name == "abs" else INSTEAD.get(name, "")
    if not instead and not name.startswith("_"):
        instead = f"its functions are {', '.join(PUBLIC)}" if hasattr(math, name) else nearest(name, listed)
    return missing(package, f"module {package!r} has no attribute {name!r}" + f"; {instead}" * bool(instead))


def _is_elsewhere(what: str, name: str) -> bool:
    """Whether another library has it: such a name is no typing mistake, and sin is not meant as sign."""
    if not what.startswith("."):
        return True
    import torch

    return hasattr(torch.Tensor, name)
