"""What the measurements themselves say against the comparison: each a sentence that a reader must not miss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ravine.comparison._judge.measurements import LOSS, Arm
from ravine.comparison._judge.number_text import count, number
from ravine.comparison._judge.pairs import compare_pairs
from ravine.comparison._judge.selection_bias import winners_curse
from ravine.comparison._judge.values import values_of
from ravine.optim.search import Range

SPECIAL_CASES: Mapping[str, tuple[str, ...]] = {
    "momentum": ("sgd",),
    "nesterov": ("sgd",),
    "adam": ("rmsprop",),
    "adamw": ("adam", "rmsprop"),
}
"""Optimizers, and those that they become at some setting (Choi et al., 2019, https://arxiv.org/abs/1910.05446)."""


@dataclass(frozen=True)
class Warn:
    """Something that the reader of a comparison has to know; ``kind`` for programs, ``sentence`` for people."""

    kind: Literal["target", "seeds", "winner's curse", "under-tuned", "edge", "diverged", "failed", "metric"]
    arm: str
    sentence: str


@dataclass(frozen=True)
class Edge:
    """A hyperparameter whose best value lies at an end of its range."""

    arm: str
    hyperparameter: str
    side: Literal["lower", "upper"]
    value: float
    position: float

    @property
    def sentence(self) -> str:
        beyond = "smaller" if self.side == "lower" else "larger"
        return (
            f"{self.arm}: its best {self.hyperparameter} of {number(self.value, 3)} lies at the {self.side} edge of "
            f"the search space; {beyond} values may be better and were not tried."
        )


def edges(arm: Arm, space: Mapping[str, Range], *, margin: float = 0.05) -> list[Edge]:
    """The hyperparameters of the chosen point that lie at an edge of the space.

    At an edge is a value with none of the tried ones beyond it (of three or more), or within ``margin`` of the range.
    Of K tried points 2 are the outermost, so a hyperparameter without any effect is named in 2 of K studies.
    """
    chosen = arm.chosen
    if chosen is None:
        return []
    found = []
    for name, values in space.items():
        if name not in chosen.point:
            continue
        at = values.share(float(chosen.point[name]))
        tried = {values.share(float(trial.point[name])) for trial in arm.trials if name in trial.point}
        told = len(tried) >= 3
        if values.open("low") and (at <= margin or (told and at == min(tried))):
            found.append(Edge(arm.name, name, "lower", float(chosen.point[name]), at))
        elif at >= 1 - margin or (told and at == max(tried)):
            found.append(Edge(arm.name, name, "upper", float(chosen.point[name]), at))
    return found


def under_tuned(
    arms: Sequence[Arm], special_cases: Mapping[str, Sequence[str]] = SPECIAL_CASES, *, alpha: float = 0.05
) -> list[Warn]:
    """Arms that lose, beyond noise, to an optimizer that they could have become.

    ``special_cases`` is by the arm's name, or by its family: ``torch-adam:eps=1e-6`` is an ``adam``. The final
    validation losses are compared, corrected for the number of such pairs.
    """
    family = [
        (general.name, special.name)
        for general in arms
        for special in arms
        if general is not special and special_cases_match(general.name, special.name, special_cases)
    ]
    if not family:
        return []
    return [
        Warn(
            "under-tuned",
            pair.first,
            f"{pair.first} is under-tuned: it loses to its own special case {pair.second} "
            f"(validation loss {number(pair.difference)} higher), which it could have become. "
            "Give it more points or a wider space before judging it.",
        )
        for pair in compare_pairs(values_of(arms), family, LOSS, alpha=alpha)
        if pair.kind == "worse"
    ]


def special_cases_match(general: str, special: str, special_cases: Mapping[str, Sequence[str]]) -> bool:
    """Whether one of the general arm's special cases is the other, by name or by family."""
    wanted = {name for key in {general, _family(general)} for name in special_cases.get(key, ())}
    return bool(wanted & {special, _family(special)})


def diverged(arm: Arm) -> Warn | None:
    """How many tuning points and confirmation runs diverged; None if none did."""
    points, runs = [t.diverged for t in arm.sweep], [r.diverged for r in arm.runs]
    said = [
        f"{sum(lost)} of {count(len(lost), what)} ({sum(lost) / len(lost):.0%})"
        for lost, what in ((points, "tuning point"), (runs, "confirmation run"))
        if any(lost)
    ]
    return Warn("diverged", arm.name, f"{arm.name} diverged at {' and at '.join(said)}.") if said else None


def warnings_of(
    arms: Sequence[Arm],
    spaces: Mapping[str, Mapping[str, Range]] | None = None,
    special_cases: Mapping[str, Sequence[str]] = SPECIAL_CASES,
) -> list[Warn]:
    """Everything that a reader of these arms must be told; ``spaces`` is arm to hyperparameter to range."""
    said = under_tuned(arms, special_cases) if any(not run.diverged for arm in arms for run in arm.runs) else []
    for arm in arms:
        curse = winners_curse(arm)
        if curse is not None and curse.shown:
            said.append(Warn("winner's curse", arm.name, curse.sentence))
        said += [Warn("edge", arm.name, edge.sentence) for edge in edges(arm, (spaces or {}).get(arm.name, {}))]
        lost = diverged(arm)
        said += [lost] if lost is not None else []
    return said


def _family(name: str) -> str:
    return name.split(":")[0].removeprefix("torch-").split("-")[0]
