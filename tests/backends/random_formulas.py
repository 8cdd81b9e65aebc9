"""Random formulas as trees: as the text that a user would write, and evaluated in NumPy's doubles with their rounding.

A tree is a name, a constant, or a tuple of an operation's name and its arguments. Evaluating knows what a formula
means (numbers are doubles, elements have the tensors' precision, ``x / number`` is a product), and nothing of the
library's code.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import exact
import numpy as np
from exact import DOUBLE, Interval, Precision, Truth, operate

SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
         "eq": "==", "ne": "!=", "and": "&", "or": "|"}  # fmt: skip
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
NUMBERS = ("a", "b", "step")
CONSTANTS = (0.0, 1.0, -1.0, 0.5, 2.0, 7.0, -0.3, 1e-8)
#: What there is of rows and of columns: how it is written, and the axis along which it is taken.
ALONG = {
    f"{what}_{name}": (f"{name}({{}}, dim={axis})", axis)
    for what, axis in (("rows", -1), ("columns", -2))
    for name in ("sum", "mean", "norm", "amax")
}
Tree = Any


@dataclass
class Generator:
    """Grows trees from a seed; with ``rows`` they have values of rows and columns, and states ``r0``, ``c0``, ... are such."""

    seed: int
    states: Sequence[str]
    norms: int = 0
    rows: bool = False
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def element(self, depth: int) -> Tree:
        """A value for each element; the further down, the more of it are numbers."""
        tree = self._grow(depth, elements=True)
        return with_axes(tree, {-1, -2}) if self.rows and is_element(tree) else tree

    def along(self, depth: int, axis: int) -> Tree:
        """A value for each row (-1) or each column (-2)."""
        tree = self._grow(depth, elements=True)
        return self._along(tree, axis) if axis in axes(tree) else tree

    def _along(self, tree: Tree, axis: int) -> Tree:
        return (self.random.choice([op for op, (_, its) in ALONG.items() if its == axis]), with_axes(tree, {axis}))

    def _leaf(self, elements: bool) -> Tree:
        if elements and self.random.random() < 0.75:
            return self.random.choice(["param", "grad", "grad", *self.states])
        return self.random.choice([*NUMBERS, *CONSTANTS])

    def _grow(self, depth: int, elements: bool, norms: int | None = None) -> Tree:
        norms = self.norms if norms is None else norms
        if depth == 0 or self.random.random() < 0.1:
            return self._leaf(elements)
        if norms and self.random.random() < 0.15:
            norm, tree = self.random.choice(["norm", "global_norm"]), self._grow(depth - 1, True, norms - 1)
            if self.rows and self.random.random() < 0.5:
                return (norm, self._along(tree, self.random.choice([-1, -2])))
            return (norm, ("add", tree, "grad"))
        if self.rows and elements and self.random.random() < 0.2:
            return self._along(self._grow(depth - 1, True, norms), self.random.choice([-1, -2]))
        a, b = (self._grow(depth - 1, elements, norms) for _ in range(2))
        if is_constant(a):  # of constants alone, Python would compute before there is a formula
            a = self.random.choice(NUMBERS)
        kind = self.random.random()
        if kind < 0.45:
            return (self.random.choice(["add", "sub", "mul", "mul", "div"]), *self.random.sample([a, b], 2))
        if kind < 0.55:
            return ("pow", a, self.random.choice([2.0, 3.0, 0.5, -1.0, 1.5, "a", "b"]))
        if kind < 0.75:
            return (self.random.choice(["sqrt", "abs", "sign", "exp", "log", "tanh"]), a)
        if kind < 0.85:
            return (self.random.choice(["minimum", "maximum"]), a, b)
        return ("where", self._truth(depth - 1, elements, norms), a, b)

    def _truth(self, depth: int, elements: bool, norms: int) -> Tree:
        kind = self.random.random()
        if depth > 0 and kind < 0.2:
            truths = [self._truth(depth - 1, elements, norms) for _ in range(2)]
            return (self.random.choice(["and", "or"]), *truths) if kind < 0.15 else ("logical_not", truths[0])
        a, b = (self._grow(max(depth, 0), elements, norms) for _ in range(2))
        if is_constant(a):
            a = self.random.choice(NUMBERS)
        if kind < 0.4:
            return (self.random.choice(["isfinite", "isnan"]), a)
        return (self.random.choice(COMPARISONS), a, b)


def text(tree: Tree) -> str:
    """What a user would write, every operation in parentheses."""
    if not isinstance(tree, tuple):
        return tree if isinstance(tree, str) else repr(tree)
    op, *arguments = tree
    parts = [text(a) for a in arguments]
    if op in ALONG:
        return ALONG[op][0].format(*parts)
    if op in SIGNS:
        return f"({parts[0]} {SIGNS[op]} {parts[1]})"
    return f"(~{parts[0]})" if op == "logical_not" else f"{op}({', '.join(parts)})"


def axes(tree: Tree) -> set[int]:
    """The axes along which a value differs: -1 within a row, -2 within a column."""
    if isinstance(tree, tuple):
        if tree[0] in ("norm", "global_norm"):
            return set()
        return set().union(*map(axes, tree[1:])) - ({ALONG[tree[0]][1]} if tree[0] in ALONG else set())
    if not is_element(tree):
        return set()
    return {"r": {-2}, "c": {-1}}.get(tree[0] if tree[1:].isdigit() else "", {-1, -2})


def with_axes(tree: Tree, wanted: set[int]) -> Tree:
    """A tree that differs along these axes: itself, or with the gradient added to it."""
    return tree if wanted <= axes(tree) else ("add", tree, "grad")


def is_element(tree: Tree) -> bool:
    if isinstance(tree, tuple):
        return tree[0] not in ("norm", "global_norm") and any(map(is_element, tree[1:]))
    return isinstance(tree, str) and tree not in NUMBERS


def differs_less(tree: Tree, than: Tree) -> bool:
    """Whether a value is the same for several elements of another, and differs only where that does."""
    a, b = ((is_element(x), axes(x)) for x in (tree, than))
    return a != b and a[0] <= b[0] and a[1] <= b[1]


def is_constant(tree: Tree) -> bool:
    return all(map(is_constant, tree[1:])) if isinstance(tree, tuple) else not isinstance(tree, str)


@dataclass
class Tensor:
    """One tensor in a step: the values of the names of a formula, and the precision that it is computed in.

    ``others`` are the tensors that a global norm runs over.
    """

    elements: Mapping[str, np.ndarray]
    numbers: Mapping[str, float]
    precision: Precision
    others: list[Tensor]
    known: dict[Any, Interval | Truth] = field(default_factory=dict)

    def of(self, tree: Tree, as_element: bool = False) -> Interval | Truth:
        """The possible values of a tree; as an element, a number is rounded to the tensor's precision."""
        value = self.known.get(tree)
        if value is None:
            value = self.known[tree] = self._of(tree)
        if as_element and isinstance(value, Interval) and not is_element(tree):
            return exact.rounded(value, self.precision)
        return value

    def _of(self, tree: Tree) -> Interval | Truth:
        if not isinstance(tree, tuple):
            return exact.exact(self.elements.get(tree, self.numbers.get(tree, tree)))
        op, *arguments = tree
        if op in ("norm", "global_norm"):
            tensors = [self] if op == "norm" else self.others
            total: Any = exact.exact(0.0)
            for tensor in tensors:
                values: Any = tensor.of(arguments[0], as_element=True)
                total = operate("add", DOUBLE, total, exact.sum_of_squares(values, tensor.precision))
            return operate("sqrt", DOUBLE, total)
        if op in ALONG:
            return self._along(op, arguments[0])
        if op == "pow" and arguments[1] in (2.0, 3.0):
            power: Tree = arguments[0]
            for _ in range(int(arguments[1]) - 1):
                power = ("mul", power, arguments[0])
            return self.of(power)
        if op == "pow" and arguments[1] == 0.5:
            return self.of(("sqrt", arguments[0]))
        if op == "div" and differs_less(*reversed(arguments)):
            return self.of(("mul", arguments[0], ("div", 1.0, arguments[1])))
        as_element = is_element(tree)
        values = [self.of(a, as_element) for a in arguments]
        return operate(op, self.precision if as_element else DOUBLE, *values)

    def _along(self, op: str, tree: Tree) -> Interval | Truth:
        kind, axis = op.removeprefix("rows_").removeprefix("columns_"), ALONG[op][1]
        total = op.replace(kind, "sum")
        if kind == "norm":
            return self.of(("sqrt", (total, ("mul", tree, tree))))
        if kind == "mean":
            return self.of(("mul", (total, tree), 1.0 / self.elements["grad"].shape[axis]))
        values = self.of(tree, as_element=True)
        assert isinstance(values, Interval)
        return exact.sum_along(values, axis, self.precision) if kind == "sum" else exact.largest_along(values, axis)
