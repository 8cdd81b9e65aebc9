"""A study's record: what was declared and what its trials gave, as the judgement takes it. Knows no report."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ravine.comparison._judge import (
    ConfirmationRun,
    Judgement,
    Metric,
    OptimizerRuns,
    TuningTrial,
    WarningNote,
    judge,
)
from ravine.comparison._judge.number_text import count
from ravine.comparison._study.stages import Stage, final_trial, stage
from ravine.comparison._study.step_seconds import StepSeconds
from ravine.comparison._study.study_progress import StudyProgress, progress_of
from ravine.comparison._study.study_spec import REEVALUATION_SEEDS, TUNING_SEED, StudySpec
from ravine.comparison._study.trial import Trial, TrialResult
from ravine.errors import OptionError
from ravine.optim._spec import OptimizerSpec, special_cases

#: Metrics of which more is better; of any other, less.
HIGHER_IS_BETTER = ("accuracy",)


@dataclass(frozen=True, repr=False)
class StudyOrigin:
    """Where a study comes from, for those who read of it.

    Attributes:
        study, storage: its name, and the storage without a password.
        command: what makes the study again.
        machine: where the seconds were measured: processor, system, Python.
    """

    study: str = ""
    storage: str = ""
    command: str = ""
    machine: str = ""

    def __repr__(self) -> str:
        return f"StudyOrigin({self.study!r} in {self.storage!r})"

    def rerun(self, key: str) -> str:
        """The command that runs one trial again and compares."""
        return shlex.join(["ravine", "worker", "--study", self.study, "--storage", self.storage, "--rerun", key])


@dataclass(frozen=True, eq=False, repr=False)
class StudyRecord:
    """What was declared, and what was measured so far.

    Attributes:
        spec: what was declared.
        results: what each trial gave, by its key.
        seconds: of a step, measured alone, by optimizer; empty where that was not done.
        origin: where it comes from.
        optimizers: the spec's by label, parsed; what is not here has no formula in a report.
    """

    spec: StudySpec
    results: Mapping[str, TrialResult]
    seconds: Mapping[str, StepSeconds] = field(default_factory=dict)
    origin: StudyOrigin = field(default_factory=StudyOrigin)
    optimizers: Mapping[str, OptimizerSpec] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"StudyRecord({self.spec!r}, {len(self.results)} results)"

    @cached_property
    def stage(self) -> Stage:
        """How far the study is."""
        return stage(self.spec, self.results)

    @property
    def progress(self) -> StudyProgress:
        """How many of its trainings are done."""
        return progress_of(self.spec, self.stage, self.results)

    @cached_property
    def trials(self) -> list[tuple[Trial, TrialResult]]:
        """The trials that are done, tuning first, in the order of the spec."""
        done = []
        for tuning in self.stage.tunings:
            label = tuning.config.label
            wanted = [
                Trial(label, p, seed, "tune") for p in tuning.points for seed in (TUNING_SEED, *REEVALUATION_SEEDS)
            ]
            point = self.stage.chosen.get(label)
            if point is not None:
                wanted += [final_trial(label, point, i) for i in range(self.spec.seeds)]
            done += [(trial, self.results[key]) for trial in wanted if (key := trial.key(self.spec)) in self.results]
        return done

    @cached_property
    def finished_seeds(self) -> frozenset[int]:
        """The fresh seeds that every optimizer has finished: what can be compared, also while a study still runs."""
        seeds: dict[str, set[int]] = {config.label: set() for config in self.spec.optimizers}
        for trial, _ in self.trials:
            if trial.kind == "final":
                seeds[trial.label].add(trial.seed)
        return frozenset.intersection(*map(frozenset, seeds.values()))

    @property
    def seeds_to_judge(self) -> int:
        """How many fresh seeds every optimizer must have finished before anything can be judged."""
        return min(self.spec.seeds, 2)

    @property
    def judgeable(self) -> bool:
        """Whether there is enough to judge."""
        return len(self.finished_seeds) >= self.seeds_to_judge

    @cached_property
    def runs(self) -> list[OptimizerRuns]:
        """What was measured of each optimizer; of the fresh seeds those that all have finished, so that all are paired."""
        tuning: dict[str, list[TuningTrial]] = {config.label: [] for config in self.spec.optimizers}
        final: dict[str, list[ConfirmationRun]] = {label: [] for label in tuning}
        for t, r in self.trials:
            if t.kind == "tune":
                tuning[t.label].append(TuningTrial(t.point, t.seed, r.score, r.diverged))
            elif t.seed in self.finished_seeds:
                metrics = _plain(r.metrics)
                final[t.label].append(ConfirmationRun(t.seed, r.steps, r.losses, r.score, metrics, r.diverged))
        chosen = self.stage.chosen
        kinds = {label: spec.name for label, spec in self.optimizers.items()}
        return [
            OptimizerRuns(label, tuning[label], final[label], chosen.get(label), kinds.get(label, ""))
            for label in tuning
        ]

    def judge(self, reference: str | None = None, **options: Any) -> Judgement:
        """The judgement; the target is that of ``reference``, or of the spec's.

        Raises:
            OptionError: there is too little to judge.
        """
        if not self.judgeable:
            raise OptionError(f"Nothing can be judged yet: {self.progress.sentence} {self.missing_text}")
        names = dict.fromkeys(name for each in self.runs for run in each.runs for name in run.metrics)
        finished = [run for each in self.runs for run in each.runs if not run.diverged]
        missing = {n: sum(not math.isfinite(run.metrics.get(n, math.nan)) for run in finished) for n in names}
        metrics = [Metric(name, name in HIGHER_IS_BETTER) for name in names if not missing[name]]
        notes = [
            WarningNote("metric", "", f"{name} is not a number in {n} of {len(finished)} runs, so it is not compared.")
            for name, n in missing.items()
            if n
        ]
        judgement = judge(
            self.runs,
            reference=reference or self.spec.reference or self.spec.optimizers[0].label,
            metrics=metrics,
            spaces={t.config.label: t.space for t in self.stage.tunings},
            **{"special_cases": special_cases(), **options},
        )
        return replace(judgement, warnings=[*self._unfinished(), *notes, *self._failures(), *judgement.warnings])

    @property
    def missing_text(self) -> str:
        """What a study needs before it can be judged, in a sentence."""
        needed, have = count(self.seeds_to_judge, "fresh seed"), len(self.finished_seeds)
        return f"A judgement needs {needed} that every optimizer has finished; there {'is' if have == 1 else 'are'} {have}."

    def _unfinished(self) -> list[WarningNote]:
        """A warning where the study still runs."""
        if self.stage.name == "done":
            return []
        used = count(len(self.finished_seeds), "fresh seed")
        text = f"The study is not complete: {self.progress.sentence} Judged by the {used} that every optimizer has finished."
        return [WarningNote("unfinished", "", text)]

    def _failures(self) -> list[WarningNote]:
        """A warning for each optimizer with trainings that raised an error."""
        notes = []
        for config in self.spec.optimizers:
            errors = [r.error for t, r in self.trials if t.label == config.label and r.error]
            if errors:
                last = errors[-1].strip().rpartition("\n")[2]
                trainings = count(len(errors), "training")
                text = f"{trainings} of {config.label} raised an error, which counts as diverged: {last}"
                notes.append(WarningNote("failed", config.label, text))
        return notes


def _plain(metrics: Mapping[str, float]) -> dict[str, float]:
    """The names of metrics as they stand in sentences."""
    return {name.replace("_", " "): value for name, value in metrics.items()}
