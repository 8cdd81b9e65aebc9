"""The picture of a learning-rate finder: the loss against the rate, and below it what each rule suggests.

Draws plain numbers; finds nothing itself.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from ravine._plotting.style import blank, line, tidy

_MOST = 1e100
_MARKERS = "oDs^vP"


def draw_lr_find(
    rates: np.ndarray,
    losses: np.ndarray,
    suggestions: Sequence[tuple[str, float, float, float]],
    *,
    title: str = "",
    reason: str = "",
) -> Any:
    """A matplotlib figure: above the mean of the sweeps and the range that they fill, below a row for each rule.

    Args:
        rates: ascending, shape (steps,).
        losses: shape (orders, steps), NaN from where a sweep ended.
        suggestions: (rule, lr, low, high); NaN for what is missing.
        title: the line over the picture.
        reason: written into the picture: why there are no suggestions.
    """
    figure = blank(9.5, 5.6)
    rows = [suggestion for suggestion in suggestions if not reason]
    upper, *lower = figure.subplots(
        2 if rows else 1, 1, sharex=True, height_ratios=[1, 0.055 * len(rows) + 0.02] if rows else [1], squeeze=False
    ).flatten()
    table = np.where(np.isfinite(losses), np.clip(losses, -_MOST, _MOST), np.nan)
    finite = np.isfinite(table).all(axis=0)
    upper.set_xscale("log")
    if len(rates) > 1:
        upper.set_xlim(rates[0], rates[-1])
    style = line(0, False)
    if len(table) > 1:
        upper.fill_between(
            rates, table.min(axis=0), table.max(axis=0), color=style.colour, alpha=0.18, linewidth=0, label="all sweeps"
        )
    mean = table.mean(axis=0)
    upper.plot(rates, mean, **style.options())
    if finite.any():
        _limit(upper, mean[finite])
    upper.set_ylabel("loss" if len(table) == 1 else f"loss, mean and range of {len(table)} sweeps")
    upper.set_title(title, loc="left", parse_math=False)
    tidy(upper)
    for index, (_, lr, _, _) in enumerate(rows):
        if not math.isnan(lr):
            height = float(np.interp(math.log(lr), np.log(rates[finite]), mean[finite]))
            options = {"color": line(index + 1, False).colour, "zorder": 6 + len(rows) - index}
            upper.axvline(lr, linewidth=1, linestyle=":", color=options["color"])
            upper.plot(lr, height, _MARKERS[index % len(_MARKERS)], markersize=9, markeredgecolor="white", **options)
    if lower:
        _rows(lower[0], rows)
    (lower or [upper])[-1].set_xlabel("learning rate")
    if reason:
        text = "\n".join(textwrap.fill(part, 84) for part in reason.splitlines())
        box = {"boxstyle": "round,pad=0.8", "facecolor": "white", "edgecolor": "0.7"}
        upper.text(
            0.5, 0.5, text, transform=upper.transAxes, ha="center", va="center", bbox=box, zorder=9, parse_math=False
        )
    return figure


def _rows(axes: Any, rows: Sequence[tuple[str, float, float, float]]) -> None:
    """A rule in each row, the first on top: its rate as a marker, its band as a bar, and both in words."""
    for index, (_, lr, low, high) in enumerate(rows):
        colour = line(index + 1, False).colour
        text = "no answer" if math.isnan(lr) else f"{lr:.2g}"
        if not math.isnan(lr):
            axes.axvline(lr, linewidth=1, linestyle=":", color=colour)
            axes.plot(lr, index, _MARKERS[index % len(_MARKERS)], color=colour, markersize=8, markeredgecolor="white")
        if not math.isnan(low):
            axes.plot([low, high], [index, index], color=colour, linewidth=5, alpha=0.45, solid_capstyle="butt")
            text += f"   ({low:.2g} to {high:.2g})"
        axes.text(1.02, index, text, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [rule for rule, *_ in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    tidy(axes)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)


def _limit(axes: Any, mean: np.ndarray) -> None:
    """The fall in full, and as much again of the rise after it as half of the fall."""
    low = int(mean.argmin())
    before = float(mean[: low + 1].max())
    high = min(float(mean.max()), before + 0.5 * (before - float(mean[low])) or math.inf)
    room = 0.05 * (high - mean[low]) or 0.05 * abs(high) or 0.5
    axes.set_ylim(mean[low] - room, high + room)
