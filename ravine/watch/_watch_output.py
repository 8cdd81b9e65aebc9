"""What ``optimizer.watch`` and its history are in a notebook: how large the updates are, a map of layers and steps, the table of the last step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ravine._plotting.html_map import heat_map
from ravine._plotting.notebook_html import output, paragraph
from ravine._plotting.usual_ratios import USUAL, USUAL_TEXT
from ravine.watch._history import History
from ravine.watch._history_plots import colour_limits, positive
from ravine.watch._layers import by_layer
from ravine.watch._step_output import headline, step_rows
from ravine.watch._step_table import StepTable


def watch_html(history: History, last: StepTable) -> str:
    """The output of a watch that is on."""
    if not len(history) or not history.names:
        return output(headline(str(last)))
    answer, more = _ratio_text(last)
    return output(
        answer, _wrong_text(history), paragraph(more), _map(history), step_rows("The last step:", last.cells())
    )


def history_html(history: History) -> str:
    """The output of a history: what it covers, and its map."""
    text = repr(history).removeprefix("History(").removesuffix(")")
    if not len(history) or not history.names:
        return output(text)
    return output(text, _wrong_text(history), _map(history))


def _ratio_text(last: StepTable) -> tuple[str, str]:
    """How large the last update was, and how that compares with what is usual."""
    ratio = last.ratio
    if not math.isfinite(ratio):
        return headline(str(last)), ""
    low, high = USUAL
    placed = "as usual" if low <= ratio <= high else "less than usual" if ratio < low else "more than usual"
    answer = f"Step {last.step:,}: the update was {ratio:.2g} of the parameters, {placed}"
    return answer, f"Usual is {USUAL_TEXT}, and more at the start of a training."


def _wrong_text(history: History) -> str:
    """Where gradients were not finite, if they were."""
    counts = np.asarray(history.nonfinite)
    rows, columns = counts.nonzero()
    if not len(rows):
        return ""
    first, count = int(history.first[rows[0]]), int(counts.sum())
    what = "1 element of a gradient was" if count == 1 else f"{count:,} elements of gradients were"
    return paragraph(
        f"{what} NaN or infinite (red), first about step {first:,} in {history.names[columns[0]]}.", soft=False
    )


def _map(history: History) -> str:
    layers = by_layer(history)
    values, wrong = positive(layers.ratio), np.asarray(layers.nonfinite, dtype=bool)
    low, high = colour_limits(values)
    names = _named(layers.names)
    first, end = int(history.first[0]), int(history.last[-1])
    label = f"Update over parameter of {len(names)} layers, steps {first:,} to {end:,}"
    ends = (f"step {first:,}", f"step {end:,}" if end > first else "")
    return heat_map(np.maximum(values, low / 10), wrong, names, (low, high), ends, "update / parameter", label)


def _named(names: Sequence[str]) -> list[str]:
    return [name or "parameters" for name in names]
