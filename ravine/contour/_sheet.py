"""The search paths on one sheet: contour lines, losses, and how much the learning rate and the start matter.

Nothing on it is chosen to please: the paths are those of the best rate by one rule, from all starts, as long as they
were tuned, and the heat maps show every final value that was found, in one range of colours.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ravine.contour._plot import Path, panel
from ravine.contour._scene import Member, Scene
from ravine.plotting._curves import shortened
from ravine.plotting._style import Line, blank, line, tidy

_ROW = 4  # heat maps beside each other
_MARKS = 24  # of a reference's line


def draw(scene: Scene) -> Any:
    """A matplotlib figure of the scene."""
    rows = -(-len(scene.members) // _ROW)
    tall = max(1.7, 0.75 + 0.2 * len(scene.starts))
    heights = [5.2, tall * rows, 0.85]
    figure = blank(13.5, sum(heights))
    title = f"Search paths on {shortened(scene.name)}, each optimizer at the best of {len(scene.rates)} learning rates"
    figure.suptitle(title, x=0.01, ha="left", parse_math=False)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=heights)
    legend, left, right = top.subfigures(1, 3, width_ratios=[2.6, 5.6, 4.6])
    axes = left.add_subplot()
    panel(axes, scene.surface, [_path(scene, member) for member in scene.members])
    handles, labels = axes.get_legend_handles_labels()
    size = min(9.0, 90 / max(sum(label.count("\n") + 1 for label in labels), 1) * 2)
    entries = legend.legend(
        handles, labels, loc="upper left", frameon=False, fontsize=size, handlelength=3.2, labelspacing=0.9
    )
    for text in entries.texts:
        text.set_parse_math(False)
    _losses(right.add_subplot(), scene)
    _heat_maps(middle, scene, rows)
    marks = "Bold: from the function's own start; thin: from the other starts. In the heat maps, which share one range "
    marks += "of colours: ▲ ended above the highest start, × diverged, framed: the best rate."
    bottom.text(0.01, 0.95, "\n".join([*scene.protocol, marks]), va="top", fontsize=8, color="0.3", parse_math=False)
    return figure


def looks(members: Sequence[Member]) -> list[Line]:
    """References do not use up colours."""
    found, used = [], 0
    for member in members:
        found.append(line(used, member.reference))
        used += not member.reference
    return found


def _path(scene: Scene, member: Member) -> Path:
    rate = f"lr {scene.rates[member.best]:g}"
    if end := scene.at_the_end(member):
        rate += f", {end}"
    own, *others = [Path("", route.points, False, route.diverged_at) for route in member.routes[member.best]]
    label = f"{shortened(member.label)}\n{rate}"
    return Path(label, own.points, member.reference, own.diverged_at, [] if member.reference else others)


def _losses(axes: Any, scene: Scene) -> None:
    """Loss against step: bold from the function's own start, thin from the others, as the paths are."""
    for member, look in zip(scene.members, looks(scene.members), strict=True):
        for number, route in reversed(list(enumerate(member.routes[member.best]))):
            losses = np.maximum(route.losses, scene.least)
            if number == 0 and member.reference:
                every = max(1, len(losses) // _MARKS)
                axes.plot(losses, ".", color="black", markersize=4, markevery=every, zorder=look.order)
            elif number == 0:
                axes.plot(losses, **{**look.options(), "linewidth": 0.75 * look.width})
            elif not member.reference:
                axes.plot(losses, color=look.colour, linewidth=0.6, alpha=0.45, zorder=2)
            if route.diverged_at:
                axes.plot(len(losses) - 1, losses[-1], "x", color=look.colour, markersize=7 if number == 0 else 4)
    axes.set_yscale("log")
    axes.set_xlim(0, scene.steps)
    axes.set_xlabel("step")
    axes.set_ylabel(scene.quantity, parse_math=False)
    tidy(axes)


def _heat_maps(figure: Any, scene: Scene, rows: int) -> None:
    """One for each member: its final values over rates and starts; a frame around the best rate."""
    from matplotlib.colors import LogNorm

    columns = min(_ROW, len(scene.members))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    norm = LogNorm(*scene.colours)
    image = None
    for axes, member in zip(grid.flat, scene.members, strict=False):
        image = _heat_map(axes, scene, member, norm)
    for axes in grid.flat[len(scene.members) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("start")
    ticks = np.unique(np.linspace(0, len(scene.rates) - 1, 5).round().astype(int))
    shown = list(grid.flat[: len(scene.members)])
    for axes in shown[-columns:]:  # the lowest of each column, also where the last row is not full
        axes.set_xticks(ticks, [f"{scene.rates[i]:g}" for i in ticks])
        axes.tick_params(axis="x", labelbottom=True)
        axes.set_xlabel("learning rate")
    bar = figure.colorbar(image, ax=list(grid.flat), extend="both", fraction=0.03, pad=0.01)
    bar.set_label(f"final {scene.quantity}", parse_math=False, fontsize=8)


def _heat_map(axes: Any, scene: Scene, member: Member, norm: Any) -> Any:
    from matplotlib.patches import Rectangle

    finals = member.finals.T  # starts from top to bottom
    image = axes.imshow(
        np.ma.masked_where(~(finals <= norm.vmax), np.maximum(finals, 1e-300)), norm=norm, cmap="viridis", aspect="auto"
    )
    for row, column in np.argwhere(~(finals <= norm.vmax)):
        mark = "▲" if np.isfinite(finals[row, column]) else "×"
        axes.text(column, row, mark, ha="center", va="center", fontsize=7, color="0.25")
    frame = (member.best - 0.5, -0.5), 1, len(scene.starts)
    for colour, width in (("white", 3.2), ("black", 1.4)):
        axes.add_patch(Rectangle(*frame, fill=False, edgecolor=colour, linewidth=width, clip_on=False, zorder=5))
    axes.set_yticks(range(len(scene.starts)), [str(i + 1) for i in range(len(scene.starts))])
    axes.set_title(
        f"{shortened(member.label)}: best {scene.rates[member.best]:g}", fontsize=9, loc="left", parse_math=False
    )
    return image
