"""A training as the parts of its page: plain values that JSON has. A pure function of the snapshot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ravine._live.live_words import about, figure
from ravine._live.run_reading import RunSnapshot
from ravine._live.series import changes_drawn, thinned_losses
from ravine._plotting.html import numbers
from ravine._plotting.usual_ratios import USUAL
from ravine.comparison._report.chart_data import optimizer_style
from ravine.diagnose import Diagnosis
from ravine.train._best_epoch import best_epoch
from ravine.train._display.cells import cell
from ravine.train._metrics import lower_is_better
from ravine.watch._layers import LayerHistory

#: How a state looks: what is well, what asks for a look, what is wrong.
_MOODS = {"running": "busy", "waiting": "busy", "done": "good", "failed": "bad", "damaged": "bad"}
_MOST_ROWS = 200  # of the table of epochs; the first ones are left out
_MOST_NOTES = 50
#: The figures of the heat map, and what they are called.
FIGURES = {
    "grad_norm": "gradient",
    "param_norm": "parameters",
    "update_norm": "update",
    "ratio": "update / parameters",
}


def run_parts(run: RunSnapshot) -> dict[str, Any]:
    """The parts by name; each is sent to the page when it has changed."""
    return {
        "head": _head(run),
        "diagnosis": _diagnosis(run.diagnosis),
        "loss": {**thinned_losses(run.losses), "valid": _validation(run)},
        "hypers": _hypers(run),
        "norms": None if run.layers is None else _norms(run.layers),
        "watch": None if run.layers is None else _ratios(run.layers),
        "epochs": _table(run),
        "notes": [[step, text] for step, text in run.notes[-_MOST_NOTES:]],
        "optimizers": [optimizer_style(0, "this run")],
    }


def title_of(run: RunSnapshot) -> str:
    """What is trained, or where, if that is not known."""
    known = [str(run.config[name]) for name in ("task", "optimizer") if name in run.config]
    return ", ".join(known) or str(run.folder)


def _head(run: RunSnapshot) -> dict[str, Any]:
    state = run.state
    return {
        "word": state.word,
        "mood": _MOODS.get(state.word, "warn"),
        "message": state.message,
        "detail": state.detail,
        "progress": None if state.progress is None else round(state.progress, 3),
        "title": title_of(run),
        "folder": str(run.folder),
        "figures": _figures(run),
    }


def _figures(run: RunSnapshot) -> list[list[str]]:
    """Names, values and notes of the numbers that a look is for."""
    if not len(run.losses):
        return []
    rows: list[list[str]] = [["training loss", figure(run.smooth_loss), "moving average"]]
    best = best_epoch(run.epochs)
    if best is not None:
        rows.append(["best valid_loss", figure(best["valid_loss"]), f"epoch {best['epoch']}"])
    for name in _metrics(run):
        values = [(row[name], row.get("epoch")) for row in run.epochs if math.isfinite(_number(row.get(name)))]
        if values:
            pick = min if lower_is_better(name) else max
            value, epoch = pick(values, key=lambda pair: pair[0])
            rows.append([f"best {name}", figure(value), f"epoch {epoch}"])
    lr = run.changes.get("lr")
    if lr:
        rows.append(["learning rate", figure(float(lr[-1][1])), "constant" if len(lr) == 1 else "now"])
    pace = f"{figure(1 / run.seconds)} per second" if run.seconds > 0 else ""
    rows.append(["steps", f"{len(run.losses):,}", pace])
    if run.state.word == "running" and run.state.left is not None:
        rows.append(["time left", about(run.state.left), "at the pace so far"])
    return rows


def _metrics(run: RunSnapshot) -> list[str]:
    """The columns that are metrics: of them one or two have room at the top."""
    usual = {"epoch", "train_loss", "valid_loss", "time", "step"}
    names = dict.fromkeys(name for row in run.epochs for name, value in row.items() if isinstance(value, int | float))
    return [name for name in names if name not in usual][:1]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _diagnosis(diagnosis: Diagnosis | None) -> dict[str, Any] | None:
    if diagnosis is None:
        return None
    return {
        "headline": diagnosis.headline,
        "symptoms": [[s.title, s.evidence, s.advice] for s in diagnosis],
        "examined": diagnosis.examined,
    }


def _validation(run: RunSnapshot) -> list[list[float | None]]:
    rows = [(row["step"], row["valid_loss"]) for row in run.epochs if "valid_loss" in row]
    every = -(-len(rows) // 300) or 1
    return [[step, *numbers([_number(loss)])] for step, loss in rows[::-1][::every][::-1]]


def _hypers(run: RunSnapshot) -> dict[str, Any]:
    """The learning rates, and whatever else has changed; of a pair such as betas the first."""
    lines = {}
    for name, changes in run.changes.items():
        if len(changes) > 1 or name == "lr" or name.startswith("lr/"):
            flat = [(step, float(value[0] if isinstance(value, tuple) else value)) for step, value in changes]
            lines[name] = changes_drawn(flat, len(run.losses))
    return dict(sorted(lines.items(), key=lambda pair: not pair[0].startswith("lr")))


def _norms(layers: LayerHistory) -> dict[str, Any]:
    """The logarithms to base 10, with the limits of the colours: but for the outermost hundredth at each end."""
    maps = {}
    for name in FIGURES:
        values = np.asarray(getattr(layers, name))
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log10(np.where(values > 0, values, np.nan))
        known = logs[np.isfinite(logs)]
        low, high = np.quantile(known, [0.01, 0.99]).tolist() if len(known) else (-1.0, 0.0)
        room = max(0.0, 1.0 - (high - low)) / 2  # less than a decade would exaggerate small differences
        maps[name] = {
            "z": [[None if v is None else round(v, 2) for v in numbers(row)] for row in logs],
            "limits": [round(low - room, 2), round(high + room, 2)],
        }
    rows, columns = np.nonzero(layers.nonfinite) if layers.nonfinite.size else ((), ())
    return {
        "names": list(layers.names),
        "edges": layers.edges.tolist(),
        "maps": maps,
        "bad": [[int(row), int(column)] for row, column in zip(rows, columns, strict=True)][:2000],
    }


def _ratios(layers: LayerHistory) -> dict[str, Any]:
    """Update over parameter in the last column, as the chart of the report takes it."""
    ratio = layers.ratio
    latest = [row[np.isfinite(row)][-1] if np.isfinite(row).any() else math.nan for row in ratio]
    return {"names": list(layers.names), "rows": [numbers([value]) for value in latest], "usual": list(USUAL)}


def _table(run: RunSnapshot) -> dict[str, Any]:
    columns = [name for name in dict.fromkeys(name for row in run.epochs for name in row) if name != "step"]
    rows: list[Mapping[str, Any]] = list(run.epochs[-_MOST_ROWS:])
    best = best_epoch(rows)
    return {
        "columns": columns,
        "rows": [[cell(name, row[name]) if name in row else "" for name in columns] for row in rows],
        "best": None if best is None else rows.index(best),
        "left_out": len(run.epochs) - len(rows),
    }
