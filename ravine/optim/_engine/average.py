"""The averages of parameters that a formula keeps, put in the parameters' place for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.backends._eight_bits import values_of
from ravine.errors import OptionError, ParameterError
from ravine.formula import Program
from ravine.optim._engine.formula import average_in

NO_STEP = (
    "the parameters are their averages, where no step is made: step outside `with optimizer.averaged():`. Of an optimizer with "
    "train() and eval(), call optimizer.train() before the forward pass, also after loading a checkpoint that was saved "
    "after optimizer.eval()"
)


@contextlib.contextmanager
def in_place_of(pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Inside, each parameter of ``(parameter, average)`` has the values of its average; afterwards its own."""
    pairs = list(pairs)
    own = [(p, p.detach().clone()) for p, _ in pairs]
    try:
        _copy(pairs)
        yield
    finally:
        _copy(own)


@contextlib.contextmanager
def averaged_inside(optimizer: Any, pairs: Callable[[], Iterable[tuple[Tensor, Tensor]]]) -> Iterator[None]:
    """``in_place_of`` for the parameters of an optimizer, which makes no step meanwhile (``_averaged``)."""
    averages = pairs()
    optimizer._averaged = True
    try:
        with in_place_of(averages):
            yield
    finally:
        optimizer._averaged = False


@torch.no_grad()
def _copy(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    for target, source in pairs:
        target.copy_(source)


def pairs_of(
    groups: Sequence[dict[str, Any]],
    program: Callable[[int], Program],
    state: Mapping[Tensor, Mapping[str, Any]],
    averaged: bool,
    describe: Callable[[Tensor], str],
) -> list[tuple[Tensor, Tensor]]:
    """The parameters of an optimizer's groups, each with its average.

    Args:
        groups: the groups.
        program: gives the program of a group by its number.
        state: the states, by parameter.
        averaged: whether the parameters are their averages already.
        describe: names a parameter for errors.

    Raises:
        OptionError: no formula keeps an average, or ``averaged``.
        ParameterError: a parameter no longer has the shape of its average.
    """
    kept = [(group, average_in(program(i))) for i, group in enumerate(groups)]
    if not any(name for _, name in kept):
        raise OptionError(
            "this formula keeps no average of the parameters: pass ema_decay=0.999, or end your pieces with ema(0.999). "
            "A state dict of an optimizer without one turns it off"
        )
    if averaged:
        raise OptionError("the parameters are already their averages here: leave out the inner optimizer.averaged()")
    pairs = [
        (p, values_of(state[p], name)) for group, name in kept for p in group["params"] if name in state.get(p, {})
    ]
    for p, average in pairs:
        if p.shape != average.shape:
            raise ParameterError(f"{describe(p)} has an average of shape {tuple(average.shape)}")
    return pairs
