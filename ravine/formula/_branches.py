"""A function that decides by a number is called once for each way it can go; what the ways give becomes one by ``where``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ravine.errors import FormulaError
from ravine.formula._functions import where
from ravine.formula._symbols import Symbol, lift

Values = Mapping[str, Any]
_MOST_DECISIONS = 6  # one after the other, so at most 64 ways


class Made(list[Any]):
    """What a function makes to begin a state with, and which way it goes where it decides.

    Args:
        way: the first decisions; later ones are true.

    Attributes:
        conditions: what it has decided by.
    """

    def __init__(self, way: tuple[bool, ...] = ()) -> None:
        super().__init__()
        self.way = way
        self.conditions: list[Symbol] = []

    def decide(self, condition: Any) -> bool:
        """Which way it goes at this condition."""
        if not isinstance(condition, Symbol):
            return bool(condition)
        if condition.element:
            raise FormulaError(
                "it decides by a value of each element, which torch refuses too; where(condition, a, b) chooses for each"
            )
        condition = condition if condition.truth else condition != 0
        number = len(self.conditions)
        if number == _MOST_DECISIONS:
            raise FormulaError(f"it decides by more than {_MOST_DECISIONS} numbers")
        self.conditions.append(condition)
        return self.way[number] if number < len(self.way) else True


def all_ways(call: Callable[[Made], Values], made: list[Any], way: tuple[bool, ...] = ()) -> Values:
    """What the function gives, by name; ``call`` calls it and gives that.

    Raises:
        FormulaError: it gives something else one way than another.
    """
    taken = Made(way)
    values = call(taken)
    made.extend(taken)
    for number in reversed(range(len(way), len(taken.conditions))):
        other = all_ways(call, made, (*way, *[True] * (number - len(way)), False))
        if other.keys() != values.keys():
            raise FormulaError("it returns a dict with other names where it decides otherwise")
        condition = taken.conditions[number]
        values = {name: chosen(condition, value, other[name]) for name, value in values.items()}
    return values


def chosen(condition: Symbol, a: Any, b: Any) -> Any:
    """One of two values, by a condition; without one where they say the same."""
    return a if a is b or same(lift(a), lift(b)) else where(condition, a, b)


def same(a: Symbol, b: Symbol) -> bool:
    """Whether two symbols say the same."""
    if (a.op, a.name, a.value, len(a.args)) != (b.op, b.name, b.value, len(b.args)):
        return False
    return all(same(x, y) for x, y in zip(a.args, b.args, strict=True))
