"""Formulas: pieces, and the program that they trace into.

Knows nothing of optimizers, devices or files. Read ``pieces.py`` for what a piece is, ``program.py`` for what it
becomes.

    from ravine.formula import sqrt

    def rms(update, square_avg=0.0, *, alpha, eps):
        square_avg = alpha * square_avg + (1 - alpha) * update**2
        return update / (sqrt(square_avg) + eps), square_avg
"""

from ravine.formula._functions import (
    abs,
    exp,
    global_norm,
    isfinite,
    isnan,
    log,
    logical_not,
    maximum,
    minimum,
    norm,
    sign,
    sqrt,
    tanh,
    where,
)
from ravine.formula._pieces import ParamCopy, Piece, param_copy, rename, start
from ravine.formula._program import GUARD, Program
from ravine.formula._tracing import trace

__all__ = [
    "GUARD",
    "ParamCopy",
    "Piece",
    "Program",
    "abs",
    "exp",
    "global_norm",
    "isfinite",
    "isnan",
    "log",
    "logical_not",
    "maximum",
    "minimum",
    "norm",
    "param_copy",
    "rename",
    "sign",
    "sqrt",
    "start",
    "tanh",
    "trace",
    "where",
]
