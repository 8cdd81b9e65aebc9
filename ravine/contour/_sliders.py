"""The sliders of a page: for every hyperparameter of a formula its value, a range, and the scale of the range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ravine.formula import Program
from ravine.formula._notation import display_name
from ravine.optim import Optimizer
from ravine.optim._hyperparameters import Hyper, hypers_of
from ravine.optim._search_space import default_space
from ravine.optim._signature import option_parameters
from ravine.optim._spec import OptimizerSpec
from ravine.optim.search import Range, complement, linear, log

_NEAREST_TO_ONE = 0.9999
RATES = (1e-4, 1.0)
"""From where to where a page tries learning rates; their slider has all of these."""


@dataclass(frozen=True)
class Slider:
    """One hyperparameter on the page.

    Attributes:
        name: in the formula; one number of a tuple is ``betas[0]``.
        symbol: as mathematics writes it.
        value: what it is at first.
        range: from where to where the slider goes, and its scale; None: it is shown and cannot be moved.
        whole: it is a whole number.
    """

    name: str
    symbol: str
    value: float
    range: Range | None
    whole: bool = False


def sliders(spec: OptimizerSpec, optimizer: Optimizer, program: Program, values: Mapping[str, Any]) -> list[Slider]:
    """A slider for each of ``program.hypers``, in that order.

    Args:
        spec: what the user named; its class says what a comparison searches.
        optimizer: made from it.
        program: its program.
        values: the options of its group.
    """
    searched, declared = default_space(replace(spec, given={})), hypers_of(type(optimizer))
    counts = {name for name, p in option_parameters(spec.factory).items() if p.annotation in (int, "int")}
    made = []
    for name in program.hypers:
        base, bracket, index = name.partition("[")
        given = values[base][int(index[:-1])] if bracket else values[base]
        part = f"{base.removesuffix('s')}{int(index[:-1]) + 1}" if bracket else base
        value, whole = float(given), (isinstance(given, int) and given > 1) or base in counts
        ends = _range(value, searched.get(part), declared.get(base, Hyper()), whole)
        if ends is not None and base == "lr":
            ends = _with_rates(ends)
        made.append(Slider(name, display_name(name), value, ends, whole))
    return made


def _range(value: float, searched: Range | None, hyper: Hyper, whole: bool) -> Range | None:
    """What a comparison searches; where nothing is declared, what such a value suggests. The value is always in it."""
    if not math.isfinite(value):
        return None
    ends = searched if searched is not None else _guess(value, hyper, whole)
    if ends.scale == "complement":  # what a decay far from 1 does is worth seeing, though no search looks there
        ends = replace(ends, low=min(ends.low, max(0.0, hyper.low)))
    return _around(value, ends)


def _guess(value: float, hyper: Hyper, whole: bool) -> Range:
    if whole:
        return linear(max(0.0, hyper.low), min(max(100.0, 10 * value), hyper.high))
    if 0 <= hyper.low < hyper.high < math.inf and not (hyper.high == 1 and value < 1):
        return linear(hyper.low, hyper.high)
    if 0.5 <= value < 1 or (hyper.high == 1 and hyper.low >= 0):  # most likely a decay
        return complement(0.0, _NEAREST_TO_ONE)
    if value > 0 and hyper.low <= 0:
        span = 1e3 if value < 0.1 else 10.0  # an eps, or a factor
        return log(value / span, min(value * span, hyper.high))
    size = abs(value) or 1.0
    return linear(max(value - size, hyper.low), min(value + size, hyper.high))


def _around(value: float, ends: Range) -> Range:
    """The range with the value in it; on a scale that has the value."""
    if (ends.scale == "log" and value <= 0) or (ends.scale == "complement" and value >= 1):
        return linear(min(value, 0.0), max(ends.high, value))
    return replace(ends, low=min(ends.low, value), high=max(ends.high, value))


def _with_rates(ends: Range) -> Range:
    return replace(ends, low=min(ends.low, RATES[0]), high=max(ends.high, RATES[1]))


def number(value: float) -> float | str:
    """A number for the page's script: JSON has no infinity, so it is a text that JavaScript reads as one."""
    return value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def coded(made: Sequence[Slider]) -> list[dict[str, Any]]:
    """What the page's script reads."""
    return [
        {
            "name": each.name,
            "symbol": each.symbol,
            "value": number(each.value),
            "whole": each.whole,
            **({"low": each.range.low, "high": each.range.high, "scale": each.range.scale} if each.range else {}),
        }
        for each in made
    ]
