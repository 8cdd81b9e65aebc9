"""Prints a program as mathematics, line by line, in the order in which its pieces compute.

``θ`` is the parameter, ``g`` the gradient, ``u`` the update, ``t`` the number of the step. A state with ``ₜ₋₁`` is
the one the step found, with ``ₜ`` the one it leaves.
"""

from __future__ import annotations

from ravine.formula.program import Program, walk
from ravine.formula.symbols import Symbol

_GREEK = {
    "param": "θ", "grad": "g", "update": "u", "step": "t", "alpha": "α", "rho": "ρ", "eps": "ε", "momentum": "μ",
    "weight_decay": "λ", "dampening": "τ", "betas[0]": "β₁", "betas[1]": "β₂", "beta1": "β₁", "beta2": "β₂", "beta": "β",
}  # fmt: skip
_INFIX = {
    "add": (4, "+"), "sub": (4, "−"), "mul": (5, "·"), "div": (5, "/"), "lt": (3, "<"), "le": (3, "≤"),
    "gt": (3, ">"), "ge": (3, "≥"), "eq": (3, "="), "ne": (3, "≠"), "and": (2, "∧"), "or": (1, "∨"),
}  # fmt: skip
_CALLS = {"minimum": "min", "maximum": "max", "isfinite": "finite", "isnan": "nan", "logical_not": "¬"}
_ATOM = 9


def display_name(name: str) -> str:
    """A name of the formula as mathematics writes it: ``alpha`` is α."""
    return _GREEK.get(name, name)


def formula_lines(program: Program) -> list[str]:
    """The formula, one assignment a line."""
    printer = _Mathematics()
    lines = []
    for index, name, value in _ordered(program):
        last = not any(n == name for _, n, _ in _ordered(program)[index + 1 :])
        target = display_name(name) + ("ₜ" if last and name not in ("update", "grad") else "")
        known = printer.names.get(id(value))
        if known is not None and name in ("update", "grad"):
            continue  # only another name for what the line before computed
        lines.append(f"{target} = {known or printer.text(value)[0]}")
        printer.names = {key: n for key, n in printer.names.items() if n != target}
        printer.names[id(value)] = target
    return lines


def _ordered(program: Program) -> list[tuple[int, str, Symbol]]:
    """The assignments, those of one piece in the order in which one uses the other; a state before what equals it."""
    result: list[tuple[str, Symbol]] = []
    rest = list(program.assignments)
    while rest:
        block = [a for a in rest if a.piece == rest[0].piece]
        block = rest[: next((i for i, a in enumerate(rest) if a.piece != rest[0].piece), len(rest))]
        rest = rest[len(block) :]
        while block:
            ready = [a for a in block if not any(_below(b.value, a.value) for b in block if b is not a)] or block
            chosen = next((a for a in ready if a.name not in ("update", "param", "grad")), ready[0])
            block = [a for a in block if a is not chosen]
            result.append((chosen.name, chosen.value))
    return [(i, name, value) for i, (name, value) in enumerate(result)]


def _below(part: Symbol, whole: Symbol) -> bool:
    return part is not whole and part.op != "buffer" and any(s is part for s in walk([whole]))


class _Mathematics:
    """Expressions as text; what already has a name is written by its name."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}

    def text(self, symbol: Symbol) -> tuple[str, int]:
        """The text and how tightly it binds."""
        if id(symbol) in self.names:
            return self.names[id(symbol)], _ATOM
        if symbol.op == "constant":
            return f"{symbol.value:.15g}".replace("-", "−"), _ATOM if symbol.value >= 0 else 5
        if symbol.op == "number":
            return display_name(symbol.name), _ATOM
        if symbol.op == "buffer":
            return display_name(symbol.name) + ("" if symbol.name == "grad" else "ₜ₋₁"), _ATOM
        if symbol.op == "mul" and symbol.args[0] is symbol.args[1]:
            return self._tight(symbol.args[0]) + "²", _ATOM
        if symbol.op == "mul" and symbol.args[0].op == "constant" and symbol.args[0].value == -1:
            return "−" + self._tight(symbol.args[1]), 5
        if symbol.op in _INFIX:
            binding, sign = _INFIX[symbol.op]
            (left, a), (right, b) = map(self.text, symbol.args)
            left = f"({left})" if a < binding else left
            closes = b < binding or (b == binding and symbol.op in ("sub", "div"))
            closes = closes or (symbol.op == "mul" and symbol.args[1].op == "div" and b != _ATOM)
            right = f"({right})" if closes else right
            return f"{left} {sign} {right}", binding
        return self._call(symbol), _ATOM

    def _call(self, symbol: Symbol) -> str:
        first = symbol.args[0]
        if symbol.op == "pow":
            return f"{self._tight(first)}^{self._tight(symbol.args[1])}"
        if symbol.op == "sqrt" and first.op == "sum_of_squares":
            return f"‖{self.text(first.args[0])[0]}‖"
        if symbol.op == "sqrt" and first.op == "global_sum_of_squares":
            return f"‖{self.text(first.args[0])[0]} of all tensors‖"
        if symbol.op == "sqrt":
            return "√" + self._tight(first)
        if symbol.op == "abs":
            return f"|{self.text(first)[0]}|"
        return f"{_CALLS.get(symbol.op, symbol.op)}({', '.join(self.text(a)[0] for a in symbol.args)})"

    def _tight(self, symbol: Symbol) -> str:
        text, binding = self.text(symbol)
        return text if binding == _ATOM and not text.endswith("²") else f"({text})"
