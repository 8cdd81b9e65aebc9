"""Everything that a report shows, computed once: page, text, pictures and terminal are pure functions of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ravine.comparison._judge import Arm, Judgement, StepsToTarget
from ravine.comparison._report.figure_data import (
    Band,
    Sensitivity,
    bands,
    ceiling,
    figure_names,
    hyperparameters,
    ranked,
    sensitivity,
    update_ratios,
)
from ravine.comparison._report.optimizer_formulas import Formula, formulas
from ravine.comparison._study.step_seconds import Seconds
from ravine.comparison._study.study_record import About, StudyRecord
from ravine.comparison._study.study_spec import Spec
from ravine.comparison._study.trial import Job, Outcome
from ravine.optim.search import Range


@dataclass(frozen=True, eq=False)
class ResultRow:
    """What an optimizer reached at its best point, over its fresh runs.

    Attributes:
        label: the optimizer.
        point: the best point of its search space; empty where nothing was searched or chosen.
        runs: how many fresh runs there are.
        steps: how many steps each run took to the target; None without a target.
        losses: the validation losses at the end, of the runs that did not diverge.
        metrics: by name, the numbers on the test data of the same runs.
        seconds: of a step; None where that was not measured.
        tuning_diverged: the share of the points of the first round that diverged; None where there are none.
    """

    label: str
    point: Mapping[str, float]
    runs: int
    steps: StepsToTarget | None
    losses: Sequence[float]
    metrics: Mapping[str, Sequence[float]]
    seconds: Seconds | None
    tuning_diverged: float | None


@dataclass(frozen=True)
class SearchedRange:
    """Where a hyperparameter was looked for: its range as declared and as widened, and the chosen value, if any."""

    name: str
    declared: Range
    widened: Range
    chosen: float | None


@dataclass(frozen=True)
class OptimizerEntry:
    """An optimizer of the study: its formula, and what was given and searched.

    Attributes:
        label: how it was written.
        formula: what one step computes at the chosen point.
        given: options that stand in its label, the same in all trainings.
        searched: a range for each hyperparameter that was searched.
        points: how many points were tried.
        edge: where the best point still lies at an edge; empty if it does not.
    """

    label: str
    formula: Formula
    given: Mapping[str, str]
    searched: Sequence[SearchedRange]
    points: int
    edge: str


@dataclass(frozen=True)
class TrialRow:
    """A training that is done, and the name under which it is kept."""

    job: Job
    outcome: Outcome
    key: str


@dataclass(frozen=True, eq=False, repr=False)
class ReportData:
    """Everything that a report shows.

    Attributes:
        spec, about: what was declared, and where the study comes from.
        judgement: what the study shows.
        results: a row for each optimizer, the best first.
        curves: the losses of the fresh runs on the way, by optimizer; one whose runs all diverged is left out.
        sensitivity: the scores of tuning by hyperparameter, the learning rate first.
        ceiling: a loss above which a training has failed and stretches no picture.
        update_ratios: update over parameter, by optimizer and parameter; only of optimizers that are watched.
        optimizers: an entry for each, in the order of the spec.
        trials: all trainings that are done, tuning first.
        figures: the names of the figures that there are numbers for.
    """

    spec: Spec
    about: About
    judgement: Judgement
    results: Sequence[ResultRow]
    curves: Mapping[str, Band]
    sensitivity: Mapping[str, Sensitivity]
    ceiling: float
    update_ratios: Mapping[str, Mapping[str, float]]
    optimizers: Sequence[OptimizerEntry]
    trials: Sequence[TrialRow]
    figures: Sequence[str]

    @property
    def labels(self) -> list[str]:
        """The optimizers in the order of the spec."""
        return [entry.label for entry in self.optimizers]

    @property
    def ranked(self) -> list[str]:
        """The optimizers, the best first."""
        return [row.label for row in self.results]

    def result(self, label: str) -> ResultRow:
        """The results of the optimizer of that label."""
        return next(row for row in self.results if row.label == label)

    def __repr__(self) -> str:
        return f"ReportData({self.spec.task!r}, {len(self.optimizers)} optimizers, {len(self.trials)} trials)"


def report_data(record: StudyRecord, judgement: Judgement) -> ReportData:
    """The data of a study's report.

    Args:
        record: a complete study.
        judgement: what it says.
    """
    arms = {arm.name: arm for arm in record.arms}
    searched = hyperparameters(record.spec)
    return ReportData(
        spec=record.spec,
        about=record.about,
        judgement=judgement,
        results=[_result(arms[label], judgement, record.seconds.get(label)) for label in ranked(judgement)],
        curves=bands(record.arms),
        sensitivity={name: sensitivity(record.spec, record.arms, name) for name in searched},
        ceiling=ceiling(record.jobs),
        update_ratios=update_ratios(record.jobs),
        optimizers=_optimizers(record),
        trials=[TrialRow(job, outcome, job.key(record.spec)) for job, outcome in record.jobs],
        figures=figure_names(judgement, searched),
    )


def _result(arm: Arm, judgement: Judgement, seconds: Seconds | None) -> ResultRow:
    runs = [run for run in arm.runs if not run.diverged]
    names = dict.fromkeys(name for run in arm.runs for name in run.metrics)
    sweep = arm.sweep
    return ResultRow(
        arm.name,
        arm.point or {},
        len(arm.runs),
        judgement.steps.get(arm.name),
        [run.score for run in runs],
        {name: [run.metrics[name] for run in runs if name in run.metrics] for name in names},
        seconds,
        sum(t.diverged for t in sweep) / len(sweep) if sweep else None,
    )


def _optimizers(record: StudyRecord) -> list[OptimizerEntry]:
    stage, found = record.stage, formulas(record)
    entries = []
    for arm, tuning in zip(record.spec.arms, stage.tunings, strict=True):
        point = stage.chosen.get(arm.label, {})
        searched = [SearchedRange(n, r, tuning.space[n], point.get(n)) for n, r in arm.space.items()]
        edge = stage.edges.get(arm.label, "")
        spec = record.optimizers.get(arm.label)
        given = {} if spec is None else {name: str(value) for name, value in spec.given.items()}
        entries.append(OptimizerEntry(arm.label, found[arm.label], given, searched, len(tuning.points), edge))
    return entries
