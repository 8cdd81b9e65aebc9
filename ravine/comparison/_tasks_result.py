"""What ``ravine.compare`` returns of several tasks: the result of each, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from ravine import _files as files
from ravine._fallback_characters import printable
from ravine._plotting.frames import frame
from ravine._plotting.notebook_html import output, paragraph
from ravine.comparison._across import Aggregate, TaskScores, aggregate, task_scores
from ravine.comparison._judge.number_text import count
from ravine.comparison._judge.verdict_text import far_out_runs
from ravine.comparison._result import Result
from ravine.comparison._tasks_report.tasks_data import TasksData, tasks_data
from ravine.comparison._tasks_report.tasks_terminal import tasks_text
from ravine.errors import ComparisonError, OptionError


@dataclass(frozen=True, eq=False, repr=False)
class TasksResult:
    """Studies of several tasks with the same optimizers, and what was found so far.

    Attributes:
        tasks: the result of each task, by its name.
        study: the name of the study.
        folder: where its report goes; that of each task into a folder of its name in it.
        command: what makes the study again; empty where no command line can say it.
    """

    tasks: Mapping[str, Result]
    study: str = ""
    folder: Path | None = None
    command: str = ""

    def __repr__(self) -> str:
        optimizers = len(next(iter(self.tasks.values())).spec.optimizers)
        return f"TasksResult({', '.join(self.tasks)}; {count(optimizers, 'optimizer')})"

    def __str__(self) -> str:
        """The answer, the tables, and what each task says alone."""
        return printable(tasks_text(self.report)) if self.judgeable else f"{self!r}\n{self.missing_text}"

    def _repr_html_(self) -> str:
        from ravine.comparison._tasks_report.tasks_notebook import tasks_html

        return tasks_html(self.report) if self.judgeable else output(repr(self), paragraph(self.missing_text))

    @property
    def progress(self) -> str:
        """How far the tasks are, in a sentence each."""
        return " ".join(f"{task}: {result.record.progress.sentence}" for task, result in self.tasks.items())

    @property
    def judgeable(self) -> bool:
        """Whether any task has come to its first look, and an optimizer has learned something on it."""
        return bool(self._scored[0])

    @property
    def missing_text(self) -> str:
        """Why nothing can be judged; empty if something can."""
        if self.judgeable:
            return ""
        if not any(_has_verdict(result) for result in self.tasks.values()):
            return "Nothing can be judged yet: no task has come to its first look."
        return f"Nothing can be put together: {' '.join(self._scored[1])}"

    @cached_property
    def aggregate(self) -> Aggregate:
        """What the tasks say together: of those that have a verdict.

        Raises:
            OptionError: none has, or no optimizer has learned anything on any of them.
        """
        return self.judge()

    def judge(self, *, alpha: float = 0.05) -> Aggregate:
        """The same with another chance of a wrong verdict.

        Raises:
            OptionError: as of ``aggregate``.
        """
        if not self.judgeable:
            raise OptionError(f"{self.missing_text} {self.progress}")
        scores, notes = self._scored
        return aggregate(scores, notes=notes, alpha=alpha)

    @cached_property
    def _scored(self) -> tuple[list[TaskScores], list[str]]:
        """The scores of the tasks that have any, and what is to be said of the others."""
        scores: list[TaskScores] = []
        notes: list[str] = []
        for task, result in self.tasks.items():
            record = result.record
            if not _has_verdict(result):
                notes.append(f"{task} has no verdict yet and is left out. {record.progress.sentence}")
                continue
            if record.stage.name != "done":
                notes.append(f"{task} is not complete. {record.progress.sentence}")
            try:
                spec, runs = record.spec, record.judged_runs
                judged = result.judgement
                scores.append(
                    task_scores(task, runs, judged, ratio=spec.ratio, tunings=spec.looks[0], looks=spec.looks)
                )
                if judged.losses is not None and (outside := far_out_runs(judged.losses)):
                    notes.append(f"On {task}, runs are far out, and count here as they are: {outside}.")
            except ComparisonError as error:
                notes.append(f"{error} It is left out.")
        return scores, notes

    @cached_property
    def report(self) -> TasksData:
        """Everything that the report shows."""
        together = self.aggregate
        judged = {scores.task: self.tasks[scores.task].judgement for scores in together.tasks}
        labels = [config.label for config in next(iter(self.tasks.values())).spec.optimizers]
        return tasks_data(self.study, self.command, labels, judged, together)

    def write(self, folder: Path | str | None = None) -> list[Path]:
        """Write the report into ``folder`` or the study's own, and that of each task into a folder of its name there.

        The tasks come first. Where nothing can be judged there are only ``results.csv`` and ``results.json``.

        Raises:
            OptionError: there is no folder, or it cannot be written.
        """
        from ravine.comparison._export.results_csv import results_csv
        from ravine.comparison._export.tasks_json import tasks_json
        from ravine.comparison._tasks_report.tasks_files import tasks_contents

        place = self.folder if folder is None else Path(folder)
        if place is None:
            raise OptionError("The study has no folder: say where its report goes, write(folder).")
        report = self.report if self.judgeable else None  # what cannot be computed fails before a file is written
        for task, result in self.tasks.items():
            result.write(place / task)
        files.make_folder(place)
        records = {task: result.record for task, result in self.tasks.items()}
        together, written = None if report is None else self.aggregate, []
        results = [
            ("results.csv", results_csv(*records.values())),
            ("results.json", tasks_json(self.study, records, together)),
        ]
        for name, content in chain(results, () if report is None else tasks_contents(report)):
            files.write(place / name, content)
            written.append(place / name)
        return written

    def trials(self) -> Any:
        """All trials of all tasks as a pandas DataFrame.

        Raises:
            PackageError: pandas is not installed.
        """
        return frame([{"task": task} | row for task, result in self.tasks.items() for row in result.rows()])

    def scores(self) -> Any:
        """The normalized score of every fresh run at the best of all points, as a pandas DataFrame.

        Raises:
            PackageError: pandas is not installed.
        """
        return frame(
            [
                {"task": task.task, "optimizer": name, "run": run, "score": float(score)}
                for task in self.aggregate.tasks
                for name, values in task.scores.items()
                for run, score in enumerate(values)
            ]
        )

    def standings(self) -> Any:
        """Each optimizer over the tasks as a pandas DataFrame: of the negative scores, so that lower is better.

        Raises:
            PackageError: pandas is not installed.
        """
        return frame([asdict(standing) for standing in self.aggregate.with_best.standings])

    def improvement(self) -> Any:
        """The probability that a run of the first is better than one of the second, as a pandas DataFrame.

        Raises:
            PackageError: pandas is not installed.
        """
        return frame([{"first": a, "second": b} | asdict(e) for (a, b), e in self.aggregate.improvement.items()])


def _has_verdict(result: Result) -> bool:
    record = result.record
    return record.judgeable and record.finished_seeds >= record.spec.looks[0]
