"""What is said when a fit has ended: how long it took, and which of its epochs was the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ravine.train import _evaluate as evaluation
from ravine.train._best_epoch import best_epoch_text
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
        best = best_epoch_text(rows)
    where = f", kept in {path}" if path is not None and path.exists() else ""
    return f"{epochs_text(len(rows))} in {duration(sum(row['time'] for row in rows))}" + (
        f"; {best}{where}" if best else ""
    )


def test_line(measured: Mapping[str, float], targets: Any, epoch: int) -> str:
    """What a model does on its test set: ``Test set after epoch 3: Average loss: 0.1573, Accuracy: 9475/10000 (95%)``.

    Args:
        measured: what ``learn.validate`` gives.
        epoch: after which the model has the weights that were measured: the best epoch's are others.
        targets: those of the test set, shape (rows, ...), for the number of right ones.
    """
    parts = [f"Average loss: {measured[evaluation.LOSS]:.4f}"]
    for name, value in measured.items():
        if name == "accuracy" and isinstance(targets, Tensor):
            count = targets.numel()
            parts.append(f"Accuracy: {round(value * count)}/{count} ({100 * value:.0f}%)")
        elif name != evaluation.LOSS:
            parts.append(f"{name}: {value:.5g}")
    return f"Test set after epoch {epoch}: {', '.join(parts)}"
