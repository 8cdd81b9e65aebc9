"""Formulas: pieces, and the program that they are traced into.

Knows nothing of optimizers, devices or files. ``_pieces.py`` says what a piece is, ``_program.py`` what it becomes, and
``_operations.py`` what an operation's value is where arithmetic is special.

    from ravine.formula import sqrt

    def rms(update, square_avg=0.0, *, alpha, eps):
        square_avg = alpha * square_avg + (1 - alpha) * update**2
        return update / (sqrt(square_avg) + eps), square_avg
"""

from typing import Any

from ravine.formula._functions import (
    amax,
    dot,
    exp,
    floor,
    global_norm,
    isfinite,
    isnan,
    log,
    logical_not,
    maximum,
    mean,
    minimum,
    norm,
    numel,
    resolution,
    rms,
    sign,
    sqrt,
    tanh,
    where,
)
from ravine.formula._functions import (
    sum as sum,
)
from ravine.formula._outside import no_attribute
from ravine.formula._pieces import ParamCopy, Piece, param_copy, reduced, rename, scalar, squares, start, tensor_state
from ravine.formula._program import Program
from ravine.formula._stats_and_steppers import stats_and_steppers
from ravine.formula._tensor_functions import tensor_function
from ravine.formula._tracing import trace_formula

# Without sum: a star import leaves Python its own.
__all__ = [
    "ParamCopy",
    "Piece",
    "Program",
    "amax",
    "dot",
    "exp",
    "floor",
    "global_norm",
    "isfinite",
    "isnan",
    "log",
    "logical_not",
    "maximum",
    "mean",
    "minimum",
    "norm",
    "numel",
    "param_copy",
    "reduced",
    "rename",
    "resolution",
    "rms",
    "scalar",
    "sign",
    "sqrt",
    "squares",
    "start",
    "stats_and_steppers",
    "tanh",
    "tensor_function",
    "tensor_state",
    "trace_formula",
    "where",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    raise no_attribute(__name__, name, __all__)
