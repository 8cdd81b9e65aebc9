"""The epoch with the lowest validation loss, which summaries, outputs and the live page name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

VALID = "valid_loss"


def best_epoch(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row with the lowest finite validation loss; None without any."""
    finite = [row for row in rows if math.isfinite(row.get(VALID, math.nan))]
    return min(finite, key=lambda row: row[VALID], default=None)


def best_epoch_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """``lowest valid_loss 0.17963 after epoch 3``; empty where no row has one that is finite."""
    best = best_epoch(rows)
    return "" if best is None else f"lowest {VALID} {best[VALID]:.5f} after epoch {best['epoch']}"
