"""A study's record: what was declared and what its trials gave, as the judgement takes it. Knows no report."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ravine.comparison._judge import Judgement, Metric, OptimizerRuns, WarningNote, WithBest, judge
from ravine.comparison._judge.number_text import count
from ravine.comparison._study.measured import measured_runs
from ravine.comparison._study.stages import Stage, final_trials, stage
from ravine.comparison._study.step_seconds import StepSeconds
from ravine.comparison._study.study_progress import SettledEarly, StudyProgress, progress_of, settled_early
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import Trial, TrialResult
from ravine.comparison._study.tuning import short_trial, tuning_trial
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
        broadcast: that the task's loss broadcasts outputs against targets, in a sentence; empty if it does not.
    """

    spec: StudySpec
    results: Mapping[str, TrialResult]
    seconds: Mapping[str, StepSeconds] = field(default_factory=dict)
    origin: StudyOrigin = field(default_factory=StudyOrigin)
    optimizers: Mapping[str, OptimizerSpec] = field(default_factory=dict)
    broadcast: str = ""

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

    @property
    def settled_early(self) -> SettledEarly | None:
        """What it saved by ending before its last look; None if it did not."""
        return settled_early(self.spec, self.stage, {each.name: len(each.runs) for each in self.runs})

    @cached_property
    def trials(self) -> list[tuple[Trial, TrialResult]]:
        """The trials that are done, by optimizer in the order of the spec, tuning first."""
        done = []
        for t in self.stage.tunings:
            label, seeds = t.config.label, range(self.spec.seeds)
            tries = [short_trial, tuning_trial] if self.spec.halving else [tuning_trial]
            wanted = [try_it(self.spec, label, p, n) for try_it in tries for n in seeds for p in t.points(n)]
            tuned = next((n for n in seeds if not t.complete(self.spec, n, self.results)), self.spec.seeds)
            wanted += final_trials(self.spec, [t], tuned, self.results)
            done += [(trial, self.results[key]) for trial in wanted if (key := trial.key(self.spec)) in self.results]
        return done

    @cached_property
    def runs(self) -> list[OptimizerRuns]:
        """What was measured of each optimizer with the seeds that it has finished."""
        kinds = {label: spec.name for label, spec in self.optimizers.items()}
        return measured_runs(self.spec, self.stage.tunings, self.results, self.spec.seeds, kinds)

    @property
    def finished_seeds(self) -> int:
        """How many seeds every optimizer has finished."""
        return min(len(each.runs) for each in self.runs)

    @property
    def looks(self) -> tuple[int, ...]:
        """The looks that the judgement takes: those that were planned; before the first, one at what there is."""
        return self.spec.looks if self.finished_seeds >= self.spec.looks[0] else (self.finished_seeds,)

    @property
    def seeds_to_judge(self) -> int:
        """How many seeds every optimizer must have finished before anything can be judged."""
        return min(self.spec.seeds, 2)

    @property
    def judgeable(self) -> bool:
        """Whether there is enough to judge."""
        return self.finished_seeds >= self.seeds_to_judge

    def judge(self, **options: Any) -> Judgement:
        """The judgement; ``options`` are those of ``ravine.comparison._judge.judge``.

        Raises:
            OptionError: there is too little to judge.
        """
        if not self.judgeable:
            raise OptionError(f"Nothing can be judged yet: {self.progress.sentence} {self.missing_text}")
        runs = self.judged_runs
        names = dict.fromkeys(name for each in runs for run in each.runs for name in run.metrics)
        finished = [run for each in runs for run in each.runs if not run.diverged]
        missing = {n: sum(not math.isfinite(run.metrics.get(n, math.nan)) for run in finished) for n in names}
        metrics = [Metric(name, name in HIGHER_IS_BETTER) for name in names if not missing[name]]
        notes = [
            WarningNote("metric", "", f"{name} is not a number in {n} of {len(finished)} runs, so it is not compared.")
            for name, n in missing.items()
            if n
        ]
        judgement = judge(
            runs,
            looks=self.looks,
            metrics=metrics,
            spaces={t.config.label: t.space for t in self.stage.tunings},
            **{
                "margin": self.spec.margin,
                "ratio": self.spec.ratio,
                "special_cases": special_cases(),
                **options,
            },
        )
        sentence = judgement.sentence
        if self.finished_seeds < self.spec.looks[0] and judgement.losses is not None:
            sentence = self._no_verdict(judgement.losses)
            compared = {
                name: replace(each, with_best=each.with_best.without_verdict())
                for name, each in judgement.compared.items()
            }
            judgement = replace(judgement, compared=compared)
        seen = [WarningNote("broadcast", "", self.broadcast)] if self.broadcast else []
        warnings = [*seen, *self._unfinished(), *self._extended(), *notes, *self._failures(), *judgement.warnings]
        return replace(judgement, sentence=sentence, warnings=warnings)

    def _no_verdict(self, losses: WithBest) -> str:
        lowest = min(losses.standings, key=lambda s: s.difference).name
        first, have = count(self.spec.looks[0], "seed"), count(self.finished_seeds, "seed")
        return (
            f"There is no verdict before {first}; {have} {'is' if self.finished_seeds == 1 else 'are'} finished, and so far "
            f"{lowest} has the lowest loss. Whoever judges at every seed is soon wrong."
        )

    def _extended(self) -> list[WarningNote]:
        """A warning where seeds were added after the study had been judged: that was not paid for."""
        if not self.spec.extended:
            return []
        times = count(self.spec.extended, "time")
        text = (
            f"Seeds were added {times} after the study had been judged, so a wrong verdict is more likely than 5%: about 7% "
            "after one extension, 10% after four. A study that is run until it is settled keeps the 5%."
        )
        return [WarningNote("extended", "", text)]

    @cached_property
    def judged_runs(self) -> list[OptimizerRuns]:
        """The runs up to the last complete look, so that seeds of the next, of which some are done, count for nobody."""
        if self.stage.name == "done" or self.finished_seeds < self.spec.looks[0]:
            seeds = self.spec.seeds if self.stage.name == "done" else self.finished_seeds
        else:
            active = [len(each.runs) for each in self.runs if each.name in self.stage.active]
            seeds = max(n for n in self.spec.looks if n <= min(active))
        return measured_runs(
            self.spec,
            self.stage.tunings,
            self.results,
            seeds,
            {label: spec.name for label, spec in self.optimizers.items()},
        )

    @cached_property
    def judged_keys(self) -> frozenset[str]:
        """The keys of the fresh runs that the judgement compares: those at the points that whole tunings chose."""
        return frozenset(
            Trial(each.name, run.point, run.seed, "final").key(self.spec)
            for each in self.judged_runs
            for run in each.runs
        )

    @property
    def missing_text(self) -> str:
        """What a study needs before it can be judged, in a sentence."""
        needed, have = count(self.seeds_to_judge, "seed"), self.finished_seeds
        return f"A judgement needs {needed} that every optimizer has finished; there {'is' if have == 1 else 'are'} {have}."

    def _unfinished(self) -> list[WarningNote]:
        """A warning where the study still runs."""
        if self.stage.name == "done":
            return []
        used = count(max(len(each.runs) for each in self.judged_runs), "seed")
        how = "What is shown is of" if self.finished_seeds < self.spec.looks[0] else "Judged by"
        text = f"The study is not complete: {self.progress.sentence} {how} the first {used}."
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
