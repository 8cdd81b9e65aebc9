"""``LoggedResult``: what ``ravine.comparison.judge_files`` returns."""

from __future__ import annotations

import io
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console

from ravine import _files as files
from ravine._fallback_characters import printable, visible
from ravine._plotting.frames import frame
from ravine._plotting.terminal_tables import FittedTable, table
from ravine.comparison._judge.number_text import number
from ravine.comparison._logged.judged_runs import JudgedRuns
from ravine.comparison._logged.logged_data import results


class LoggedResult(JudgedRuns):
    """What logged runs show.

    Attributes:
        sentence: the verdict: who may be the best, who is not.
        with_best: every optimizer against the best of the others, in the value at the end of each run; of values where
            more is better, in their negatives.
        metric: what was compared.
        paired: whether runs of the same name are pairs; else differences are judged as those of independent runs.
        steps: the steps to the target, by optimizer; empty without a target.
        notes: what a reader has to know.
        curves: what was read.
        judged: the runs that were compared, by optimizer.
        target: the value to be reached; None without.
        files: where the runs were read.
    """

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), color_system=None)
        console.print(self.table())
        lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        return printable(
            "\n".join([visible(self.sentence), "", *(line.rstrip() for line in lines), *map(visible, self.notes)])
        )

    def table(self) -> FittedTable:
        """A row for each optimizer, best first, for ``console.print``."""
        shown = results(self)
        # what a mean is over stands in a line of its own
        rows = [[row[0], *(cell.replace(" (", "\n(") for cell in row[1:])] for row in shown.rows]
        heads = list(shown.columns)
        if self.steps:
            heads += ["reached target", "restricted mean"]
            for row in rows:
                taken = self.steps[row[0]]
                row += [taken.reached_text, number(taken.restricted_mean, 3)]
        best = [place for place, row in enumerate(rows) if row[0] in self.with_best.top]
        return table(heads, [[visible(row[0]), *row[1:]] for row in rows], best=best)

    def standings(self) -> Any:
        """The same as a pandas DataFrame; of values where more is better, of their negatives.

        Raises:
            PackageError: pandas is not installed.
        """
        return frame([vars(standing) for standing in self.with_best.standings])

    def write(self, folder: Path | str, command: str = "") -> list[Path]:
        """Write the report: ``results.json`` for programs, ``report.md``, pictures, and ``report.html``.

        Args:
            folder: where it goes; it is made.
            command: what makes the report again, for its last lines.

        Raises:
            OptionError: the folder cannot be written.
        """
        # neither pictures nor page are needed by those who only ask for the verdict
        from ravine.comparison._export.logged_json import logged_json
        from ravine.comparison._logged.logged_report import logged_contents

        place, written = Path(folder), []
        files.make_folder(place)
        for name, content in chain([("results.json", logged_json(self))], logged_contents(self, command)):
            files.write(place / name, content)
            written.append(place / name)
        return written
