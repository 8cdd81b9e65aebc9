"""``JudgedRuns``: logged runs and what they say, which the result and its report have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ravine.comparison._curves import Curves, RunCurve
from ravine.comparison._judge import Compared, Metric, StepsToTarget, WithBest
from ravine.comparison._report.difference_data import Differences, differences


@dataclass(frozen=True, eq=False, repr=False)
class JudgedRuns:
    """Logged runs, and what they say; ``LoggedResult`` says what each attribute is."""

    sentence: str
    with_best: WithBest
    metric: Metric
    paired: bool
    steps: Mapping[str, StepsToTarget]
    notes: Sequence[str]
    curves: Curves
    judged: Mapping[str, Sequence[RunCurve]]
    target: float | None
    files: Sequence[str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.with_best.standings)} optimizers, {len(self.curves)} runs)"

    @property
    def compared(self) -> Compared:
        """What was compared, and what came out."""
        return Compared(self.metric, self.with_best)

    @property
    def differences(self) -> Differences:
        """Every optimizer against the best of the others, as it is shown."""
        return differences({self.metric.name: self.compared})[self.metric.name]
