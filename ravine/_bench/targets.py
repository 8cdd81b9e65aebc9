"""What the bench must show, as data (``TARGETS``), and whether it did. For float32 on 2 threads.

A target names classes and holds for each of their configurations, and a figure that a result has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

#: Threads that the targets were set for.
THREADS = 2


@dataclass(frozen=True)
class SpeedTarget:
    """A bound on one figure, for one case.

    Attributes:
        case: the case's name.
        figure: which of a result's figures.
        bound: what the figure must reach, or with ``at_most`` not exceed.
        names: the optimizers' classes; empty for every one.
        tie: how far beyond the bound still counts, as a share of it: two that both run at the memory's limit
            come out a percent or two apart, now one ahead and now the other.
    """

    case: str
    figure: str
    bound: float
    names: tuple[str, ...] = ()
    at_most: bool = False
    tie: float = 0.0

    def beaten(self, value: float) -> bool:
        """Whether a figure of this value keeps the bound as it stands."""
        return value <= self.bound if self.at_most else value >= self.bound

    def met(self, value: float) -> bool:
        """Whether it keeps the bound, or ties with it."""
        slack = self.bound * self.tie
        return self.beaten(value - slack if self.at_most else value + slack)


TARGETS = (
    SpeedTarget("20x1M", "stream limit", 1.15, at_most=True),
    SpeedTarget("20x1M", "best of torch", 2.5, ("RMSprop", "Adadelta")),
    SpeedTarget("20x1M", "torch fused", 1.0, ("SGD", "Adagrad", "Adam", "AdamW"), tie=0.03),
    SpeedTarget("mlp", "best of torch", 4.0, ("RMSprop", "Adadelta")),
    SpeedTarget("mlp", "torch fused", 1.8, ("Adam",)),
    SpeedTarget("62x100", "best of torch", 14.0, ("RMSprop", "Adadelta")),
    SpeedTarget("62x100", "torch fused", 7.0, ("Adam",)),
    SpeedTarget("20x1M", "watch on / off", 1.05, at_most=True),
    SpeedTarget("mlp", "watch on / off", 1.15, at_most=True),
    SpeedTarget("62x100", "watch on / off", 1.15, ("RMSprop", "Adam"), at_most=True),
    SpeedTarget("fit", "watch on / off", 1.05, at_most=True),
    SpeedTarget("20x1M", "torch's clipping / ours", 2.5, ("RMSprop",)),
    SpeedTarget("62x100", "torch's clipping / ours", 8.0, ("RMSprop",)),
    SpeedTarget("mlp", "first step, empty, s", 1.5, at_most=True),
    SpeedTarget("mlp", "first step, warm, s", 0.3, at_most=True),
    SpeedTarget("mlp", "kernels compiled", 0.0, at_most=True),
    # 10,000 steps that each left one object behind would grow it by more.
    SpeedTarget("mlp", "memory growth, MiB", 1.0, at_most=True),
    SpeedTarget("mlp", "Python blocks per step", 0.1, at_most=True),
)


class SpeedResult(Protocol):
    """What a target can be held against: a row of step times, a first step, an endurance run."""

    @property
    def case(self) -> str: ...
    @property
    def optimizer(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def figures(self) -> dict[str, float | None]: ...


@dataclass(frozen=True)
class Verdict:
    """One target held against one result; ``optimizer`` and ``value`` are None where nothing was measured."""

    target: SpeedTarget
    optimizer: str | None
    value: float | None

    @property
    def met(self) -> bool | None:
        """None if there is nothing to judge."""
        return None if self.value is None else self.target.met(self.value)


def evaluate(results: Sequence[SpeedResult], targets: Iterable[SpeedTarget] = TARGETS) -> list[Verdict]:
    """A verdict for every result that a target speaks of, and one without a value where there is none."""
    verdicts = []
    for target in targets:
        held = [
            Verdict(target, result.optimizer, result.figures[target.figure])
            for result in results
            if result.case == target.case
            and target.figure in result.figures
            and (not target.names or result.name in target.names)
        ]
        verdicts += held or [Verdict(target, None, None)]
    return verdicts
