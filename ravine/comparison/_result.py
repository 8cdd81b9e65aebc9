"""What ``ravine.compare`` returns: the judgement, the report, and everything measured as tables."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from ravine import _files as files
from ravine._fallback_characters import printable
from ravine._plotting.frames import frame
from ravine.comparison._judge import Judgement
from ravine.comparison._report import terminal_report
from ravine.comparison._report.notebook_report import notebook_html
from ravine.comparison._report.report_data import ReportData, report_data
from ravine.comparison._study.step_seconds import StepSeconds
from ravine.comparison._study.study_record import StudyOrigin, StudyRecord
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import TrialResult
from ravine.errors import OptionError


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A study and what was found so far.

    Attributes:
        record: what was declared, and what the trials gave.
        folder: where its report goes.
    """

    record: StudyRecord
    folder: Path | None = None

    def __repr__(self) -> str:
        labels = ", ".join(config.label for config in self.spec.optimizers)
        state = "complete" if self.record.stage.name == "done" else repr(self.record.stage)
        return f"Result({self.spec.task}: {labels}; {len(self.trial_results)} trials, {state})"

    def __str__(self) -> str:
        """The verdict, the table of results, and what speaks against the comparison."""
        return printable(terminal_report.text(self.report)) if self.record.judgeable else repr(self)

    def _repr_html_(self) -> str:
        return notebook_html(self.report) if self.record.judgeable else html.escape(repr(self))

    @property
    def spec(self) -> StudySpec:
        """What was declared."""
        return self.record.spec

    @property
    def trial_results(self) -> Mapping[str, TrialResult]:
        """What each trial gave, by its key."""
        return self.record.results

    @property
    def seconds(self) -> Mapping[str, StepSeconds]:
        """Of one step, by optimizer, measured alone; empty where that was not done."""
        return self.record.seconds

    @property
    def origin(self) -> StudyOrigin:
        """Where the study comes from."""
        return self.record.origin

    @cached_property
    def judgement(self) -> Judgement:
        """The judgement as it was declared, of a study that still runs by the fresh seeds that all have finished.

        Raises:
            OptionError: there is too little to judge.
        """
        return self.record.judge()

    @cached_property
    def report(self) -> ReportData:
        """Everything that the report shows, computed once."""
        return report_data(self.record, self.judgement)

    def judge(self, **options: Any) -> Judgement:
        """The judgement with other options: ``margin="1%"``, ``alpha=0.01``, ``target=0.2``.

        Raises:
            OptionError: there is too little to judge.
        """
        return self.record.judge(**options)

    def write(self, folder: Path | str | None = None) -> list[Path]:
        """Write the report into ``folder`` or the study's own: ``report.html``, ``report.md``, pictures, and for programs
        ``results.json`` and ``results.csv``.

        The numbers come first: where a picture fails, they and the text are there. Of a study that cannot be judged yet
        there are only these two.

        Raises:
            OptionError: there is no folder, or it cannot be written.
        """
        # neither pictures nor page are needed by those who only ask for numbers
        from ravine.comparison._export.results_csv import results_csv
        from ravine.comparison._export.results_json import results_json
        from ravine.comparison._report.report_files import contents

        place = self.folder if folder is None else Path(folder)
        if place is None:
            raise OptionError("The study has no folder: say where its report goes, write(folder).")
        files.make_folder(place)
        written = []
        judgement = self.judgement if self.record.judgeable else None
        results = [("results.csv", results_csv(self.record)), ("results.json", results_json(self.record, judgement))]
        for name, content in chain(results, () if judgement is None else contents(self.report)):
            files.write(place / name, content)
            written.append(place / name)
        return written

    def rows(self) -> list[dict[str, Any]]:
        """A dict for each trial that is done: what a table of trials has in its lines.

        ``judged`` is true of the fresh runs that the judgement compares. Other ``final`` runs are at the best of the first
        1, 2, 4, ... points of a tuning, to show what fewer points would give.
        """
        return [
            {
                "optimizer": t.label,
                "kind": t.kind,
                "judged": t.key(self.spec) in self.record.judged_keys,
                "seed": t.seed,
                **dict(t.point),
                "score": r.score,
                "diverged": r.diverged,
                "seconds_per_step": r.seconds,
                **dict(r.metrics),
                "error": r.error,
                "key": t.key(self.spec),
            }
            for t, r in self.record.trials
        ]

    def trials(self) -> Any:
        """All trials as a pandas DataFrame.

        Raises:
            PackageError: pandas is not installed.
        """
        return frame(self.rows())

    def standings(self) -> Any:
        """Each optimizer against the best of the others, by metric, as a pandas DataFrame: of ratios the logarithm.

        Raises:
            PackageError: pandas is not installed.
        """
        return frame(
            [
                {"metric": metric} | asdict(standing)
                for metric, compared in self.judgement.compared.items()
                for standing in compared.with_best.standings
            ]
        )

    def differences(self) -> Any:
        """Every pair as a pandas DataFrame: first minus second, with intervals that hold together; of ratios the logarithm.

        Raises:
            PackageError: pandas is not installed.
        """
        return frame(
            [
                {"metric": metric, "first": first, "second": second, "difference": middle, "low": low, "high": high}
                for metric, compared in self.judgement.compared.items()
                for (first, second), (middle, low, high) in compared.with_best.pairs.items()
            ]
        )

    def curves(self) -> Any:
        """The validation losses of all trials on the way, as a pandas DataFrame.

        Raises:
            PackageError: pandas is not installed.
        """
        return frame(
            [
                {"optimizer": t.label, "kind": t.kind, "seed": t.seed, **dict(t.point), "step": step, "loss": loss}
                for t, r in self.record.trials
                for step, loss in zip(r.steps, r.losses, strict=True)
            ]
        )
