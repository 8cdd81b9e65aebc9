"""Prints a formula as LaTeX: the lines of ``_plain_text.py`` as notebooks and papers set them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ravine.formula._notation import CASES, FRACTION, Assigned, Notation, Rendered, ShownName
from ravine.formula._symbols import Symbol

_LETTERS = {
    "θ": r"\theta", "α": r"\alpha", "ρ": r"\rho", "ε": r"\epsilon", "μ": r"\mu", "λ": r"\lambda", "τ": r"\tau",
    "β": r"\beta", "γ": r"\gamma", "ν": r"\nu", "η": r"\eta", "g": "g", "u": "u", "t": "t", "x": "x",
}  # fmt: skip
_SIGNS = {
    "·": r" \cdot ", "−": " - ", "≤": r" \leq ", "≥": r" \geq ", "≠": r" \neq ", "∧": r" \wedge ", "∨": r" \vee ",
}  # fmt: skip
_TIMES = {"before": "t-1", "after": "t"}
_FUNCTIONS = {
    "min": r"\min", "max": r"\max", "exp": r"\exp", "log": r"\log", "tanh": r"\tanh", "¬": r"\neg ",
}  # fmt: skip
_SPECIAL = {"\\": r"\backslash ", **{c: "\\" + c for c in "{}$&#_%"}, "^": r"\^{}", "~": r"\~{}"}
_INDEX = re.compile("[₀-₉]+$")
_DIGITS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def formula_latex(program: Assigned) -> str:
    """The formula of a program as one ``aligned`` environment, for a display such as ``$$ ... $$``."""
    rows = r" \\ ".join(f"{left} &= {right}" for left, right in Latex().lines(program))
    return rf"\begin{{aligned}} {rows} \end{{aligned}}"


class Latex(Notation):
    """Expressions as LaTeX."""

    def name(self, name: ShownName) -> str:
        letter, below = _parts(name)
        return f"{letter}_{{{below}}}" if below else letter

    def constant(self, value: float) -> str:
        if abs(value) == float("inf"):
            return r"\infty" if value > 0 else r"-\infty"
        text, _, exponent = f"{value:.15g}".partition("e")
        if not exponent:
            return text if value == value else r"\mathrm{nan}"
        power = f"10^{{{int(exponent)}}}"
        return {"1": power, "-1": f"-{power}"}.get(text, rf"{text} \times {power}")

    def power(self, base: Symbol, exponent: Symbol | int) -> str:
        above = str(exponent) if isinstance(exponent, int) else self.rendered(exponent)[0]
        return f"{self.atom(base)}^{{{above}}}"

    def negative(self, of: Symbol) -> str:
        text, binding = self.rendered(of)
        return "-" + (text if binding >= FRACTION else self.parenthesized(text))

    def infix(self, symbol: Symbol) -> Rendered:
        if symbol.op != "div":
            return super().infix(symbol)
        above, below = (self.rendered(a)[0] for a in symbol.args)
        return rf"\frac{{{above}}}{{{below}}}", FRACTION

    def sign(self, symbol: Symbol, sign: str) -> str:
        return _SIGNS.get(sign, f" {sign} ")

    def concatenated(self, left: str, sign: str, right: str) -> str:
        return left + sign + right

    def root(self, of: Symbol) -> str:
        return rf"\sqrt{{{self.rendered(of)[0]}}}"

    def norm(self, of: str, over: str, order: str = "") -> str:
        return rf"\left\| {of} \right\|" + _below(over, order.replace("∞", r"\infty"))

    def option(self, text: str) -> str:
        return rf"\mathrm{{{_escaped(text)}}}"

    def total(self, of: str, over: str, what: str = "sum") -> str:
        return rf"\mathrm{{{what}}}{_below(over)}{self.parenthesized(of)}"

    def absolute(self, of: str) -> str:
        return rf"\left| {of} \right|"

    def cases(self, symbol: Symbol) -> Rendered:
        condition, yes, no = (self.rendered(a)[0] for a in symbol.args)
        lines = rf"{yes} & \mathrm{{if}}\ {condition} \\ {no} & \mathrm{{otherwise}}"
        return rf"\begin{{cases}} {lines} \end{{cases}}", CASES

    def call(self, function: str, arguments: Sequence[str]) -> str:
        name = _FUNCTIONS.get(function) or rf"\mathrm{{{_escaped(function)}}}"
        return name + self.parenthesized(", ".join(arguments))

    def parenthesized(self, text: str) -> str:
        return rf"\left( {text} \right)"


def _parts(name: ShownName) -> tuple[str, str]:
    """The letter or word itself, and what stands below it: its number, its time."""
    index = _INDEX.search(name.text)
    word = _INDEX.sub("", name.text) or name.text
    letter = _LETTERS.get(word) or rf"\mathrm{{{_escaped(word)}}}"
    below = [index[0].translate(_DIGITS)] if index else []
    return letter, ",".join([*below, *([_TIMES[name.time]] if name.time else [])])


def _below(over: str, order: str = "") -> str:
    """The order of a norm, and the tensors that a norm or sum runs over."""
    words = over.replace(" ", r"\ ")
    below = ",".join([*[order] * bool(order), *[rf"\mathrm{{{words}}}"] * bool(over)])
    return f"_{{{below}}}" if below else ""


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(c, c) for c in text)
