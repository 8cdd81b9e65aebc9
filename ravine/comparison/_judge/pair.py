"""The verdict on one pair of optimizers, and its words."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from ravine.comparison._judge.measurements import STEPS, Metric
from ravine.comparison._judge.number_text import article, count, listed, number, ratio_text
from ravine.comparison._judge.power import MOST, seeds_needed

Kind = Literal["better", "worse", "no difference shown"]
_REVERSED: dict[Kind, Kind] = {"better": "worse", "worse": "better", "no difference shown": "no difference shown"}
TOO_MANY = 1000


@dataclass(frozen=True, repr=False)
class Pair:
    """How ``first`` compares with ``second`` in one metric.

    Attributes:
        first, second: the labels of the optimizers.
        metric: what is compared, and which direction is better.
        seeds: the fresh seeds that both were trained with.
        difference: the mean over the seeds of first minus second; of the logarithms if the metric is a ratio.
        low, high: its 95% interval, of this pair alone and not corrected; on the logarithm if the metric is a ratio.
        spread: the standard deviation of the differences, on the same scale.
        p: the p-value of this pair alone.
        adjusted: the p-value after Holm's correction for all pairs.
        kind: the verdict on ``first``, from ``adjusted``: ``"better"``, ``"worse"`` or ``"no difference shown"``.
        level: the p-value that this pair would have to fall below to be shown.
        power: the probability with which more seeds should show the difference.
        smallest: the smallest difference of interest; None: the observed one.
        first_bounded, second_bounded: how many runs of either missed the target or diverged.
        bound: the value that such a run counts as; None if there is none.
    """

    first: str
    second: str
    metric: Metric
    seeds: tuple[int, ...]
    difference: float
    low: float
    high: float
    spread: float
    p: float
    adjusted: float
    kind: Kind
    level: float
    power: float
    smallest: float | None = None
    first_bounded: int = 0
    second_bounded: int = 0
    bound: float | None = None

    def __repr__(self) -> str:
        ends = f"{self.difference:.3g}, {self.low:.3g} to {self.high:.3g}, adjusted p {self.adjusted:.2g}"
        return f"Pair({self.first!r} against {self.second!r} in {self.metric.name}: {self.kind}; {ends})"

    @cached_property
    def more_seeds(self) -> int | None:
        """How many more seeds would show the smallest difference of interest; None where one is shown already."""
        if self.kind != "no difference shown":
            return None
        if self.smallest is None:
            wanted = abs(self.difference)
        else:
            wanted = float(np.log(self.smallest)) if self.metric.ratio else self.smallest
        if wanted == 0:
            return MOST
        n = len(self.seeds)
        return max(0, seeds_needed(wanted, self.spread, seeds=n, alpha=self.level, power=self.power) - n)

    @property
    def reversed(self) -> "Pair":
        """The same, said of the second against the first."""
        return replace(
            self,
            first=self.second,
            second=self.first,
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
            kind=_REVERSED[self.kind],
            first_bounded=self.second_bounded,
            second_bounded=self.first_bounded,
        )

    @property
    def ratio(self) -> float:
        """How many times the second's value the first's is; of a ratio only."""
        return float(np.exp(self.difference))

    @property
    def effect_text(self) -> str:
        """The difference in words that go behind the first's name: ``needs 2.1 times the steps``."""
        if self.metric.ratio:
            least = "at least " if self._lower_bound else ""
            return f"needs {least}{self._ratio_text}"
        side = "higher" if self.difference > 0 else "lower"
        return f"has {article(self.metric.name)} {number(abs(self.difference))} {side}"

    @property
    def seeds_text(self) -> str:
        """What it would take to decide: ``12 more seeds would settle it``."""
        if self.more_seeds is None:
            return ""
        if self.difference == 0:
            return "their means are equal on these seeds"
        if self.more_seeds == 0:
            what = f"{number(self.smallest or 0)}x" if self.metric.ratio else number(self.smallest or 0)
            return f"these seeds would have shown a difference of {what}"
        if self.more_seeds > TOO_MANY:
            return f"more than {TOO_MANY:,} more seeds would be needed to settle it"
        return f"{count(self.more_seeds, 'more seed')} would settle it"

    @property
    def sentence(self) -> str:
        """The whole result for a reader who has seen nothing else."""
        shown = self.reversed if self.metric.ratio and self.difference < 0 else self
        low, high = (np.exp(shown.low), np.exp(shown.high)) if self.metric.ratio else (shown.low, shown.high)
        if self.kind != "no difference shown" and not self.metric.ratio and self.difference < 0:
            low, high = -high, -low  # "0.1 lower (0.09 to 0.11)"
        sure = f"95% interval {number(low)} to {number(high)}, {count(len(self.seeds), 'seed')}"
        if self.kind == "no difference shown":
            observed = shown._ratio_text if self.metric.ratio else number(self.difference)
            text = f"{self.first} and {self.second} are within noise of each other in {self.metric.name}"
            text = f"{text} ({observed}, {sure}): {self.seeds_text}"
            if self.difference and (self.more_seeds or 0) <= TOO_MANY and self.smallest is None:
                text += " if the difference is as large as it looks"
        elif self.metric.ratio:
            joint = "as" if self.metric == STEPS else "of"
            text = f"{shown.first} {shown.effect_text} {joint} {shown.second} ({sure}): {self.first} is {self.kind}"
        else:
            text = f"{shown.first} {shown.effect_text} than {shown.second} ({sure}): {self.first} is {self.kind}"
        return f"{text}.{self._bounds}"

    @property
    def _lower_bound(self) -> bool:
        """Whether only the slower optimizer has bounds, so that the truth can only be more."""
        slower, faster = self.first_bounded, self.second_bounded
        if self.difference < 0:
            slower, faster = faster, slower
        return slower > 0 and faster == 0

    @property
    def _ratio_text(self) -> str:
        """``2.1 times as many steps``."""
        ratio = ratio_text(self.ratio)
        times = "" if ratio == "1" else f"{ratio} times "
        return f"{times}as many steps" if self.metric == STEPS else f"{times}the {self.metric.name}"

    @property
    def _bounds(self) -> str:
        parts = ((self.first, self.first_bounded), (self.second, self.second_bounded))
        bounded = [f"{n} of {count(len(self.seeds), 'run')} of {name}" for name, n in parts if n]
        if not bounded or self.bound is None:
            return ""
        if self.metric == STEPS:
            return f" Target not reached: {listed(bounded)} (counted as {number(self.bound, 4)} steps)."
        worst = f"{article(self.metric.name)} of {number(self.bound, 3)}, the worst seen"
        return f" Diverged: {listed(bounded)} (counted as {worst})."
