"""What the measurements themselves say against the comparison: each a sentence that a reader must not miss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ravine.comparison._judge.measurements import LOSS, OptimizerRuns
from ravine.comparison._judge.number_text import count, number
from ravine.comparison._judge.pairs import compare_pairs
from ravine.comparison._judge.selection_bias import selection_bias_of
from ravine.comparison._judge.values import values_of
from ravine.optim.search import Range

_NONE: Mapping[str, Sequence[str]] = {}


@dataclass(frozen=True)
class WarningNote:
    """Something that the reader of a comparison has to know; ``kind`` for programs, ``sentence`` for people."""

    kind: Literal[
        "target", "seeds", "selection bias", "under-tuned", "edge", "diverged", "failed", "metric", "unfinished"
    ]
    optimizer: str
    sentence: str


@dataclass(frozen=True)
class Edge:
    """A hyperparameter whose best value lies at an end of its range."""

    optimizer: str
    hyperparameter: str
    side: Literal["lower", "upper"]
    value: float
    position: float

    @property
    def sentence(self) -> str:
        beyond = "smaller" if self.side == "lower" else "larger"
        return (
            f"{self.optimizer}: its best {self.hyperparameter}, {number(self.value, 3)}, is at the {self.side} edge of the "
            f"search space; {beyond} values were not tried and may be better."
        )


def edges(optimizer: OptimizerRuns, space: Mapping[str, Range], *, margin: float = 0.05) -> list[Edge]:
    """The hyperparameters of the chosen point that lie at an edge of the space.

    At an edge is a value with none of the tried ones beyond it (of three or more), or within ``margin`` of the range.
    Of K tried points 2 are the outermost, so a hyperparameter without any effect is named in 2 of K studies.
    """
    chosen = optimizer.chosen
    if chosen is None:
        return []
    at_edge = []
    for name, values in space.items():
        if name not in chosen.point:
            continue
        at = values.position(float(chosen.point[name]))
        tried = {values.position(float(trial.point[name])) for trial in optimizer.trials if name in trial.point}
        enough = len(tried) >= 3
        if values.open("low") and (at <= margin or (enough and at == min(tried))):
            at_edge.append(Edge(optimizer.name, name, "lower", float(chosen.point[name]), at))
        elif values.open("high") and (at >= 1 - margin or (enough and at == max(tried))):
            at_edge.append(Edge(optimizer.name, name, "upper", float(chosen.point[name]), at))
    return at_edge


def under_tuned(
    optimizers: Sequence[OptimizerRuns],
    special_cases: Mapping[str, Sequence[str]] = _NONE,
    *,
    alpha: float = 0.05,
) -> list[WarningNote]:
    """Optimizers that lose, beyond noise, to an optimizer that they could have become.

    ``special_cases`` has for an optimizer those that it becomes at some setting (Choi et al., 2019,
    https://arxiv.org/abs/1910.05446), by name or by family: ``torch-adam:eps=1e-6`` is an ``adam``. The final validation
    losses are compared, corrected for the number of such pairs.
    """
    family = [
        (general.name, special.name)
        for general in optimizers
        for special in optimizers
        if general is not special and is_special_case(special, general, special_cases)
    ]
    if not family:
        return []
    return [
        WarningNote(
            "under-tuned",
            pair.first,
            f"{pair.first} is under-tuned: it loses to its own special case {pair.second} "
            f"(validation loss {number(pair.difference)} higher). Tune it with more points or a wider search space "
            "before judging it.",
        )
        for pair in compare_pairs(values_of(optimizers), family, LOSS, alpha=alpha)
        if pair.kind == "worse"
    ]


def is_special_case(special: OptimizerRuns, general: OptimizerRuns, special_cases: Mapping[str, Sequence[str]]) -> bool:
    """Whether the general optimizer becomes the other at some setting, by name or by family."""
    wanted = {name for key in (general.name, _family(general)) for name in special_cases.get(key, ())}
    return bool(wanted & {special.name, _family(special)})


def diverged(optimizer: OptimizerRuns) -> WarningNote | None:
    """How many tuning points and confirmation runs diverged; None if none did."""
    points, runs = [t.diverged for t in optimizer.sweep], [r.diverged for r in optimizer.runs]
    parts = [
        f"{where} {sum(lost)} of {count(len(lost), what)} ({sum(lost) / len(lost):.0%})"
        for lost, where, what in ((points, "at", "tuning point"), (runs, "in", "confirmation run"))
        if any(lost)
    ]
    return (
        WarningNote("diverged", optimizer.name, f"{optimizer.name} diverged {' and '.join(parts)}.") if parts else None
    )


def warnings_of(
    optimizers: Sequence[OptimizerRuns],
    spaces: Mapping[str, Mapping[str, Range]] | None = None,
    special_cases: Mapping[str, Sequence[str]] = _NONE,
) -> list[WarningNote]:
    """Everything that a reader of these optimizers must be told; ``spaces`` is optimizer to hyperparameter to range."""
    notes = (
        under_tuned(optimizers, special_cases)
        if any(not run.diverged for optimizer in optimizers for run in optimizer.runs)
        else []
    )
    for optimizer in optimizers:
        bias = selection_bias_of(optimizer)
        if bias is not None and bias.shown:
            notes.append(WarningNote("selection bias", optimizer.name, bias.sentence))
        notes += [
            WarningNote("edge", optimizer.name, edge.sentence)
            for edge in edges(optimizer, (spaces or {}).get(optimizer.name, {}))
        ]
        lost = diverged(optimizer)
        notes += [lost] if lost is not None else []
    return notes


def _family(optimizer: OptimizerRuns) -> str:
    return (optimizer.kind or optimizer.name).split(":")[0].removeprefix("torch-").split("-")[0]
