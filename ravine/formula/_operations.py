"""The operations of the language, in one table: how each is written, and its value where arithmetic is special.

Symbols, printers and messages read this table. Functions, kernels and ``docs/formulas.md`` are tested against it: on
numbers, arrays and tensors, in torch's operations and in machine code, an operation has the value that stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, nan
from typing import Literal

#: Arguments, and behind them the value.
Row = tuple[float, ...]


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        arity: how many arguments it has.
        rows: its value where an argument is NaN, infinite, zero or negative and one could ask.
        sign: what stands between its two arguments in Python; empty for a function.
        binding: how tightly the sign binds.
        truth: whether it gives a truth value.
    """

    arity: int
    rows: tuple[Row, ...]
    sign: str = ""
    binding: int = 9
    truth: bool = False


OPERATIONS: Mapping[str, Operation] = {
    "add": Operation(2, ((inf, -inf, nan), (inf, 1.0, inf), (1.0, nan, nan)), "+", 4),
    "sub": Operation(2, ((inf, inf, nan), (1.0, inf, -inf), (nan, 1.0, nan)), "-", 4),
    "mul": Operation(2, ((0.0, inf, nan), (-2.0, inf, -inf), (0.0, nan, nan)), "*", 5),
    "div": Operation(
        2,
        (
            *((1.0, 0.0, inf), (-1.0, 0.0, -inf), (1.0, -0.0, -inf), (inf, 0.0, inf), (1.0, inf, 0.0)),
            *((0.0, 0.0, nan), (inf, inf, nan), (nan, 0.0, nan)),
        ),
        "/",
        5,
    ),
    "pow": Operation(
        2,
        (
            *((-2.0, 3.0, -8.0), (10.0, 400.0, inf), (-1000.0, 255.0, -inf)),
            *((0.0, -1.0, inf), (-0.0, -1.0, -inf), (inf, -1.0, 0.0), (-8.0, 1.5, nan), (nan, 2.0, nan)),
            *((0.0, 0.0, 1.0), (nan, 0.0, 1.0), (1.0, nan, 1.0)),
        ),
        "**",
        6,
    ),
    "lt": Operation(2, ((nan, 1.0, False), (1.0, inf, True), (-0.0, 0.0, False)), "<", 3, True),
    "le": Operation(2, ((nan, nan, False), (inf, inf, True)), "<=", 3, True),
    "gt": Operation(2, ((1.0, nan, False), (1.0, -inf, True)), ">", 3, True),
    "ge": Operation(2, ((nan, nan, False), (-0.0, 0.0, True)), ">=", 3, True),
    "eq": Operation(2, ((nan, nan, False), (inf, inf, True), (0.0, -0.0, True)), "==", 3, True),
    "ne": Operation(2, ((nan, nan, True), (0.0, -0.0, False)), "!=", 3, True),
    "and": Operation(2, ((True, True, True), (True, False, False)), "&", 2, True),
    "or": Operation(2, ((False, True, True), (False, False, False)), "|", 1, True),
    "logical_not": Operation(1, ((True, False), (False, True)), truth=True),
    "sqrt": Operation(1, ((-1.0, nan), (0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, nan), (nan, nan))),
    "abs": Operation(1, ((-2.0, 2.0), (-0.0, 0.0), (-inf, inf), (nan, nan))),
    "sign": Operation(1, ((-2.0, -1.0), (0.0, 0.0), (-0.0, 0.0), (inf, 1.0), (-inf, -1.0), (nan, nan))),
    "exp": Operation(1, ((0.0, 1.0), (1000.0, inf), (-1000.0, 0.0), (inf, inf), (-inf, 0.0), (nan, nan))),
    "log": Operation(1, ((0.0, -inf), (-0.0, -inf), (-1.0, nan), (inf, inf), (-inf, nan), (nan, nan))),
    "tanh": Operation(1, ((0.0, 0.0), (inf, 1.0), (-inf, -1.0), (nan, nan))),
    "floor": Operation(1, ((1.5, 1.0), (-1.5, -2.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (nan, nan))),
    "isfinite": Operation(1, ((1.0, True), (inf, False), (-inf, False), (nan, False)), truth=True),
    "isnan": Operation(1, ((1.0, False), (inf, False), (nan, True)), truth=True),
    "minimum": Operation(2, ((inf, 1.0, 1.0), (-inf, 1.0, -inf), (nan, 1.0, nan), (1.0, nan, nan))),
    "maximum": Operation(2, ((inf, 1.0, inf), (-inf, 1.0, 1.0), (nan, 1.0, nan), (1.0, nan, nan))),
    "where": Operation(3, ((True, 1.0, nan, 1.0), (False, nan, 1.0, 1.0), (True, nan, 1.0, nan))),
}

#: Norms of tensors with these elements.
NORMS: tuple[tuple[Row, float], ...] = (
    ((), 0.0),
    ((0.0, -0.0), 0.0),
    ((1.0, -inf), inf),
    ((nan, inf), nan),
    ((3e-30, -4e-30), 5e-30),
    ((3e30, -4e30), 5e30),
)

#: Operations that are written between their two arguments, with the sign; those that are functions, with their arity.
INFIX = {name: operation.sign for name, operation in OPERATIONS.items() if operation.sign}
FUNCTIONS = {name: operation.arity for name, operation in OPERATIONS.items() if not operation.sign}


#: What a whole-tensor number is of the elements: their sum, that of their squares, or the largest magnitude.
Kind = Literal["sum", "squares", "amax"]


@dataclass(frozen=True)
class WholeNumber:
    """A number made of the elements of a tensor, of its group's tensors, or of all that the optimizer steps.

    Attributes:
        over: what it runs over.
        kind: what it is of them.
    """

    over: Literal["tensor", "group", "all"]
    kind: Kind


#: The sums and largest magnitudes of the rows (``dim=-1``) or columns (``dim=-2``) of a tensor: values that stand for all
#: elements of a row or column.
ALONG: Mapping[str, int] = {"rows_sum": -1, "rows_amax": -1, "columns_sum": -2, "columns_amax": -2}
#: Along which dimensions a value differs, as bits that are joined by ``|``: from matrix to matrix (of the dimensions before the
#: last two), from row to row, from column to column. 0 is a number.
OF_MATRIX, OF_ROW, OF_COLUMN = 1, 2, 4
ROWS, COLUMNS, FULL = OF_MATRIX | OF_ROW, OF_MATRIX | OF_COLUMN, OF_MATRIX | OF_ROW | OF_COLUMN

_OVER: tuple[tuple[Literal["tensor", "group", "all"], str], ...] = (
    ("tensor", ""),
    ("group", "group_"),
    ("all", "global_"),
)
_KINDS: tuple[tuple[Kind, str], ...] = (("squares", "sum_of_squares"), ("sum", "sum"), ("amax", "amax"))
#: Whole-tensor numbers: each level of them costs a pass over memory before the pass that writes.
REDUCTIONS: Mapping[str, WholeNumber] = {
    f"{prefix}{name}": WholeNumber(over, kind) for kind, name in _KINDS for over, prefix in _OVER
}

#: To what values are rounded (``_rounding.py``): numbers of 16 bits, those that codes of 8 bits hold
#: (``backends/_eight_bits.py``), and those of 24 bits; how many bits of a float32 that leaves out, of squares those of the root.
ROUNDED_BITS: Mapping[str, int] = {"bfloat16": 16, "float16": 13, "signed": 20, "squares": 19, "float24": 8}
#: The operations that do it: by chance, with the lower or upper half of an element's random bits, or to the nearest.
ROUNDINGS = (
    *(f"{kind}_at_random{lane}" for kind in ROUNDED_BITS for lane in (0, 1)),
    *("signed_to_nearest", "squares_to_nearest", "float24_to_nearest"),
)
