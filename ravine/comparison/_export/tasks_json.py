"""``results.json`` of several tasks: what they say together; each task's own file has its trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ravine.comparison._across import Aggregate
from ravine.comparison._across.aggregate import SCORE
from ravine.comparison._export.judgement_tree import compared_tree
from ravine.comparison._export.results_json import FORMAT, lines
from ravine.comparison._export.strict import strict
from ravine.comparison._judge import Compared
from ravine.comparison._study.study_record import StudyRecord


def tasks_json(study: str, records: Mapping[str, StudyRecord], together: Aggregate | None) -> bytes:
    """The file's content.

    Args:
        study: the name of the study.
        records: of each task.
        together: what they say together; None where there is too little to judge.
    """
    tree = {
        "format": FORMAT,
        "study": study,
        "tasks": [
            {
                "task": task,
                "study": record.origin.study,
                "spec_hash": record.spec.hash,
                "progress": asdict(record.progress),
                "results": f"{task}/results.json",
            }
            for task, record in records.items()
        ],
        "aggregate": None if together is None else aggregate_tree(together),
    }
    return lines(strict(tree)).encode()


def aggregate_tree(together: Aggregate) -> dict[str, Any]:
    """What the tasks say together; of "compared" the values are negative scores, as everywhere where more is better."""
    return {
        "sentence": together.sentence,
        "unseen": together.unseen,
        "notes": list(together.notes),
        "ranked": together.ranked,
        "scores": [
            {"task": task.task, "start": task.start, "best": task.best, "margin": task.margin}
            | {"scores": {name: values.tolist() for name, values in task.scores.items()}}
            for task in together.tasks
        ],
        "compared": compared_tree(Compared(SCORE, together.with_best)),
        "like_these": None if together.like_these is None else compared_tree(Compared(SCORE, together.like_these)),
        "ranks": [{"optimizer": n, "best": first, "worst": last} for n, (first, last) in together.ranks.items()],
        "interquartile_mean": [{"optimizer": n} | asdict(e) for n, e in together.interquartile.items()],
        "improvement": [{"first": a, "second": b} | asdict(e) for (a, b), e in together.improvement.items()],
        "profiles": [
            {"optimizer": n, "ratios": p.ratios.tolist(), "shares": p.shares.tolist()}
            | {name: asdict(getattr(p, name)) for name in ("fastest", "reached", "area")}
            for n, p in together.profiles.items()
        ],
        "few_points": [
            {
                "points": k,
                "choice": few.choice,
                "may_be_best": few.with_best.top,
                "scores": {name: few.score(name) for name in together.ranked},
                "lost": dict(few.lost),
            }
            for k, few in together.few_points.items()
        ],
    }
