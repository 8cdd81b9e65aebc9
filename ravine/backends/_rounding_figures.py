"""What rounding costs: of each tensor of 16 or 8 bits that a step writes, the norm of what was rounded away over that of the change.

The change is the new value, before it is rounded, minus the old one. 0: nothing is lost. Rounded to nearest, a tensor that
stands still has 1, and none has more, since the old value could have been kept. Rounded at random it is the noise, which has no
such limit: a change of a hundredth of the distance between two numbers has a noise of ten times itself, and is right on average.

A sample is looked at: the first ``SAMPLE`` elements of a tensor, in the order of memory. The figure of the states of a parameter
is that of the one with the largest. A parameter with compensation is the whole of both; of 32 bits it loses nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ravine import backends
from ravine.backends import ROUNDING_STATISTICS, statistic
from ravine.backends._eight_bits import is_code
from ravine.formula import Program
from ravine.formula._compensation import is_rest, watched
from ravine.formula._operations import FULL, ROUNDINGS
from ravine.formula._rounding import as_stored
from ravine.formula._symbols import Symbol

#: Elements of a tensor that are looked at. A norm of so many is known to some percent, and a large tensor pays next to nothing.
SAMPLE = 4096
#: The rows of the statistics that are 0 where nothing was looked at.
ROWS = statistic(*ROUNDING_STATISTICS)


def is_narrow(dtype: torch.dtype) -> bool:
    """Whether a value that is kept in this dtype was rounded to 16 or 8 bits."""
    return dtype in (torch.bfloat16, torch.float16) or is_code(dtype)


class Rounding(NamedTuple):
    """How a program rounds what it writes to a buffer.

    Attributes:
        exact: the new value, before it is rounded.
        made: as the program rounds it; a tensor of 16 bits rounds it once more, if it does not hold that.
        before: the old value, of a parameter with compensation; else it is what the buffer holds.
    """

    exact: Symbol
    made: Symbol
    before: Symbol | None


def roundings(written: Mapping[str, Symbol], narrow: Collection[str]) -> dict[str, Rounding]:
    """Of what a pass writes to narrow tensors, by buffer, how it is rounded; not of what loses nothing."""
    by_name = {}
    for name in written:
        if name not in narrow or is_rest(name):
            continue
        symbol = written[name]
        whole = symbol.args[0] if symbol.op == "high_of" else None
        if whole is None:
            by_name[name] = Rounding(symbol.args[0] if symbol.op in ROUNDINGS else symbol, symbol, None)
        elif whole.op in ROUNDINGS:
            by_name[name] = Rounding(whole.args[0], whole, watched(list(written.values()))[1])
    return by_name


@cache
def written_by(program: Program) -> dict[str, Symbol]:
    """What the last pass computes of every buffer that it writes element by element."""
    last = program.passes[-1]
    pairs = zip(last.writes, last.results[len(last.reductions) :], strict=True)
    return {name: symbol for name, symbol in pairs if program.axes(name) == FULL}


class Extended(NamedTuple):
    """What torch's operations compute in a pass.

    Attributes:
        results: those of the pass, and behind them what the figures are made of.
        places: of each narrow tensor, where among them the parts of its ``Rounding`` are.
    """

    results: list[Symbol]
    places: dict[str, list[int]]


@cache
def extended(program: Program, index: int, wide: frozenset[str], narrow: tuple[str, ...]) -> Extended:
    """The results of a pass, without the rounding of what is wide, and more for the figures of what is narrow."""
    p = program.passes[index]
    results = as_stored(p.results, p.writes, wide.__contains__)
    known = {id(symbol): i for i, symbol in reversed(list(enumerate(results)))}  # each stands once
    places: dict[str, list[int]] = {}
    for name, rounding in roundings(written_by(program), narrow).items() if narrow else ():
        for symbol in (s for s in rounding if s is not None):
            place = known.setdefault(id(symbol), len(results))
            if place == len(results):
                results.append(symbol)
            places.setdefault(name, []).append(place)
    return Extended(results, places)


def sample(x: object, like: Tensor) -> Tensor:
    """The first elements, in the order in which those of ``like`` lie in memory; in double precision."""
    wide = backends.number_dtype(like.device)
    if not isinstance(x, Tensor) or x.shape != like.shape:
        x = torch.as_tensor(x, dtype=wide, device=like.device).expand(like.shape)
    strides = like.stride()
    order = sorted(range(like.ndim), key=lambda d: -strides[d])
    return x.permute(order).reshape(-1)[:SAMPLE].to(wide, copy=True)


class NarrowTensor(NamedTuple):
    """A tensor of 16 or 8 bits that a step writes; its values are tensors or numbers.

    Attributes:
        name: that of its buffer.
        exact: what it is to become, before that is rounded.
        made: as the program rounds it.
        before: its values before the step.
        dtype: that to which they are rounded once more; None: they are not.
    """

    name: str
    exact: Any
    made: Any
    before: Any
    dtype: torch.dtype | None

    def square_ratio(self, like: Tensor) -> Tensor:
        """The square of its figure; ``like``: laid out as all of these are."""
        before, exact, kept = (sample(x, like) for x in (self.before, self.exact, self.made))
        if self.dtype is not None:
            kept = kept.to(self.dtype).to(kept.dtype)
        changed = (exact - before).square().sum()
        return torch.where(changed == 0, 0.0, (kept - exact).square().sum() / changed)


def figures(written: Sequence[NarrowTensor], like: Tensor) -> dict[str, Tensor]:
    """The two statistics of a parameter, by their names; NaN where one of its tensors has that, and 0 where none is narrow."""
    ratios = {each.name: each.square_ratio(like) for each in written}
    zero = torch.zeros((), dtype=backends.number_dtype(like.device), device=like.device)
    of_param = ratios.pop("param", zero)
    return {
        "state_rounding_square": torch.stack([zero, *ratios.values()]).amax(),
        "param_rounding_square": of_param,
    }
