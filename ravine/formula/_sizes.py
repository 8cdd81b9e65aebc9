"""What a formula knows of a tensor by its shape and dtype, and what its rows and columns are made to."""

from __future__ import annotations

from ravine.errors import FormulaError
from ravine.formula._operations import ALONG, COLUMNS, FULL, OF_COLUMN, OF_MATRIX, OF_ROW, ROWS
from ravine.formula._symbols import Symbol, apply, lift


def numel_of(value: object) -> Symbol:
    """How many values a tensor has: numbers that are known of the parameter, whose shape decides it."""
    axes = lift(value).axes
    if not axes:
        raise FormulaError("numel takes a tensor (grad, param, update or a state); it got a number")
    count = Symbol("numel", name="numel")
    for axis, size in ((OF_ROW, "rows"), (OF_COLUMN, "columns")):
        count = count if axes & axis else apply("div", count, Symbol("numel", name=size))
    return count


def size_of(dim: int) -> Symbol:
    """How many elements a row (``dim=-1``) or a column has."""
    return Symbol("numel", name="columns" if dim == -1 else "rows")


def resolution_of(value: object) -> Symbol:
    """The distance from 1 to the next number of the parameter's dtype."""
    if not lift(value).element:
        raise FormulaError("resolution takes a tensor (grad, param, update or a state); it got a number")
    return Symbol("numel", name="resolution")


def along(op: str, value: object) -> Symbol:
    """The sum or largest magnitude of each row or column."""
    symbol = lift(value)
    what = "row" if ALONG[op] == -1 else "column"
    if not symbol.axes & (OF_COLUMN if ALONG[op] == -1 else OF_ROW):
        kind = (
            "a number" if not symbol.axes else f"one value for each {what}" if symbol.axes != OF_MATRIX else "one value"
        )
        raise FormulaError(f"dim={ALONG[op]} takes what has several values in a {what}; it got {kind} already")
    return apply(op, symbol)


#: What a value is for, by its axes.
SHAPES = {ROWS: "each row", COLUMNS: "each column", OF_MATRIX: "each matrix", FULL: "every element"}
