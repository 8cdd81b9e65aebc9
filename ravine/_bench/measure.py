"""How a time is taken: candidates take turns, A B C B A C, and each is judged by the median of its turns.

A machine's speed wanders (clock, neighbours, temperature). What is timed in turns wanders together, so the
ratios hold where the times do not. Each round has an order of its own: a candidate that always follows the same one would
find the caches as that one left them.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Step = Callable[[], object]
Clock = Callable[[], float]

#: Seconds that one turn lasts at least, so that neither the clock nor the start of a turn weighs.
TURN = 2e-3


@dataclass(frozen=True)
class Timing:
    """Seconds per step over the rounds: the median and the quartiles.

    Attributes:
        steps: how many steps one turn had.
        rounds: how many turns were timed.
    """

    median: float
    low: float
    high: float
    steps: int
    rounds: int

    @property
    def spread(self) -> float:
        """The interquartile range as a share of the median."""
        return (self.high - self.low) / self.median

    @classmethod
    def of(cls, seconds: Sequence[float], steps: int) -> Timing:
        """From the seconds per step of each turn."""
        low = median = high = seconds[0]
        if len(seconds) > 1:
            low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high, steps, len(seconds))


def _turn(step: Step, steps: int, clock: Clock) -> float:
    """Seconds that so many steps take, after one that is not timed.

    That one fetches the candidate's own data into the caches, and lets the threads of the one before
    come to rest.
    """
    step()
    start = clock()
    for _ in range(steps):
        step()
    return clock() - start


def _steps_per_turn(step: Step, turn: float, clock: Clock, least: int) -> int:
    steps = least
    while _turn(step, steps, clock) < turn:
        steps *= 2
    return steps


def alternate(
    candidates: Mapping[str, Step],
    rounds: int,
    *,
    turn: float = TURN,
    least: int = 1,
    clock: Clock = time.perf_counter,
) -> dict[str, Timing]:
    """Let the candidates take turns for some rounds, each in an order of its own.

    Args:
        candidates: what to time, warmed up; one call is one step.
        rounds: how often each has a turn.
        turn: seconds that a turn lasts at least; it has as many steps as that takes.
        least: how many steps a turn has at least, where they are not all alike. It is the same for all: in a longer turn
            more of what the first step has fetched is still in a cache.
        clock: gives seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    order = random.Random(0)
    collecting = gc.isenabled()
    gc.disable()
    try:
        steps = {name: _steps_per_turn(step, turn, clock, least) for name, step in candidates.items()}
        for _ in range(rounds):
            for name in order.sample(list(candidates), len(candidates)):
                seconds[name].append(_turn(candidates[name], steps[name], clock) / steps[name])
    finally:
        if collecting:
            gc.enable()
    return {name: Timing.of(turns, steps[name]) for name, turns in seconds.items()}
