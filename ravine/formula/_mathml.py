"""Prints a formula as MathML: the lines of ``_plain_text.py`` as browsers and word processors set formulas.

Only elements of MathML Core are used, and no style but the font and the alignment of the lines.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from ravine.formula._notation import CASES, FRACTION, Assigned, Notation, Rendered, ShownName
from ravine.formula._plain_text import formula_lines
from ravine.formula._symbols import Symbol

_INDEX = re.compile("[₀-₉]+$")
_DIGITS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_TIMES = {"before": "<mrow><mi>t</mi><mo>−</mo><mn>1</mn></mrow>", "after": "<mi>t</mi>"}
# Chromium aligns formulas in cells only by its own words
_RIGHT, _LEFT = "text-align: right; text-align: -webkit-right", "text-align: left; text-align: -webkit-left"
#: Only a font with a table for mathematics has roots and brackets that grow and subscripts that lie below. Chromium's own word
#: for one is the first that is named here, and where that is not installed it takes a font without.
_FONTS = (
    "'Latin Modern Math', 'STIX Two Math', 'Cambria Math', 'TeX Gyre Termes Math', 'DejaVu Math TeX Gyre', 'Noto Sans Math', "
    "'XITS Math', 'Libertinus Math', 'Asana Math', math, serif"
)
_SAYS = {"finite": "is finite", "nan": "is not a number"}


def formula_mathml(program: Assigned) -> str:
    """The formula of a program as one ``<math>`` element, its lines aligned at the equals sign."""
    rows = "".join(
        f'<mtr><mtd style="{_RIGHT}; padding-right: 0">{left}</mtd>'
        f'<mtd style="{_LEFT}; padding-left: 0"><mrow><mo form="infix">=</mo>{right}</mrow></mtd></mtr>'
        for left, right in _MathML().lines(program)
    )
    text = html.escape("; ".join(formula_lines(program)))
    style = f'style="font-family: {_FONTS}"'
    return f'<math display="block" {style} alttext="{text}"><mtable displaystyle="true">{rows}</mtable></math>'


class _MathML(Notation):
    """Expressions as MathML, each a single element."""

    def name(self, name: ShownName) -> str:
        base, below = _parts(name)
        return f"<msub>{base}{below}</msub>" if below else base

    def constant(self, value: float) -> str:
        text, _, exponent = f"{abs(value):.15g}".partition("e")
        number = f"<mn>{text}</mn>"
        if exponent:
            power = int(exponent)
            shown = _row("<mo>−</mo>", f"<mn>{-power}</mn>") if power < 0 else f"<mn>{power}</mn>"
            ten = f"<msup><mn>10</mn>{shown}</msup>"
            number = ten if text == "1" else _row(number, "<mo>×</mo>", ten)
        return number if value >= 0 else _row('<mo form="prefix">−</mo>', number)

    def power(self, base: Symbol, exponent: Symbol | int) -> str:
        above = f"<mn>{exponent}</mn>" if isinstance(exponent, int) else self.rendered(exponent)[0]
        name = self.name_of(base)
        if name is None:
            return f"<msup>{self.atom(base)}{above}</msup>"
        letter, below = _parts(name)
        return f"<msubsup>{letter}{below}{above}</msubsup>" if below else f"<msup>{letter}{above}</msup>"

    def negative(self, of: Symbol) -> str:
        text, binding = self.rendered(of)
        return _row('<mo form="prefix">−</mo>', text if binding >= FRACTION else self.parenthesized(text))

    def infix(self, symbol: Symbol) -> Rendered:
        if symbol.op != "div":
            return super().infix(symbol)
        above, below = (_readable(self.rendered(a)[0]) for a in symbol.args)
        return f"<mfrac>{above}{below}</mfrac>", FRACTION

    def sign(self, symbol: Symbol, sign: str) -> str:
        if symbol.op == "mul":
            # letters stand side by side as in books; words and numbers would run into each other
            sign = "⋅" if self._is_word(symbol.args[0], -1) or self._is_word(symbol.args[1], 0) else "\u2062"
        return f"<mo>{html.escape(sign)}</mo>"

    def concatenated(self, left: str, sign: str, right: str) -> str:
        return _row(left, sign, right)

    def root(self, of: Symbol) -> str:
        return f"<msqrt>{self.rendered(of)[0]}</msqrt>"

    def norm(self, of: str, over: str, order: str = "") -> str:
        below = [f"<mi>{order}</mi>"] * bool(order) + [f"<mtext>{over}</mtext>"] * bool(over)
        return f"<msub>{_fenced('‖', of, '‖')}{_row(*below)}</msub>" if below else _fenced("‖", of, "‖")

    def option(self, text: str) -> str:
        return f"<mtext>{html.escape(text)}</mtext>"

    def total(self, of: str, over: str, what: str = "sum") -> str:
        name = f"<msub><mi>{what}</mi><mtext>{over}</mtext></msub>" if over else f"<mi>{what}</mi>"
        return _row(name, "<mo>\u2061</mo>", self.parenthesized(of))

    def absolute(self, of: str) -> str:
        return _fenced("|", of, "|")

    def cases(self, symbol: Symbol) -> Rendered:
        condition, yes, no = (self.rendered(a)[0] for a in symbol.args)
        rows = ((yes, _row("<mtext>if\u00a0</mtext>", condition)), (no, "<mtext>otherwise</mtext>"))
        cells = "".join(
            f'<mtr><mtd style="{_LEFT}">{value}</mtd><mtd style="{_LEFT}">{when}</mtd></mtr>' for value, when in rows
        )
        return _row(
            '<mo form="prefix" fence="true" stretchy="true">{</mo>', f'<mtable displaystyle="true">{cells}</mtable>'
        ), CASES

    def call(self, function: str, arguments: Sequence[str]) -> str:
        if function in _SAYS:
            return _row(*arguments, f"<mtext>\u00a0{_SAYS[function]}</mtext>")
        inside = "<mo>,</mo>".join(arguments)
        name = f"<mo>{function}</mo>" if function == "¬" else f"<mi>{html.escape(function)}</mi><mo>\u2061</mo>"
        return _row(name, self.parenthesized(_row(inside) if len(arguments) > 1 else inside))

    def parenthesized(self, text: str) -> str:
        return _fenced("(", text, ")")

    def _is_word(self, symbol: Symbol, side: int) -> bool:
        """Whether an expression begins (0) or ends (-1) with a word or a number."""
        name = self.name_of(symbol)
        if name is not None:
            return len(_INDEX.sub("", name.text)) > 1
        if symbol.op == "mul":
            return self._is_word(symbol.args[side], side)
        alone = symbol.op in ("add", "sub", "div", "sqrt", "abs")  # in parentheses, with a bar, or with ends of its own
        return not alone and not (symbol.op == "constant" and side == -1)


def _parts(name: ShownName) -> tuple[str, str]:
    """The letter or word itself, and what stands below it: its number, its time."""
    index = _INDEX.search(name.text)
    number = f"<mn>{index[0].translate(_DIGITS)}</mn>" if index else ""
    base = f"<mi>{html.escape(_INDEX.sub('', name.text) or name.text)}</mi>"
    time = _TIMES.get(name.time, "")
    return base, _row(number, "<mo>,</mo>", time) if number and time else number or time


def _readable(part: str) -> str:
    """A numerator or denominator; a fraction in it would be set too small to read."""
    return f'<mrow displaystyle="true">{part}</mrow>' if "<mfrac>" in part else part


def _row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _fenced(left: str, inside: str, right: str) -> str:
    fence = 'fence="true" stretchy="true"'
    return _row(f'<mo form="prefix" {fence}>{left}</mo>', inside, f'<mo form="postfix" {fence}>{right}</mo>')
