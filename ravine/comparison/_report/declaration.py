"""What was declared, as rows of text: the study as a whole, and where each hyperparameter was looked for."""

from __future__ import annotations

import json

from ravine.comparison._judge.number_text import count, listed, number
from ravine.comparison._report.report_data import OptimizerEntry, ReportData
from ravine.comparison._report.report_tables import chosen_text, short
from ravine.optim.search import Range


def declaration(data: ReportData) -> list[tuple[str, str]]:
    """The spec as rows of name and value, without its optimizers."""
    spec = data.spec
    return [
        ("hash of the declaration", spec.hash),
        ("task", spec.task),
        ("data", spec.data or "the task's own"),
        ("optimizers", str(len(spec.optimizers))),
        ("points per tuning", str(spec.points)),
        ("points that are trained for all steps", "the best half after a quarter" if spec.halving else "all"),
        (
            "extra points per tuning if most best points are at an edge",
            f"{spec.extra_points}, up to {count(spec.expansions, 'time')}",
        ),
        ("judged after", f"{listed([str(n) for n in spec.looks])} seeds"),
        ("margin", spec.margin or "the spread of the loss between tunings"),
        ("steps per training", f"{spec.steps:,}"),
        ("evaluations per training", str(spec.evaluations)),
        ("learning-rate schedule", spec.schedules_text),
        ("seed of the study", str(spec.seed)),
        *((f"version of {name}", version) for name, version in spec.versions.items()),
        ("machine", data.origin.machine or "not recorded"),
        ("study", data.origin.study or "not named"),
        ("storage", data.origin.storage or "none"),
    ]


def declaration_json(data: ReportData) -> str:
    """The whole spec as JSON for people."""
    return json.dumps(json.loads(data.spec.to_json()), indent=2, ensure_ascii=False)


def searched_rows(entry: OptimizerEntry) -> list[tuple[str, str, str, str]]:
    """Of each searched hyperparameter its name, the chosen value, the declared range, and the expanded one if it was."""
    return [
        (
            r.name,
            chosen_text(r.chosen),
            _range(r.declared),
            "" if r.expanded == r.declared else _range(r.expanded),
        )
        for r in entry.searched
    ]


def space_rows(data: ReportData) -> list[list[str]]:
    """Of each searched hyperparameter: optimizer, name, lower and upper end, scale, and points; the names as they are."""
    rows = []
    for entry in data.optimizers:
        tried = f"{entry.points:,}"
        for r in entry.searched:
            low, high = (
                number(now, 3) + ("" if now == before else f" (declared {number(before, 3)})")
                for now, before in ((r.expanded.low, r.declared.low), (r.expanded.high, r.declared.high))
            )
            rows.append([entry.label, r.name, low, high, r.expanded.scale, tried])
        if not entry.searched:
            rows.append([entry.label, "", "", "", "", tried])
    return rows


def _range(values: Range) -> str:
    spread = {"log": "log scale", "linear": "linear scale", "complement": "log scale in 1 − x"}[values.scale]
    return f"{short(values.low)} to {short(values.high)} ({spread})"
