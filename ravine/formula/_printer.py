"""Prints expressions as Python statements: the one printer behind every backend.

The same text is run with ``ravine.formula._functions`` on numbers and tensors (number stage, eager backend) and
compiled by numba with scalar functions of the same names (kernel).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from ravine.formula._symbols import FUNCTIONS, INFIX, Symbol

_BINDING = {"or": 1, "and": 1, "add": 4, "sub": 4, "mul": 5, "div": 5, "pow": 6}  # comparisons: 3
_LONGEST = 88  # an expression that grows longer gets a line of its own


#: Names that generated code has of its own, beside numbered ones; of a formula's names it must change none.
RESERVED = {
    *FUNCTIONS, "numbers", "elements", "kernel", "float32", "float64", "float", "range", "carray",
    "task", "launch", "chunks", "tensors", "rows", "tensor_of", "start", "count", "address", "sums", "watch",
    "chunk", "tensor", "row", "first", "n", "i", "take_next", "moved", "nonfinite", "top", "wide", "one",
    "magnitude", "larger", "from_magnitude",
    *(f"{name}_{figure}" for name in ("grad", "param", "update") for figure in ("square", "top")),
}  # fmt: skip
_GENERATED = re.compile(r"(at|to|from|new)_\w*|(v|n|x|sum|total)\d+|\w*_user|\w*_")


def signature_name(name: str) -> str:
    """The name of a state or hyperparameter in generated code: ``betas[0]`` becomes ``betas_0``.

    One that the code has for itself gets an ending, so that a formula may use any name.
    """
    plain = re.sub(r"\W+", "_", name).rstrip("_") if "[" in name else name
    return f"{plain}_user" if plain in RESERVED or _GENERATED.fullmatch(plain) else plain


class Statements:
    """Statements that compute some symbols from named leaves.

    Attributes:
        lines: Python assignments in order; a value that is used more than once has a name of its own.
        results: for each root, the expression (a name, mostly) that holds it after the lines.
    """

    def __init__(
        self,
        roots: Sequence[Symbol],
        leaves: Mapping[Symbol, str],
        taken: Iterable[str],
        result_names: Sequence[str] | None = None,
        constant: Callable[[float], str] = repr,
    ) -> None:
        self.lines: list[str] = []
        self._names = {id(s): name for s, name in leaves.items()}
        self._taken = {*taken, *leaves.values(), *(result_names or ())}
        self._constant = constant
        self._uses = Counter[int]()
        self._count(roots, set())
        wanted = dict(zip(map(id, roots), result_names, strict=True)) if result_names else {}
        self.results = [self._print(root, wanted)[0] for root in roots]

    def _count(self, symbols: Sequence[Symbol], seen: set[int]) -> None:
        for s in symbols:
            self._uses[id(s)] += 1
            if id(s) not in seen and id(s) not in self._names:
                seen.add(id(s))
                self._count(s.args, seen)

    def _assign(self, symbol: Symbol, text: str, name: str | None) -> str:
        if name is None:
            index = 0
            while f"v{index}" in self._taken:
                index += 1
            name = f"v{index}"
            self._taken.add(name)
        self.lines.append(f"{name} = {text}")
        self._names[id(symbol)] = name
        return name

    def _print(self, symbol: Symbol, wanted: Mapping[int, str]) -> tuple[str, int]:
        """The text of a symbol and how tightly it binds (9: a name or a call)."""
        if id(symbol) in self._names:
            return self._names[id(symbol)], 9
        if symbol.op == "constant":
            return self._constant(symbol.value), 9 if symbol.value >= 0 else 5
        parts = [self._print(a, wanted) for a in symbol.args]
        if symbol.op in INFIX:
            binding = _BINDING.get(symbol.op, 3)
            loose_left = binding if symbol.op not in ("and", "or", "pow") else 9
            (left, a), (right, b) = parts
            left = f"({left})" if a < loose_left else left
            right = f"({right})" if b < binding + 1 or (symbol.op in ("and", "or") and b < 9) else right
            text = f"{left} {INFIX[symbol.op]} {right}"
        else:
            binding = 9
            text = f"{symbol.op}({', '.join(p for p, _ in parts)})"
        if id(symbol) in wanted or self._uses[id(symbol)] > 1 or len(text) > _LONGEST:
            return self._assign(symbol, text, wanted.get(id(symbol))), 9
        return text, binding
