"""The picture of hyperparameters: the value that each step used.

Draws plain numbers; knows no Learner and no recorder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ravine import _files as files
from ravine._plotting.style import blank, centred_text, line, png, tidy

_MOST = 1e100  # matplotlib has no room above
_STEPS = {"color": line(0, False).colour, "linewidth": 1.8, "drawstyle": "steps-post", "solid_joinstyle": "miter"}


def changed(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the hyperparameters that changed, or the learning rate where none did; the numbers of a pair apart."""
    moved = {name: v for name, v in values.items() if len(v) and (v != v[:1]).any()}
    return columns(moved or {name: v for name, v in values.items() if name == "lr"}, only_changed=True)


def columns(values: Mapping[str, np.ndarray], only_changed: bool = False) -> dict[str, np.ndarray]:
    """A row of values, shape (steps,), for each hyperparameter: ``betas`` becomes ``betas[0]`` and ``betas[1]``."""
    rows = {}
    for name, series in values.items():
        if series.ndim == 1:
            rows[name] = series
            continue
        for index, row in enumerate(series.T):
            if not only_changed or (row != row[:1]).any():
                rows[f"{name}[{index}]"] = row
    return rows


def draw_hypers(
    series: Mapping[str, Sequence[float] | np.ndarray], title: str = "", path: Path | str | None = None
) -> Any:
    """A matplotlib figure with a panel for each hyperparameter: its value in every step.

    A step's value is drawn from the end of the step before to its own end; NaN leaves a gap.

    Args:
        series: the values by name, each of shape (steps,).
        title: the line over the picture.
        path: also write the picture there, as a PNG file.
    """
    side_by_side = 1 if len(series) <= 4 else 2
    rows = -(-len(series) // side_by_side) or 1
    figure = blank(9.5, 1.1 + 1.7 * rows)
    panels = figure.subplots(rows, side_by_side, sharex=True, squeeze=False).flatten()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, parse_math=False)
    longest = max((len(values) for values in series.values()), default=0)
    if not longest:
        centred_text(panels[0], "No step was done yet.")
        tidy(panels[0])
    for axes, (name, values) in zip(panels, series.items(), strict=False):
        known = np.asarray(values, dtype=np.float64)
        known = np.where(np.isfinite(known), known.clip(-_MOST, _MOST), np.nan)
        ends = np.arange(len(known) + 1)
        axes.plot(ends, np.append(known, known[-1:] if len(known) else np.nan), **_STEPS)
        axes.set_title(name, loc="left", fontsize=10, parse_math=False)
        axes.ticklabel_format(axis="y", useOffset=False, scilimits=(-3, 4))
        axes.set_xlim(0, longest or 1)
        tidy(axes)
    for axes in panels[max(len(series), 1) :]:
        axes.set_visible(False)
    for axes in panels[: max(len(series), 1)][-side_by_side:]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
    figure.supxlabel("step", fontsize=10)
    if path is not None:
        files.write(Path(path), png(figure))
    return figure
