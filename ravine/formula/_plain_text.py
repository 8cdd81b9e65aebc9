"""Prints a formula as mathematics in lines of text: ``square_avgₜ = α · square_avgₜ₋₁ + (1 − α) · g²``."""

from __future__ import annotations

from collections.abc import Sequence

from ravine.formula._notation import ATOM, Assigned, Notation, Rendered, ShownName
from ravine.formula._symbols import Symbol

_TIMES = {"": "", "before": "ₜ₋₁", "after": "ₜ"}
_EXPONENTS = {2: "²", 3: "³"}


def formula_lines(program: Assigned) -> list[str]:
    """The formula of a program, one assignment a line."""
    return [f"{left} = {right}" for left, right in _Text().lines(program)]


class _Text(Notation):
    """Expressions as text."""

    def name(self, name: ShownName) -> str:
        return name.text + _TIMES[name.time]

    def constant(self, value: float) -> str:
        return f"{value:.15g}".replace("-", "−")

    def power(self, base: Symbol, exponent: Symbol | int) -> str:
        return self.atom(base) + (_EXPONENTS[exponent] if isinstance(exponent, int) else f"^{self.atom(exponent)}")

    def negative(self, of: Symbol) -> str:
        return "−" + self.atom(of)

    def sign(self, symbol: Symbol, sign: str) -> str:
        return f" {sign} "

    def concatenated(self, left: str, sign: str, right: str) -> str:
        return left + sign + right

    def root(self, of: Symbol) -> str:
        return "√" + self.atom(of)

    def norm(self, of: str, over: str, order: str = "") -> str:
        return (f"‖{of} of {over}‖" if over else f"‖{of}‖") + order

    def total(self, of: str, over: str, what: str = "sum") -> str:
        return f"{what}({of} of {over})" if over else f"{what}({of})"

    def absolute(self, of: str) -> str:
        return f"|{of}|"

    def cases(self, symbol: Symbol) -> Rendered:
        return self.call("where", [self.rendered(a)[0] for a in symbol.args]), ATOM

    def call(self, function: str, arguments: Sequence[str]) -> str:
        return f"{function}({', '.join(arguments)})"

    def parenthesized(self, text: str) -> str:
        return f"({text})"
