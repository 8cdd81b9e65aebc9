"""A study as the parts of its page: plain values that JSON has. A pure function of the snapshot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ravine._live.live_words import about, figure
from ravine._live.study_reading import StudySnapshot
from ravine._plotting.html import numbers
from ravine.comparison._judge.number_text import count
from ravine.comparison._live_view import best_so_far, doing, point_text
from ravine.comparison._report.chart_data import chart_data, optimizer_style
from ravine.comparison._study.study_record import StudyRecord
from ravine.comparison._study.trial_log import LoggedTrial

_LATEST = 12  # trials in the table of the last ones
_MOST = 2000  # trials of a chart
_KINDS = {"tune": "tuning", "short": "tuning, first quarter", "final": "fresh run"}
#: The charts of the report that the page has, too.
_OF_REPORT = ("curves", "differences", "seconds", "target", "ranked")


def study_parts(study: StudySnapshot) -> dict[str, Any]:
    """The parts by name; each is sent to the page when it has changed."""
    record, report = study.record, study.report
    if record is None or study.stage is None:
        return {"head": _head(study), "optimizers": []}
    labels = [config.label for config in record.spec.optimizers]
    charts = {} if report is None else chart_data(report)
    heads, rows = best_so_far(record.spec, study.stage, record.results)
    kept = [i for i, _ in enumerate(heads) if any(row[i] for row in rows)]  # columns of what did not happen
    return {
        "head": _head(study),
        "optimizers": [optimizer_style(index, label) for index, label in enumerate(labels)],
        "best": {"columns": [heads[i] for i in kept], "rows": [[row[i] for i in kept] for row in rows]},
        "trials": _trials(study.log, labels),
        "latest": _latest(study),
        "warnings": [] if report is None else [[w.kind, w.sentence] for w in report.judgement.warnings],
        "verdicts": _verdicts(study),
        "report": study.stage.name == "done" and (study.where.folder / "report.html").is_file(),
        **{name: charts.get(name) for name in _OF_REPORT},
        # the script of the report looks at these, too
        "sensitivity": {},
        "budget": [],
    }


def _head(study: StudySnapshot) -> dict[str, Any]:
    record, stage = study.record, study.stage
    head: dict[str, Any] = {
        "word": "waiting",
        "mood": "busy",
        "message": "Waiting for the study to begin",
        "detail": study.trouble,
        "progress": None,
        "title": study.where.study,
        "folder": str(study.where.folder),
        "figures": [],
    }
    if record is None or stage is None:
        return head
    labels = ", ".join(config.label for config in record.spec.optimizers)
    of = f" (task {study.task + 1} of {len(study.tasks)})" if len(study.tasks) > 1 else ""
    head["title"] = f"{record.spec.task}{of}: {labels}"
    if study.trouble:
        return {**head, "word": "gone", "mood": "warn", "message": "The study cannot be read", "detail": study.trouble}
    progress = record.progress
    head["progress"] = round(progress.done / progress.total, 3) if progress.total else None
    head["message"] = _message(study, record)
    head["figures"] = _figures(study, record)
    if stage.name == "done":
        return {**head, "word": "done", "mood": "good", "detail": "The study is complete: this is the verdict."}
    now = f"{doing(record.spec, stage)}."
    if study.working:
        return {**head, "word": "running", "mood": "busy", "detail": now}
    resume = f" Resume with: {record.origin.command}" if record.origin.command else ""
    if not study.log:  # the processes that train need some seconds before the first trial
        return {**head, "word": "starting", "mood": "busy", "detail": f"No training has begun yet. {now}{resume}"}
    return {**head, "word": "paused", "mood": "warn", "detail": f"Nobody works on it now. {now}{resume}"}


def _message(study: StudySnapshot, record: StudyRecord) -> str:
    """The verdict, as far as there is one."""
    if study.report is not None:
        return study.report.judgement.sentence
    first = record.seeds_to_judge if record.spec.seeds < 2 else record.spec.looks[0]
    left = f", about {about(study.left)} left" if study.left is not None and study.working else ""
    return f"No verdict yet: {record.finished_seeds} of {count(first, 'seed')} finished{left}"


def _figures(study: StudySnapshot, record: StudyRecord) -> list[list[str]]:
    assert study.stage is not None
    spec, progress, done = record.spec, record.progress, study.stage.name == "done"
    rows = [["trainings", f"{progress.done:,}", "all" if done else f"of about {progress.total:,}"]]
    scores = [(r.score, t.label) for t, r in record.trials if t.kind != "short" and math.isfinite(r.score)]
    if scores:
        score, label = min(scores)
        rows.append(["lowest loss so far", figure(score), label])
    finished = record.finished_seeds
    look = next((n for n in spec.looks if n > finished), spec.seeds)
    rows.append(["seeds finished", f"{finished}", "all" if done else f"judged at {look}"])
    if done:
        return rows
    at_most = spec.seeds - finished
    rows.append(["seeds left", f"{at_most}", "at most" if len(spec.looks) > 1 else ""])
    if study.left is not None and study.working:
        rows.append(["time left", about(study.left), "at the pace so far"])
    cost = _cost_left(record, progress.total - progress.done)
    if cost is not None:
        rows.append(["cost left", about(cost), "of one processor"])
    return rows


def _cost_left(record: StudyRecord, trainings: int) -> float | None:
    """Seconds of training on one processor, if the rest takes as long as what is done."""
    took = [r.seconds * r.steps[-1] for r in record.results.values() if r.steps and math.isfinite(r.seconds)]
    return trainings * sum(took) / len(took) if took else None


def _trials(log: Sequence[LoggedTrial], labels: Sequence[str]) -> list[dict[str, list[Any]]]:
    """For each optimizer its trials in the order in which they ended: place, loss (None: diverged), whether it is a fresh run,
    and words."""
    ended = sorted((t for t in log if t.state == "done" and t.kind != "short"), key=lambda t: t.ended or 0.0)
    first = max(0, len(ended) - _MOST)
    chart: list[dict[str, list[Any]]] = [{"x": [], "y": [], "fresh": [], "text": []} for _ in labels]
    places = {label: place for place, label in enumerate(labels)}
    for number, trial in enumerate(ended[first:], first + 1):
        if trial.label in places:
            one = chart[places[trial.label]]
            one["x"].append(number)
            one["y"] += numbers([math.nan if trial.score is None else trial.score])
            one["fresh"].append(int(trial.kind == "final"))
            one["text"].append(f"{_KINDS.get(trial.kind, trial.kind)}, seed {trial.seed}, {point_text(trial.point)}")
    return chart


def _latest(study: StudySnapshot) -> dict[str, Any]:
    """The trials that run, then the last that ended, as a table; and what each row is called by those who stop it."""
    running = [t for t in study.log if t.number in study.working]
    ended = sorted((t for t in study.log if t.state == "done"), key=lambda t: t.ended or 0.0, reverse=True)
    shown = [*running[::-1][:_LATEST], *ended[:_LATEST]]
    return {
        "columns": ["trial", "optimizer", "kind", "seed", "at", "loss"],
        "rows": [
            [str(t.number + 1), t.label, _KINDS.get(t.kind, t.kind), str(t.seed), point_text(t.point), _score(t)]
            for t in shown
        ],
        "running": [t.number for t in running],
        "running_text": f"{count(len(running), 'trial')} running now" if running else "No trial runs now",
    }


def _score(trial: LoggedTrial) -> str:
    if trial.state == "running":
        return "running"
    if trial.failed:
        return "failed"
    return "diverged" if trial.score is None or not math.isfinite(trial.score) else figure(trial.score)


def _verdicts(study: StudySnapshot) -> Mapping[str, Any] | None:
    """Each optimizer against the best of the others as a table, by metric."""
    if study.report is None:
        return None
    return {
        name: {
            "columns": ["optimizer", "verdict", "difference", "95% interval"],
            "rows": [[row.label, row.verdict, row.text(row.middle), row.interval_text] for row in one.rows],
        }
        for name, one in study.report.differences.items()
    }
