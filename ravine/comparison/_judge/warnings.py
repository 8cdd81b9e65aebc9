"""What the measurements themselves say against the comparison: each a sentence that a reader must not miss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

from ravine.comparison._judge.measurements import OptimizerRuns
from ravine.comparison._judge.number_text import count, listed, number, ratio_text
from ravine.comparison._judge.selection_bias import selection_bias_of
from ravine.comparison._judge.values import Values
from ravine.comparison._judge.with_best import WithBest
from ravine.optim.search import Range

#: By optimizer those that it becomes, each with the values of the hyperparameters that lead there.
SpecialCases = Mapping[str, Mapping[str, Mapping[str, float]]]
_NONE: SpecialCases = {}


@dataclass(frozen=True)
class WarningNote:
    """Something that the reader of a comparison has to know; ``kind`` for programs, ``sentence`` for people."""

    kind: Literal[
        "target",
        "seeds",
        "selection bias",
        "under-tuned",
        "edge",
        "diverged",
        "spread",
        "failed",
        "metric",
        "broadcast",
        "unfinished",
        "extended",
    ]
    optimizer: str
    sentence: str


@dataclass(frozen=True)
class Edge:
    """A hyperparameter whose best value lies at an end of its range in most tunings."""

    optimizer: str
    hyperparameter: str
    side: Literal["lower", "upper"]
    tunings: int
    total: int

    @property
    def sentence(self) -> str:
        beyond = "smaller" if self.side == "lower" else "larger"
        return (
            f"{self.optimizer}: in {self.tunings} of {count(self.total, 'tuning')} the best {self.hyperparameter} is at the "
            f"{self.side} edge of the search space; {beyond} values were not tried and may be better."
        )


def edges(optimizer: OptimizerRuns, space: Mapping[str, Range], *, near: float = 0.05) -> list[Edge]:
    """The hyperparameters that more than half of the runs have at an edge of the space.

    At an edge is a value within ``near`` of the range's end, or beyond it.
    """
    at_edge = []
    for name, values in space.items():
        places = [values.position(float(run.point[name])) for run in optimizer.runs if name in run.point]
        for side, end in (("lower", "low"), ("upper", "high")):
            there = sum(place <= near if side == "lower" else place >= 1 - near for place in places)
            if values.open(end) and 2 * there > len(places):  # type: ignore[arg-type]
                at_edge.append(Edge(optimizer.name, name, side, there, len(places)))  # type: ignore[arg-type]
    return at_edge


def under_tuned(
    optimizers: Sequence[OptimizerRuns],
    losses: WithBest | None,
    special_cases: SpecialCases = _NONE,
    spaces: Mapping[str, Mapping[str, Range]] | None = None,
    *,
    ratio: bool = False,
) -> list[WarningNote]:
    """Optimizers that lose, beyond noise and by more than the margin may be, to an optimizer that they could have become.

    ``special_cases`` has for an optimizer those that it becomes, and at which setting (Choi et al., 2019,
    https://arxiv.org/abs/1910.05446), by name or by family: ``torch-adam:eps=1e-6`` is an ``adam``. It could become only
    those whose setting lies in its space. The intervals are those of the verdict.
    """
    if losses is None:
        return []
    notes = []
    for general in optimizers:
        space = None if spaces is None else spaces.get(general.name, {})
        for special in optimizers:
            if general is special or not could_become(general, special, special_cases, space):
                continue
            difference, low, high = losses.pairs[general.name, special.name]
            if low > 0 and high > losses.margin:
                gap = (
                    f"{ratio_text(float(np.exp(difference)))} times as high"
                    if ratio
                    else f"{number(difference)} higher"
                )
                text = (
                    f"{general.name} is under-tuned: it loses to its own special case {special.name} (validation loss "
                    f"{gap}). Tune it with more points or a wider search space before judging it."
                )
                notes.append(WarningNote("under-tuned", general.name, text))
    return notes


def unequal_spread(values: Mapping[str, Values], alpha: float = 0.05) -> WarningNote | None:
    """That the runs of one optimizer vary more than those of another (Brown and Forsythe, 1974); None if not shown.

    A difference of spread is said as that, and is no difference of level. Runs that diverged do not count.
    """
    trained = {
        name: [v for seed, v in each.numbers.items() if seed not in each.bounded] for name, each in values.items()
    }
    arrays = {name: np.array(numbers) for name, numbers in trained.items() if len(numbers) > 2}
    if len(arrays) < 2 or sum(bool(np.ptp(a)) for a in arrays.values()) < 2:
        return None
    if scipy.stats.levene(*arrays.values(), center="median").pvalue >= alpha:
        return None
    spreads = sorted((float(a.std(ddof=1)), name) for name, a in arrays.items() if np.ptp(a))
    (least, steady), (most, wild) = spreads[0], spreads[-1]
    if most < 2 * least:
        return None
    times = number(most / least)
    return WarningNote("spread", wild, f"The runs of {wild} vary {times} times as much as those of {steady}.")


def could_become(
    general: OptimizerRuns,
    special: OptimizerRuns,
    special_cases: SpecialCases,
    space: Mapping[str, Range] | None = None,
) -> bool:
    """Whether an optimizer becomes the other, by name or by family, at a setting that lies in its space; None: anywhere."""
    names = {special.name, _family(special)}
    cases = [special_cases.get(key, {}) for key in (general.name, _family(general))]
    settings = [setting for case in cases for name, setting in case.items() if name in names]
    if space is None:
        return bool(settings)
    return any(
        all(name in space and space[name].low <= value <= space[name].high for name, value in setting.items())
        for setting in settings
    )


def diverged(optimizer: OptimizerRuns) -> WarningNote | None:
    """How many tuning points and fresh runs diverged, the runs with the exact 95% interval; None if none did."""
    points, runs = [t.diverged for t in optimizer.trials], [r.diverged for r in optimizer.runs]
    parts = [
        f"{where} {sum(lost)} of {count(len(lost), what)} ({sum(lost) / len(lost):.0%})"
        for lost, where, what in ((points, "at", "tuning point"), (runs, "in", "fresh run"))
        if any(lost)
    ]
    if any(runs):
        share = scipy.stats.binomtest(sum(runs), len(runs)).proportion_ci(0.95)
        parts[-1] = f"{parts[-1][:-1]}, 95% interval {share.low:.0%} to {share.high:.0%})"
    return (
        WarningNote("diverged", optimizer.name, f"{optimizer.name} diverged {' and '.join(parts)}.") if parts else None
    )


def warnings_of(
    optimizers: Sequence[OptimizerRuns],
    losses: WithBest | None,
    spaces: Mapping[str, Mapping[str, Range]] | None = None,
    special_cases: SpecialCases = _NONE,
    *,
    ratio: bool = False,
) -> list[WarningNote]:
    """Everything that a reader of these optimizers must be told; ``spaces`` is optimizer to hyperparameter to range."""
    notes = under_tuned(optimizers, losses, special_cases, spaces, ratio=ratio)
    # of losses that are compared as ratios a mean difference says little
    some = [] if ratio else [selection_bias_of(each) for each in optimizers]
    biases = [bias for bias in some if bias is not None and bias.shown]
    if len(biases) == 1:
        notes.append(WarningNote("selection bias", biases[0].name, biases[0].sentence))
    elif biases:
        parts = [f"{number(bias.bias)} of that of {bias.name}" for bias in biases]
        text = f"Part of the best tuning scores is luck: {listed(parts)}. Quote the scores of fresh runs."
        notes.append(WarningNote("selection bias", "", text))
    for optimizer in optimizers:
        notes += [
            WarningNote("edge", optimizer.name, edge.sentence)
            for edge in edges(optimizer, (spaces or {}).get(optimizer.name, {}))
        ]
        lost = diverged(optimizer)
        notes += [lost] if lost is not None else []
    return notes


def _family(optimizer: OptimizerRuns) -> str:
    return (optimizer.kind or optimizer.name).split(":")[0].removeprefix("torch-").split("-")[0]
