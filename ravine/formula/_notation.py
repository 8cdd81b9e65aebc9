"""What every printer of a formula's mathematics shares: the order of its lines, the names, the forms of expressions.

A printer (``_plain_text.py``, ``_mathml.py``, ``_latex.py``) only says how a name, a fraction, a root and so on look. ``θ`` is
the parameter, ``g`` the gradient, ``u`` the update, ``t`` the number of the step. A state at ``t - 1`` is the one before
the step, at ``t`` the one after it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ravine._fallback_characters import visible
from ravine.formula._operations import ALONG, OPERATIONS, REDUCTIONS
from ravine.formula._symbols import Assignment, Symbol, postorder

_GREEK = {
    "param": "θ", "grad": "g", "update": "u", "step": "t", "alpha": "α", "rho": "ρ", "eps": "ε", "momentum": "μ",
    "weight_decay": "λ", "dampening": "τ", "beta1": "β₁", "beta2": "β₂", "beta": "β", "gamma": "γ", "betas": "β", "nus": "ν",
    "etas": "η",
}  # fmt: skip
#: What stands between the arguments of an operation.
_SIGNS = {
    "add": "+", "sub": "−", "mul": "·", "div": "/", "lt": "<", "le": "≤", "gt": ">", "ge": "≥", "eq": "=", "ne": "≠",
    "and": "∧", "or": "∨",
}  # fmt: skip
_CALLS = {"minimum": "min", "maximum": "max", "isfinite": "finite", "isnan": "nan", "logical_not": "¬"}
#: How tightly texts bind: cases, which have a brace only at the left; a product; a fraction with a bar; a power; an
#: atom, which is a name or whatever has ends of its own.
CASES, PRODUCT, FRACTION, POWER, ATOM = 0, 5, 6, 8, 9
#: Operations and names in an expression, above which a part of it gets a line of its own.
_LARGEST = 100
#: The words of sums and largest magnitudes of rows and columns.
_ALONG = {op: "sum" if op.endswith("sum") else "max" for op in ALONG}
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

#: A text, and how tightly it binds.
Rendered = tuple[str, int]


class Assigned(Protocol):
    """What is printed of a program: its formula, line by line."""

    @property
    def assignments(self) -> Sequence[Assignment]:
        """The lines, in the order of the pieces."""


#: The tensors that a sum runs over, in words.
_OVER = {"tensor": "", "group": "the group", "all": "all tensors"}


@dataclass(frozen=True)
class ShownName:
    """A name in a formula, as mathematics writes it, and the time of a state: before or after the step."""

    text: str
    time: Literal["", "before", "after"] = ""


def display_name(name: str) -> str:
    """A name of the formula as mathematics writes it, in one line: ``alpha`` is α, ``betas[0]`` is β₁."""
    base, bracket, index = name.partition("[")
    if bracket and index[:-1].isdecimal():
        return display_name(base) + str(int(index[:-1]) + 1).translate(_SUBSCRIPTS)
    return _GREEK.get(name) or visible(name)


class Notation(ABC):
    """Renders the lines of a formula; what already has a name is rendered as its name."""

    def __init__(self) -> None:
        self.names: dict[int, ShownName] = {}

    def lines(self, formula: Assigned) -> list[tuple[str, str]]:
        """The formula, one assignment a line: what stands left and right of the equals sign."""
        assignments = _ordered(formula.assignments)
        rows: list[tuple[str, str]] = []
        parts = 0
        for index, (name, value) in enumerate(assignments):
            last = all(n != name for n, _ in assignments[index + 1 :])
            target = ShownName(display_name(name), "after" if last and name not in ("update", "grad") else "")
            known = self.names.get(id(value))
            if known is not None and name in ("update", "grad"):
                continue  # only another name for what the line before computed
            for part in self._large_parts(value):
                parts += 1
                part_name = ShownName("x" + str(parts).translate(_SUBSCRIPTS))
                rows.append((self.name(part_name), self.rendered(part)[0]))
                self.names[id(part)] = part_name
            rows.append((self.name(target), self.name(known) if known else self.rendered(value)[0]))
            self.names = {key: n for key, n in self.names.items() if n != target}
            self.names[id(value)] = target
        return rows

    def _large_parts(self, value: Symbol) -> Iterator[Symbol]:
        """Parts that get a line of their own before the value's, innermost first, because it would be too large."""
        sizes: dict[int, int] = {}
        for part in postorder([value], into=lambda s: self.name_of(s) is None):
            if self.name_of(part) is not None or not part.args:
                sizes[id(part)] = 1
                continue
            power = self._product_of_one(part)
            sizes[id(part)] = 1 + (sizes[id(power[0])] if power else sum(sizes[id(a)] for a in part.args))
            if sizes[id(part)] > _LARGEST and part is not value and part.op not in (*REDUCTIONS, "call"):
                yield part
                sizes[id(part)] = 1

    def rendered(self, symbol: Symbol) -> Rendered:
        """An expression."""
        if (name := self.name_of(symbol)) is not None:
            return self.name(name), ATOM
        if symbol.op == "constant":
            return self.constant(symbol.value), ATOM if symbol.value >= 0 else PRODUCT
        if (power := self._product_of_one(symbol)) is not None:
            return self.power(*power), POWER
        if symbol.op == "pow":
            return self.power(*symbol.args), POWER
        if self._negative(symbol):
            return self.negative(symbol.args[1]), PRODUCT
        if symbol.op in _SIGNS:
            return self.infix(symbol)
        return self.function(symbol)

    def name_of(self, symbol: Symbol) -> ShownName | None:
        """The name by which a symbol is known, if it has one."""
        if id(symbol) in self.names:
            return self.names[id(symbol)]
        if symbol.op == "number":
            return ShownName(display_name(symbol.name))
        if symbol.op == "numel":
            return ShownName({"numel": "n"}.get(symbol.name, symbol.name))
        if symbol.op in ("kept", "tensor"):
            return ShownName(display_name(symbol.name), "before")
        if symbol.op == "buffer":
            return ShownName(display_name(symbol.name), "" if symbol.name == "grad" else "before")
        return None

    def infix(self, symbol: Symbol) -> Rendered:
        """An operation between two expressions."""
        binding, sign = OPERATIONS[symbol.op].binding, _SIGNS[symbol.op]
        (left, left_binding), (right, right_binding) = map(self.rendered, symbol.args)
        second = symbol.args[1]
        breaks = symbol.op in ("sub", "div") or (symbol.op == "mul" and second.op == "div")
        closes = right_binding < binding or (right_binding == binding and breaks)
        closes = closes or (symbol.op in ("add", "sub", "mul", "div") and self._begins_with_minus(second))
        left = self.parenthesized(left) if left_binding < binding else left
        right = self.parenthesized(right) if closes else right
        return self.concatenated(left, self.sign(symbol, sign), right), binding

    def function(self, symbol: Symbol) -> Rendered:
        """A root, a norm, an absolute value, cases, or a name with arguments."""
        op, first = symbol.op, symbol.args[0]
        if op in REDUCTIONS and REDUCTIONS[op].kind == "amax":
            return self.norm(self.rendered(first)[0], _OVER[REDUCTIONS[op].over], "∞"), ATOM
        if op in REDUCTIONS:
            return self.total(self.rendered(first)[0], _OVER[REDUCTIONS[op].over]), ATOM
        of_squares = first.op in REDUCTIONS and REDUCTIONS[first.op].kind == "squares"
        if op == "sqrt" and of_squares and not self.name_of(first):
            return self.norm(self.rendered(first.args[0])[0], _OVER[REDUCTIONS[first.op].over]), ATOM
        if op in ALONG:
            return self.total(
                self.rendered(first)[0], "each row" if ALONG[op] == -1 else "each column", _ALONG[op]
            ), ATOM
        if op == "result":
            return self._given(symbol), ATOM
        if op == "sqrt":
            return self.root(first), ATOM
        if op == "abs":
            return self.absolute(self.rendered(first)[0]), ATOM
        if op == "where":
            return self.cases(symbol)
        return self.call(_CALLS.get(op, op), [self.rendered(a)[0] for a in symbol.args]), ATOM

    def _given(self, result: Symbol) -> str:
        """What a function of whole tensors gives."""
        call = result.args[0]
        options = [f"{name}={value!r}" for name, value in call.value.options]
        name = call.value.title + str(result.value + 1).translate(_SUBSCRIPTS) * (call.value.returns > 1)
        return self.call(name, [*(self.rendered(a)[0] for a in call.args), *map(self.option, options)])

    def option(self, text: str) -> str:
        """What a function is given beside tensors and numbers of the formula."""
        return text

    def atom(self, symbol: Symbol) -> str:
        """An expression that can stand under a root or an exponent: in parentheses, unless it is an atom."""
        text, binding = self.rendered(symbol)
        return text if binding == ATOM else self.parenthesized(text)

    def _product_of_one(self, symbol: Symbol) -> tuple[Symbol, Symbol | int] | None:
        """Base and exponent of x·x and x·x·x."""
        if symbol.op != "mul":
            return None
        left, right = symbol.args
        if left is right:
            return right, 2
        if left.op == "mul" and not self.name_of(left) and all(a is right for a in left.args):
            return right, 3
        return None

    def _negative(self, symbol: Symbol) -> bool:
        first = symbol.args[0] if symbol.op == "mul" else symbol
        return symbol.op == "mul" and first.op == "constant" and first.value == -1 and not self.name_of(symbol)

    def _begins_with_minus(self, symbol: Symbol) -> bool:
        if self.name_of(symbol):
            return False
        if self._negative(symbol) or (symbol.op == "constant" and symbol.value < 0):
            return True
        return symbol.op == "mul" and self._begins_with_minus(symbol.args[0])

    @abstractmethod
    def name(self, name: ShownName) -> str:
        """A name with its time."""

    @abstractmethod
    def constant(self, value: float) -> str:
        """A number that stands in the formula."""

    @abstractmethod
    def power(self, base: Symbol, exponent: Symbol | int) -> str:
        """A power."""

    @abstractmethod
    def negative(self, of: Symbol) -> str:
        """The negative of an expression."""

    @abstractmethod
    def sign(self, symbol: Symbol, sign: str) -> str:
        """What stands between the two arguments of an operation, which ``sign`` writes as text."""

    @abstractmethod
    def concatenated(self, left: str, sign: str, right: str) -> str:
        """Two expressions with the sign between them."""

    @abstractmethod
    def root(self, of: Symbol) -> str:
        """A square root."""

    @abstractmethod
    def norm(self, of: str, over: str, order: str = "") -> str:
        """A norm over one tensor, or over those that ``over`` names; Euclidean, or of an order."""

    @abstractmethod
    def total(self, of: str, over: str, what: str = "sum") -> str:
        """A sum over one tensor, or over what ``over`` names; or the largest magnitude there."""

    @abstractmethod
    def absolute(self, of: str) -> str:
        """An absolute value."""

    @abstractmethod
    def cases(self, symbol: Symbol) -> Rendered:
        """A ``where``: its condition, and the values if it holds and if not."""

    @abstractmethod
    def call(self, function: str, arguments: Sequence[str]) -> str:
        """A function of arguments."""

    @abstractmethod
    def parenthesized(self, text: str) -> str:
        """An expression in parentheses."""


def _ordered(assignments: Sequence[Assignment]) -> list[tuple[str, Symbol]]:
    """The assignments, those of one piece in the order in which one uses the other; a state before what equals it."""
    result: list[tuple[str, Symbol]] = []
    rest = list(assignments)
    while rest:
        block = rest[: next((i for i, a in enumerate(rest) if a.piece != rest[0].piece), len(rest))]
        rest = rest[len(block) :]
        while block:
            ready = [a for a in block if not any(_below(b.value, a.value) for b in block if b is not a)] or block
            chosen = next((a for a in ready if a.name not in ("update", "param", "grad")), ready[0])
            block = [a for a in block if a is not chosen]
            result.append((chosen.name, chosen.value))
    return result


def _below(part: Symbol, whole: Symbol) -> bool:
    return part is not whole and part.op != "buffer" and any(s is part for s in postorder([whole]))
