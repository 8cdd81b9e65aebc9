"""A recorder in a notebook: how far it is and its best epoch, the curve, the table of epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ravine._plotting.notebook_html import beside, output
from ravine.train._best_epoch import VALID, best_epoch_text
from ravine.train._display.epoch_output import epoch_table, loss_picture
from ravine.train._loss_plot import LossCurve


def recorder_html(head: str, losses: np.ndarray, rows: Sequence[Mapping[str, Any]]) -> str:
    """The output; ``head`` says how many epochs and steps there are, ``rows`` are those of the table of epochs."""
    # each fit begins with epoch 1, and the curve goes on
    rows = [{**row, "epoch": epoch} for epoch, row in enumerate(rows, 1)]
    names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
    curve = LossCurve.of_run("", losses, rows, {})
    valid = [(row["epoch"], row[VALID]) for row in rows if VALID in row]
    best = best_epoch_text(rows)
    places = np.arange(1.0, len(losses) + 1) if not rows or curve.epochs is None else curve.epochs
    table = epoch_table(names, [[row.get(name, math.nan) for name in names] for row in rows])
    return output(f"{head}: {best}" if best else head, beside(loss_picture(places, losses, valid, bool(rows)), table))
