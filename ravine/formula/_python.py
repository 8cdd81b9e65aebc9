"""Prints expressions as Python statements: the one printer behind every backend.

The same text is run with ``ravine.formula._functions`` on numbers and tensors (number stage, eager backend) and
compiled with scalar functions of the same names (kernel).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from ravine.formula._operations import INFIX, OPERATIONS, ROUNDINGS
from ravine.formula._symbols import Symbol, postorder

_LONGEST = 88  # an expression that grows longer gets a line of its own
_ATOM = 9  # how tightly a name or a call binds


def code_name(name: str) -> str:
    """A name of the formula in generated code: ``alpha`` becomes ``alpha_``, ``betas[0]`` becomes ``betas_0``.

    Only a formula's names end with an underscore, or with an underscore and a number. So generated code may have any
    other name for itself, and a formula any name at all.
    """
    if name in ("param", "grad", "step"):
        return name  # words of the language: no formula can mean something else by them
    if "." in name:
        return name.replace(".", "")  # a temporary
    base, bracket, index = name.partition("[")
    return f"{base}_{index[:-1]}" if bracket else f"{name}_"


class Statements:
    """Statements that compute some symbols from named leaves.

    Args:
        roots: the symbols.
        leaves: the names of what is known.
        result_names: names for the roots; empty: none of its own.
        constant: how a number of the formula is written.
        calls: operations that are written as calls of a function of their name instead of with their sign; with
            ``cube_root`` among them a power of a third is a call of that.
        element: how a number is written that elements are chosen from, where nothing else says of what type they are.
        temporary: what the names of values that are used more than once begin with.
        place: where an element stands in its tensor, which rounding at random reads; empty where that is a function of tensors.

    Attributes:
        lines: Python assignments in order; a value that is used more than once has a name of its own.
        results: for each root, the expression (a name, mostly) that holds it after the lines.
    """

    def __init__(
        self,
        roots: Sequence[Symbol],
        leaves: Mapping[Symbol, str],
        result_names: Sequence[str] | None = None,
        constant: Callable[[float], str] = repr,
        calls: Collection[str] = (),
        element: Callable[[str], str] = lambda number: number,
        place: str = "",
        temporary: str = "v",
    ) -> None:
        self.lines: list[str] = []
        self._place, self._temporary = place, temporary
        self._constant, self._calls, self._element = constant, calls, element
        # The text of every symbol, and how tightly it binds.
        self._texts = {id(symbol): (name, _ATOM) for symbol, name in leaves.items()}
        self._temporaries = 0
        wanted = {id(s): name for s, name in zip(roots, result_names, strict=True) if name} if result_names else {}
        order = list(postorder(roots, into=lambda symbol: id(symbol) not in self._texts))
        uses = Counter(id(symbol) for symbol in roots)
        uses.update(id(a) for symbol in order if id(symbol) not in self._texts for a in symbol.args)
        for symbol in order:
            if id(symbol) in self._texts:
                continue
            text, binding = self._print(symbol)
            name = wanted.get(id(symbol))
            if symbol.op != "constant" and (name or uses[id(symbol)] > 1 or len(text) > _LONGEST):
                text, binding = self._assign(text, name), _ATOM
            self._texts[id(symbol)] = text, binding
        self.results = [self._texts[id(root)][0] for root in roots]

    def _assign(self, text: str, name: str | None) -> str:
        if name is None:
            name = f"{self._temporary}{self._temporaries}"
            self._temporaries += 1
        self.lines.append(f"{name} = {text}")
        return name

    def _print(self, symbol: Symbol) -> tuple[str, int]:
        """The text of a symbol whose arguments have theirs, and how tightly it binds."""
        if symbol.op == "constant":
            return self._constant(symbol.value), _ATOM if symbol.value >= 0 else OPERATIONS["mul"].binding
        parts = [self._texts[id(a)] for a in symbol.args]
        if symbol.op == "pow" and "cube_root" in self._calls and symbol.args[1].value == 1 / 3:
            return f"cube_root({parts[0][0]})", _ATOM
        if symbol.op in INFIX and symbol.op not in self._calls:
            binding = OPERATIONS[symbol.op].binding
            (left, left_binding), (right, right_binding) = parts
            # Python's own & | and ** bind in ways that few remember: their arguments are names or in parentheses.
            loose = _ATOM if symbol.op in ("and", "or", "pow") else binding
            left = f"({left})" if left_binding < loose else left
            right = f"({right})" if right_binding < max(loose, binding + 1) else right
            return f"{left} {INFIX[symbol.op]} {right}", binding
        arguments = [text for text, _ in parts]
        if symbol.op == "where" and symbol.element and not any(a.element or a.truth for a in symbol.args[1:]):
            arguments[1:] = map(self._element, arguments[1:])
        if self._place and symbol.op.removeprefix("root_of_") in ROUNDINGS:
            arguments.append(self._place)
        return f"{symbol.op}({', '.join(arguments)})", _ATOM
