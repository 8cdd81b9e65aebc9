"""``results.json``: the whole study as one tree of strict JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ravine.comparison._export.judgement_tree import judgement_tree
from ravine.comparison._export.strict import strict
from ravine.comparison._judge import Judgement
from ravine.comparison._study.study_record import StudyRecord
from ravine.comparison._study.trial import Trial, TrialResult
from ravine.optim.search import Range

#: Rises where a program that reads the files of before would fail on new ones, or read something else out of them.
FORMAT = 2


def results_json(record: StudyRecord, judgement: Judgement | None) -> bytes:
    """The file's content.

    Args:
        record: the study.
        judgement: what it shows; None where there is too little to judge.
    """
    return lines(strict(results_tree(record, judgement))).encode()


def results_tree(record: StudyRecord, judgement: Judgement | None) -> dict[str, Any]:
    """The tree, before numbers that JSON does not have are replaced."""
    spec, progress = record.spec, record.progress
    return {
        "format": FORMAT,
        "study": record.origin.study,
        "task": spec.task,
        "progress": {"stage": progress.stage, "done": progress.done, "total": progress.total},
        "settled_early": None if record.settled_early is None else asdict(record.settled_early),
        "spec_hash": spec.hash,
        "spec": json.loads(spec.to_json()),
        "optimizers": _optimizers(record),
        "judgement": None if judgement is None else judgement_tree(judgement),
        "warnings": [
            {"kind": note.kind, "optimizer": note.optimizer, "sentence": note.sentence}
            for note in ([] if judgement is None else judgement.warnings)
        ],
        "machine": record.origin.machine,
        "trainings": [
            _training(trial, result, key, judged=key in record.judged_keys)
            for trial, result in record.trials
            if (key := trial.key(spec))
        ],
    }


def _optimizers(record: StudyRecord) -> list[dict[str, Any]]:
    now, rows = record.stage, []
    runs = {each.name: each.runs for each in record.runs}
    for tuning in now.tunings:
        label = tuning.config.label
        seconds = record.seconds.get(label)
        rows.append(
            {
                "label": label,
                "source": tuning.config.source,
                "space": _space(tuning.config.space),
                "expanded_space": _space(tuning.space),
                "points": len(tuning.points(0)),
                "chosen": [dict(run.point) for run in runs[label]],
                "edge": now.edges.get(label, ""),
                "step_seconds": None if seconds is None else seconds.step,
                "optimizer_fraction": None if seconds is None else seconds.optimizer_fraction,
            }
        )
    return rows


def _space(space: Mapping[str, Range]) -> dict[str, Any]:
    return {name: asdict(values) for name, values in space.items()}


def _training(trial: Trial, result: TrialResult, key: str, *, judged: bool) -> dict[str, Any]:
    return {
        "key": key,
        "optimizer": trial.label,
        "kind": trial.kind,
        "judged": judged,
        "seed": trial.seed,
        "point": dict(trial.point),
        "score": result.score,
        "diverged": result.diverged,
        "steps": result.steps,
        "losses": result.losses,
        "metrics": result.metrics,
        "update_ratios": result.watch,
        "seconds_per_step": result.seconds,
        "error": result.error,
    }


def lines(tree: Mapping[str, Any]) -> str:
    """JSON with a line for each entry, and for each item of a list: short, and two files can be compared by line."""

    def text(value: Any) -> str:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n  " + ",\n  ".join(json.dumps(item, allow_nan=False) for item in value) + "\n ]"
        return json.dumps(value, allow_nan=False)

    return "{\n" + ",\n".join(f" {json.dumps(key)}: {text(value)}" for key, value in tree.items()) + "\n}\n"
