"""The picture of search paths: contour lines, losses, and how much the learning rate and the start matter.

Nothing on it is chosen to please: the trajectories are those of the best rate by one rule, from all starts, as long
as they were tuned, and the heat maps show every final value that was found, in one range of colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ravine._plotting.curve_lines import shortened
from ravine._plotting.style import Line, blank, line, tidy
from ravine.contour._contour_panel import NamedTrajectory, panel
from ravine.contour._plot_data import PlotData, PlotEntry

_ROW = 4  # heat maps beside each other
_MARKS = 24  # of a reference's line
_BELOW = 1e-6  # of the end of an axis: where a line that leaves it goes on, out of sight


def draw(data: PlotData) -> Any:
    """A matplotlib figure of the data."""
    rows = -(-len(data.entries) // _ROW)
    tall = max(1.7, 0.75 + 0.2 * len(data.starts))
    heights = [5.2, tall * rows, 0.85]
    figure = blank(13.5, sum(heights))
    title = f"Search paths on {shortened(data.name)}, each optimizer at the best of {len(data.rates)} learning rates"
    figure.suptitle(title, x=0.01, ha="left", parse_math=False)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=heights)
    legend, left, right = top.subfigures(1, 3, width_ratios=[2.6, 5.6, 4.6])
    axes = left.add_subplot()
    panel(axes, data.surface, [_named(data, entry) for entry in data.entries])
    handles, labels = axes.get_legend_handles_labels()
    size = min(9.0, 90 / max(sum(label.count("\n") + 1 for label in labels), 1) * 2)
    names = legend.legend(
        handles, labels, loc="upper left", frameon=False, fontsize=size, handlelength=3.2, labelspacing=0.9
    )
    for text in names.texts:
        text.set_parse_math(False)
    _losses(right.add_subplot(), data)
    _heat_maps(middle, data, rows)
    marks = "Bold: from the function's own start; thin: from the other starts. Heat maps share one colour scale: "
    marks += "▲ ended above the highest start, × diverged, framed: the best rate."
    bottom.text(0.01, 0.95, "\n".join([*data.protocol, marks]), va="top", fontsize=8, color="0.3", parse_math=False)
    return figure


def styles(entries: Sequence[PlotEntry]) -> list[Line]:
    """The line of each entry: references do not use up colours."""
    lines, used = [], 0
    for entry in entries:
        lines.append(line(used, entry.reference))
        used += not entry.reference
    return lines


def _named(data: PlotData, entry: PlotEntry) -> NamedTrajectory:
    rate = f"lr {data.rates[entry.best]:g}"
    if end := data.at_the_end(entry):
        rate += f", {end}"
    own, *others = [NamedTrajectory("", t.points, False, t.diverged_at) for t in entry.trajectories[entry.best]]
    label = f"{shortened(entry.label)}\n{rate}"
    return NamedTrajectory(label, own.points, entry.reference, own.diverged_at, [] if entry.reference else others)


def _losses(axes: Any, data: PlotData) -> None:
    """Loss against step: bold from the function's own start, thin from the others, as the trajectories are."""
    end = data.axis_end
    below = end * _BELOW
    for entry, style in zip(data.entries, styles(data.entries), strict=True):
        for number, trajectory in reversed(list(enumerate(entry.trajectories[entry.best]))):
            losses = np.maximum(trajectory.values, below)
            if number == 0 and entry.reference:
                every = max(1, len(losses) // _MARKS)
                axes.plot(losses, ".", color="black", markersize=4, markevery=every, zorder=style.order)
            elif number == 0:
                axes.plot(losses, **{**style.options(), "linewidth": 0.75 * style.width})
            elif not entry.reference:
                axes.plot(losses, color=style.colour, linewidth=0.6, alpha=0.45, zorder=2)
            if trajectory.diverged_at:
                axes.plot(len(losses) - 1, losses[-1], "x", color=style.colour, markersize=7 if number == 0 else 4)
    drawn = np.concatenate([t.values for entry in data.entries for t in entry.trajectories[entry.best]])
    if (drawn < end).any():
        axes.set_ylim(end, max(2 * float(drawn[np.isfinite(drawn)].max()), 100 * end))
        axes.set_title(f"values below {end:.2g} are not drawn", fontsize=8, loc="right", color="0.3")
    axes.set_yscale("log")
    axes.set_xlim(0, data.steps)
    axes.set_xlabel("step")
    axes.set_ylabel(data.quantity, parse_math=False)
    tidy(axes)


def _heat_maps(figure: Any, data: PlotData, rows: int) -> None:
    """One for each entry: its final values over rates and starts; a frame around the best rate."""
    from matplotlib.colors import LogNorm

    columns = min(_ROW, len(data.entries))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    norm = LogNorm(*data.colours)
    image = None
    for axes, entry in zip(grid.flat, data.entries, strict=False):
        image = _heat_map(axes, data, entry, norm)
    for axes in grid.flat[len(data.entries) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("start")
    ticks = np.unique(np.linspace(0, len(data.rates) - 1, 5).round().astype(int))
    shown = list(grid.flat[: len(data.entries)])
    for axes in shown[-columns:]:  # the lowest of each column, also where the last row is not full
        axes.set_xticks(ticks, [f"{data.rates[i]:g}" for i in ticks])
        axes.tick_params(axis="x", labelbottom=True)
        axes.set_xlabel("learning rate")
    bar = figure.colorbar(image, ax=list(grid.flat), extend="both", fraction=0.03, pad=0.01)
    bar.set_label(f"final {data.quantity}", parse_math=False, fontsize=8)


def _heat_map(axes: Any, data: PlotData, entry: PlotEntry, norm: Any) -> Any:
    from matplotlib.patches import Rectangle

    finals = entry.finals.T  # starts from top to bottom
    image = axes.imshow(
        np.ma.masked_where(~(finals <= norm.vmax), np.maximum(finals, 1e-300)), norm=norm, cmap="viridis", aspect="auto"
    )
    for row, column in np.argwhere(~(finals <= norm.vmax)):
        mark = "▲" if np.isfinite(finals[row, column]) else "×"
        axes.text(column, row, mark, ha="center", va="center", fontsize=7, color="0.25")
    frame = (entry.best - 0.5, -0.5), 1, len(data.starts)
    for colour, width in (("white", 3.2), ("black", 1.4)):
        axes.add_patch(Rectangle(*frame, fill=False, edgecolor=colour, linewidth=width, clip_on=False, zorder=5))
    axes.set_yticks(range(len(data.starts)), [str(i + 1) for i in range(len(data.starts))])
    axes.set_title(
        f"{shortened(entry.label)}: best {data.rates[entry.best]:g}", fontsize=9, loc="left", parse_math=False
    )
    return image
