"""``results.csv``: a row for each training, in the order of the spec, tuning first."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from ravine.comparison._study.study_record import StudyRecord


def results_csv(*records: StudyRecord) -> bytes:
    """The file's content, of the study of one task or of several.

    Each hyperparameter and each metric has a column of its own, ``hp.lr`` and ``metric.accuracy``, instead of one with
    all of them as JSON: a spreadsheet, R and ``awk`` can sort and select by them. The prefixes keep the names that tasks
    and formulas choose apart from ours.
    """
    columns = header(*records)
    hypers = [name.removeprefix("hp.") for name in columns if name.startswith("hp.")]
    metrics = [name.removeprefix("metric.") for name in columns if name.startswith("metric.")]
    file = io.StringIO(newline="")
    write = csv.writer(file, lineterminator="\n")
    write.writerow(columns)
    for record, trial, result in ((r, *each) for r in records for each in r.trials):
        cells = [
            record.origin.study,
            record.spec.task,
            trial.label,
            trial.kind,
            trial.key(record.spec) in record.judged_keys,
            trial.seed,
            *(trial.point.get(name) for name in hypers),
            result.score,
            result.diverged,
            *(result.metrics.get(name) for name in metrics),
            result.seconds,
            last_line(result.error),
            trial.key(record.spec),
        ]
        write.writerow([_cell(value) for value in cells])
    return file.getvalue().encode(errors="backslashreplace")  # an error may quote what is no text


def header(*records: StudyRecord) -> list[str]:
    """The names of the columns; those of hyperparameters follow from the spec alone."""
    hypers = dict.fromkeys(name for r in records for config in r.spec.optimizers for name in config.space)
    metrics = sorted({name for r in records for _, result in r.trials for name in result.metrics})
    return [
        *("study", "task", "optimizer", "kind", "judged", "seed"),
        *(f"hp.{name}" for name in hypers),
        *("score", "diverged"),
        *(f"metric.{name}" for name in metrics),
        *("seconds_per_step", "error", "key"),
    ]


def last_line(traceback: str) -> str:
    """What an error says: the last line of its traceback that is not empty; empty without an error."""
    return next((line.strip() for line in reversed(traceback.splitlines()) if line.strip()), "")


def _cell(value: Any) -> str:
    """Text as it is; a number with all digits that tell it from its neighbours; nothing for what is no number."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value)) if isinstance(value, float) else str(value)
