"""How a user wrote an expression, for errors: ``grad > 1``; the arguments of the piece that is called have their names there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from ravine.formula._operations import ALONG, INFIX, OPERATIONS, REDUCTIONS


class Node(Protocol):
    """What is read of a symbol."""

    @property
    def op(self) -> str: ...
    @property
    def args(self) -> tuple[Node, ...]: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> Any: ...


_NAMES: ContextVar[Mapping[int, str]] = ContextVar("_NAMES", default={})  # noqa: B039  # nobody writes to it
_DEEPEST = 6  # an argument of an argument of ..., below which an expression is only "..."
_LONGEST = 80
_ATOM, _NEGATIVE = 9, OPERATIONS["mul"].binding


@contextmanager
def arguments_named(names: Mapping[int, str]) -> Iterator[None]:
    """While a piece is called: what its arguments are called, by the ``id`` of the symbol."""
    token = _NAMES.set(names)
    try:
        yield
    finally:
        _NAMES.reset(token)


def written(symbol: Node) -> str:
    """An expression as Python writes it, shortened in the middle where it is long."""
    text = _text(symbol, _NAMES.get(), _DEEPEST)[0]
    half = _LONGEST // 2 - 2
    return text if len(text) <= _LONGEST else f"{text[:half]} ... {text[-half:]}"


def _text(symbol: Node, names: Mapping[int, str], depth: int) -> tuple[str, int]:
    """The text, and how tightly it binds."""
    if id(symbol) in names:
        return names[id(symbol)], _ATOM
    op, args = symbol.op, symbol.args
    if op == "constant":
        return f"{symbol.value:.15g}", _ATOM if symbol.value >= 0 else _NEGATIVE
    if not args:
        return symbol.name or op, _ATOM
    if depth == 0:
        return "...", _ATOM
    if op == "sqrt" and args[0].op in REDUCTIONS and REDUCTIONS[args[0].op].kind == "squares":
        inside = _text(args[0].args[0], names, depth - 1)[0]
        return f"norm({inside}{_over(args[0].op)})", _ATOM
    if op == "mul" and args[0].op == "constant" and args[0].value == -1:
        text, binding = _text(args[1], names, depth - 1)
        return f"-{text if binding > _NEGATIVE else f'({text})'}", _NEGATIVE
    if op == "mul" and args[0] is args[1]:
        text, binding = _text(args[0], names, depth - 1)
        return f"{text if binding == _ATOM else f'({text})'}**2", OPERATIONS["pow"].binding
    if op == "div" and args[0].op == "sum" and args[1].op == "numel":
        return f"mean({_text(args[0].args[0], names, depth - 1)[0]})", _ATOM
    if op in INFIX:
        binding = OPERATIONS[op].binding
        (left, before), (right, after) = (_text(a, names, depth - 1) for a in args)
        # As users do: without parentheses, & | and ** bind in ways that few remember.
        loose = _ATOM if op in ("and", "or", "pow") else binding
        left = f"({left})" if before < loose else left
        right = f"({right})" if after < max(loose, binding + 1) else right
        return f"{left} {INFIX[op]} {right}", binding
    given = ", ".join(_text(a, names, depth - 1)[0] for a in (args[0].args if op == "result" else args))
    if op in REDUCTIONS:
        kind = REDUCTIONS[op].kind
        return f"{'amax' if kind == 'amax' else 'sum'}({given}{'**2' * (kind == 'squares')}{_over(op)})", _ATOM
    if op in ALONG:
        return f"{op.partition('_')[2]}({given}, dim={ALONG[op]})", _ATOM
    return f"{args[0].value.title if op == 'result' else op}({given})", _ATOM


def _over(reduction: str) -> str:
    over = REDUCTIONS[reduction].over
    return "" if over == "tensor" else f", over={over!r}"
