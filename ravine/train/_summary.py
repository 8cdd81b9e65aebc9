"""What is said when a fit has ended: how long it took, and which of its epochs was the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ravine.train import _evaluate as evaluation
from ravine.train._callback import Callback
from ravine.train._display.cells import duration
from ravine.train._fit import Fit
from ravine.train._recorder import epochs_text
from ravine.train._stopping import BestCheckpoint


def summary_of(fit: Fit, callbacks: Sequence[Callback]) -> str:
    """A sentence about a fit of several epochs; empty after a single one."""
    rows = fit.recorder.epochs[-fit.state.epoch :] if fit.state.epoch > 1 else []
    if len(rows) < 2:
        return ""
    kept = next((c for c in callbacks if isinstance(c, BestCheckpoint)), None)
    path = None if kept is None or fit.folder is None else Path(fit.folder) / BestCheckpoint.FILE
    if kept is not None:
        lowest = "lowest" if kept.mode == "min" else "highest"
        best = f"{lowest} {kept.monitor} {kept.best:.5f} after epoch {kept.best_epoch}" if kept.best_epoch else ""
    else:
        best = _best(rows)
    where = f", kept in {path}" if path is not None and path.exists() else ""
    return f"{epochs_text(len(rows))} in {duration(sum(row['time'] for row in rows))}" + (
        f"; {best}{where}" if best else ""
    )


def _best(rows: Sequence[Mapping[str, Any]]) -> str:
    finite = [row for row in rows if math.isfinite(row.get(evaluation.LOSS, math.nan))]
    if not finite:
        return ""
    best = min(finite, key=lambda row: row[evaluation.LOSS])
    return f"lowest {evaluation.LOSS} {best[evaluation.LOSS]:.5f} after epoch {best['epoch']}"
