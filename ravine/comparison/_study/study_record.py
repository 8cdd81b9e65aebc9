"""A study's record: what was declared and what its trials gave, as the judgement takes it. Knows no report."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ravine.comparison._judge import Arm, Judgement, Measure, Run, Trial, Warn, judge
from ravine.comparison._judge.number_text import count
from ravine.comparison._study.stages import Stage, fresh_job, stage
from ravine.comparison._study.step_seconds import Seconds
from ravine.comparison._study.study_spec import AGAIN_SEEDS, TUNING_SEED, Spec
from ravine.comparison._study.trial import Job, Outcome
from ravine.errors import OptionError
from ravine.optim._spec import OptimizerSpec

#: Metrics of which more is better; of any other, less.
HIGHER_IS_BETTER = ("accuracy",)


@dataclass(frozen=True)
class About:
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

    def rerun(self, key: str) -> str:
        """The command that runs one training again and compares."""
        return shlex.join(["ravine", "worker", "--study", self.study, "--storage", self.storage, "--rerun", key])


@dataclass(frozen=True, eq=False)
class StudyRecord:
    """What was declared, and what was measured so far.

    Attributes:
        spec: what was declared.
        outcomes: what each training gave, by its key.
        seconds: of a step, measured alone, by optimizer; empty where that was not done.
        about: where it comes from.
        optimizers: the spec's by label, parsed; what is not here has no formula in a report.
    """

    spec: Spec
    outcomes: Mapping[str, Outcome]
    seconds: Mapping[str, Seconds] = field(default_factory=dict)
    about: About = field(default_factory=About)
    optimizers: Mapping[str, OptimizerSpec] = field(default_factory=dict)

    @cached_property
    def stage(self) -> Stage:
        """How far the study is."""
        return stage(self.spec, self.outcomes)

    @cached_property
    def jobs(self) -> list[tuple[Job, Outcome]]:
        """The trainings that are done, tuning first, in the order of the spec."""
        found = []
        for tuning in self.stage.tunings:
            label = tuning.arm.label
            wanted = [Job(label, p, seed, "tune") for p in tuning.points for seed in (TUNING_SEED, *AGAIN_SEEDS)]
            point = self.stage.chosen.get(label)
            if point is not None:
                wanted += [fresh_job(label, point, i) for i in range(self.spec.seeds)]
            found += [(job, self.outcomes[key]) for job in wanted if (key := job.key(self.spec)) in self.outcomes]
        return found

    @cached_property
    def arms(self) -> list[Arm]:
        """What was measured of each optimizer."""
        return [
            Arm(
                arm.label,
                [
                    Trial(j.point, j.seed, o.score, o.diverged)
                    for j, o in self.jobs
                    if (j.label, j.kind) == (arm.label, "tune")
                ],
                [
                    Run(j.seed, o.steps, o.losses, o.score, _plain(o.metrics), o.diverged)
                    for j, o in self.jobs
                    if (j.label, j.kind) == (arm.label, "confirm")
                ],
                self.stage.chosen.get(arm.label),
            )
            for arm in self.spec.arms
        ]

    def judge(self, reference: str | None = None, **options: Any) -> Judgement:
        """The judgement; the target is that of ``reference``, or of the spec's.

        Raises:
            OptionError: the study is not complete.
        """
        if self.stage.name != "done":
            left = self.stage.total - len(self.stage.jobs)
            raise OptionError(
                f"The study is not complete: {self.stage.name}, {left} of {self.stage.total} done. Go on with it first."
            )
        names = dict.fromkeys(name for arm in self.arms for run in arm.runs for name in run.metrics)
        runs = [run for arm in self.arms for run in arm.runs if not run.diverged]
        lacking = {name: sum(not math.isfinite(run.metrics.get(name, math.nan)) for run in runs) for name in names}
        metrics = [Measure(name, name in HIGHER_IS_BETTER) for name in names if not lacking[name]]
        said = [
            Warn("metric", "", f"{name} is no number in {lost} of {len(runs)} runs, so it is not compared.")
            for name, lost in lacking.items()
            if lost
        ]
        for arm in self.spec.arms:
            errors = [o.error for j, o in self.jobs if j.label == arm.label and o.error]
            if errors:
                last = errors[-1].strip().rpartition("\n")[2]
                text = f"{count(len(errors), 'training')} of {arm.label} raised an error, which counts as divergence: {last}"
                said.append(Warn("failed", arm.label, text))
        found = judge(
            self.arms,
            reference=reference or self.spec.reference or self.spec.arms[0].label,
            metrics=metrics,
            spaces={t.arm.label: t.space for t in self.stage.tunings},
            **options,
        )
        return replace(found, warnings=[*said, *found.warnings])


def _plain(metrics: Mapping[str, float]) -> dict[str, float]:
    """The names of metrics as they stand in sentences."""
    return {name.replace("_", " "): value for name, value in metrics.items()}
