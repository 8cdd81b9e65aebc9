"""Everything that a report shows, computed once: page, text, pictures and terminal are pure functions of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ravine.comparison._judge import Judgement, OptimizerRuns, StepsToTarget
from ravine.comparison._judge.number_text import diverged_text
from ravine.comparison._report.difference_data import Differences, differences
from ravine.comparison._report.figure_data import (
    Band,
    Sensitivity,
    Summary,
    bands,
    budget_limits,
    budget_points,
    ceiling,
    curves_ceiling,
    figure_names,
    horizon,
    hyperparameters,
    sensitivity,
    summary,
    update_ratios,
)
from ravine.comparison._report.optimizer_formulas import Formula, formulas
from ravine.comparison._study.step_seconds import StepSeconds
from ravine.comparison._study.study_progress import SettledEarly
from ravine.comparison._study.study_record import StudyOrigin, StudyRecord
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import Trial, TrialResult
from ravine.optim.search import Range


@dataclass(frozen=True, eq=False, repr=False)
class ResultRow:
    """What an optimizer reached, over its fresh runs, each at the best point of its own tuning.

    Attributes:
        label: the optimizer.
        point: the chosen point of the run in the middle; empty where nothing was searched.
        runs, diverged: how many fresh runs there are, and how many of them diverged.
        steps: how many steps each run took to the target; None without a target.
        loss: the validation loss at the end, of the runs that did not diverge.
        metrics: by name, the numbers on the test data of the same runs.
        seconds: of a step; None where that was not measured.
        tuning_diverged: how much of the tuning points diverged, from 0 to 1; None where there are none.
    """

    label: str
    point: Mapping[str, float]
    runs: int
    diverged: int
    steps: StepsToTarget | None
    loss: Summary
    metrics: Mapping[str, Summary]
    seconds: StepSeconds | None
    tuning_diverged: float | None

    def __repr__(self) -> str:
        return f"ResultRow({self.label!r} at {dict(self.point)}, {self.runs} runs)"

    @property
    def diverged_text(self) -> str:
        """``diverged in 4 of 5 runs``; empty if none did."""
        return diverged_text(self.diverged, self.runs) if self.diverged else ""


@dataclass(frozen=True)
class SearchedRange:
    """Where a hyperparameter was looked for.

    Attributes:
        name: the hyperparameter.
        declared, expanded: its range as declared and as expanded.
        chosen: the median of the values that tunings chose, and the least and the largest of them; NaN without.
    """

    name: str
    declared: Range
    expanded: Range
    chosen: tuple[float, float, float]


@dataclass(frozen=True, repr=False)
class OptimizerEntry:
    """An optimizer of the study: its formula, and what was given and searched.

    Attributes:
        label: how it was written.
        formula: what one step computes at the chosen point.
        given: options that stand in its label, the same in all trainings.
        searched: a range for each hyperparameter that was searched.
        points: how many points each tuning tried.
        edge: where most best points still lie at an edge; empty if they do not.
    """

    label: str
    formula: Formula
    given: Mapping[str, str]
    searched: Sequence[SearchedRange]
    points: int
    edge: str

    def __repr__(self) -> str:
        return f"OptimizerEntry({self.label!r}, {self.points} points)"


@dataclass(frozen=True)
class TrialRow:
    """A training that is done, and the name under which it is kept."""

    trial: Trial
    result: TrialResult
    key: str


@dataclass(frozen=True, eq=False, repr=False)
class ReportData:
    """Everything that a report shows.

    Attributes:
        spec, origin: what was declared, and where the study comes from.
        judgement: what the study shows.
        settled_early: what it saved by ending before its last look; None if it did not.
        results: a row for each optimizer, by validation loss as the verdict has them.
        curves: the losses of the fresh runs on the way, by optimizer; one whose runs all diverged is left out.
        sensitivity: the scores of tuning by hyperparameter, the learning rate first.
        ceiling: a loss above which a training has failed and stretches no picture.
        curves_ceiling: the same for a picture of the curves, which show no tuning.
        horizon: the steps that a run was given to reach the target; NaN without a target.
        differences: each optimizer against the best of the others, by metric.
        budget_limits: between which losses a picture of the budgets reaches.
        budget_points: the numbers of points that any optimizer has a loss for.
        update_ratios: update over parameter, by optimizer and parameter; only of optimizers that are watched.
        watched: the names of the parameters in them, in the order of the model.
        optimizers: an entry for each, in the order of the spec.
        trials: all trainings that are done, tuning first.
        figures: the names of the figures that there are numbers for.
    """

    spec: StudySpec
    origin: StudyOrigin
    judgement: Judgement
    settled_early: SettledEarly | None
    results: Sequence[ResultRow]
    curves: Mapping[str, Band]
    sensitivity: Mapping[str, Sensitivity]
    ceiling: float
    curves_ceiling: float
    horizon: float
    differences: Mapping[str, Differences]
    budget_limits: tuple[float, float]
    budget_points: Sequence[int]
    update_ratios: Mapping[str, Mapping[str, float]]
    watched: Sequence[str]
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
    runs = {each.name: each for each in record.judged_runs}
    searched = hyperparameters(record.spec)
    curves, ratios = bands(record.judged_runs), update_ratios(record.trials, record.judged_runs)
    by_hyper = {name: sensitivity(record.spec, record.judged_runs, name) for name in searched}
    return ReportData(
        spec=record.spec,
        origin=record.origin,
        judgement=judgement,
        settled_early=record.settled_early,
        results=[_result(runs[label], judgement, record.seconds.get(label)) for label in judgement.ranked],
        curves=curves,
        sensitivity=by_hyper,
        ceiling=ceiling(record.trials),
        curves_ceiling=curves_ceiling(curves),
        horizon=horizon(judgement),
        differences=differences(judgement.compared),
        budget_limits=budget_limits(judgement),
        budget_points=budget_points(judgement),
        update_ratios=ratios,
        watched=list(dict.fromkeys(name for rows in ratios.values() for name in rows)),
        optimizers=_optimizers(record, by_hyper),
        trials=[TrialRow(trial, result, trial.key(record.spec)) for trial, result in record.trials],
        figures=figure_names(judgement, searched),
    )


def _result(measured: OptimizerRuns, judgement: Judgement, seconds: StepSeconds | None) -> ResultRow:
    runs = [run for run in measured.runs if not run.diverged]
    names = dict.fromkeys(name for run in measured.runs for name in run.metrics)
    return ResultRow(
        measured.name,
        measured.typical,
        len(measured.runs),
        len(measured.runs) - len(runs),
        judgement.steps.get(measured.name),
        summary([run.score for run in runs]),
        {name: summary([run.metrics[name] for run in runs if name in run.metrics]) for name in names},
        seconds,
        sum(t.diverged for t in measured.trials) / len(measured.trials) if measured.trials else None,
    )


def _optimizers(record: StudyRecord, by_hyper: Mapping[str, Sensitivity]) -> list[OptimizerEntry]:
    stage, by_label = record.stage, formulas(record)
    entries = []
    for config, tuning in zip(record.spec.optimizers, stage.tunings, strict=True):
        label = config.label
        searched = []
        for name, declared in config.space.items():
            tried = by_hyper[name].tried.get(label)
            searched.append(
                SearchedRange(name, declared, tuning.space[name], tried.chosen if tried else (math.nan,) * 3)
            )
        spec = record.optimizers.get(label)
        given = {} if spec is None else {name: str(value) for name, value in spec.given.items()}
        points, edge = len(tuning.points(0)), stage.edges.get(label, "")
        entries.append(OptimizerEntry(label, by_label[label], given, searched, points, edge))
    return entries
