"""Functions of whole tensors in a formula: torch runs them between two passes over memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

from ravine.errors import FormulaError, shown
from ravine.formula._symbols import Symbol, lift


@dataclass(frozen=True, repr=False)
class CallOf:
    """What is called where: a function, what it is given beside tensors and numbers of the formula, and how it gives.

    Attributes:
        function: of tensors and numbers.
        keywords: the names of its last arguments.
        options: what else it is given, as the formula has it.
        returns: how many tensors it gives.
        batched: whether its tensors may have one more dimension at the front.
    """

    function: Callable[..., Any]
    keywords: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]
    returns: int
    batched: bool

    @property
    def title(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", "function")

    def __repr__(self) -> str:
        given = ", ".join([*self.keywords, *(f"{name}={value!r}" for name, value in self.options)])
        return f"{getattr(self.function, '__qualname__', self.title)}({given}) -> {self.returns}"


class TensorFunction:
    """A function marked by :func:`tensor_function`; called by hand it is the function."""

    def __init__(self, function: Callable[..., Any], returns: int, batched: bool) -> None:
        if not callable(function):
            raise FormulaError(
                f"tensor_function({shown(function)}): it marks a function; options are named, @tensor_function(returns=2)"
            )
        self.function, self.returns, self.batched = function, returns, batched
        self.title: str = getattr(function, "__name__", "function")
        functools.update_wrapper(self, function)

    def __repr__(self) -> str:
        return f"tensor_function({self.title})"

    def __call__(self, *args: Any, **options: Any) -> Any:
        symbols = {name: value for name, value in options.items() if isinstance(value, Symbol)}
        if not symbols and not any(isinstance(a, Symbol) for a in args):
            return self.function(*args, **options)
        given = [lift(value) for value in (*args, *symbols.values())]
        if (truth := next((s for s in given if s.truth), None)) is not None:
            raise FormulaError(
                f"{self.title} takes tensors and numbers; {truth!r} is a truth value: write where(x, 1, 0)"
            )
        if not any(s.element or s.op == "tensor" for s in given):
            raise FormulaError(f"{self.title} is a function of whole tensors, and is given numbers only")
        rest = tuple(sorted((name, value) for name, value in options.items() if name not in symbols))
        try:
            hash(rest)
        except TypeError:
            raise FormulaError(
                f"{self.title}: {', '.join(name for name, _ in rest)} must be numbers, texts or tuples, so that a formula "
                "can be compared with another"
            ) from None
        call = Symbol(
            "call", tuple(given), value=CallOf(self.function, tuple(symbols), rest, self.returns, self.batched)
        )
        results = tuple(Symbol("result", (call,), value=i) for i in range(self.returns))
        return results if self.returns > 1 else results[0]


@overload
def tensor_function(function: Callable[..., Any]) -> TensorFunction: ...
@overload
def tensor_function(*, returns: int = 1, batched: bool = False) -> Callable[[Callable[..., Any]], TensorFunction]: ...


def tensor_function(
    function: Callable[..., Any] | None = None, *, returns: int = 1, batched: bool = False
) -> TensorFunction | Callable[[Callable[..., Any]], TensorFunction]:
    """Mark a function of whole tensors, written with torch's operations, so that a piece may call it.

    ::

        @tensor_function
        def orthogonalize(x, steps):
            ...
            return x

        def muon(update, momentum_buffer=0.0, *, momentum):
            momentum_buffer = momentum * momentum_buffer + update
            return orthogonalize(momentum_buffer, steps=5), momentum_buffer

    One pass over memory computes its tensors, torch runs it, and the next pass reads what it gave. It gets tensors of the
    parameter's shape, states of ``tensor_state``, and numbers; it must give tensors of the parameter's shape (or of the shape
    of the ``tensor_state`` that takes it), of the dtype that the formula is computed in, and must not write to its arguments.

    Args:
        function: the function.
        returns: how many tensors it gives, as a tuple if there are several.
        batched: it may be called once for several parameters of one shape, stacked along a new first dimension.

    Raises:
        FormulaError: ``function`` is none; where it is called with numbers only; at a step, where it gives something else.
    """
    if function is None:
        return lambda f: TensorFunction(f, returns, batched)
    return TensorFunction(function, returns, batched)
