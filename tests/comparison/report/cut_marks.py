"""Looks for marks of a figure that its axes cut off."""

from typing import Any


def cut_marks(figure: Any) -> list[tuple[float, float]]:
    """The places of all marks of lines that are not wholly within their axes, in pixels."""
    figure.canvas.draw()
    cut = []
    for axes in figure.axes:
        box = axes.get_window_extent()
        for line in axes.lines:
            if line.get_marker() in ("None", "", None) or not line.get_clip_on():
                continue
            reach = line.get_markersize() / 2 * figure.dpi / 72
            for x, y in line.get_transform().transform(line.get_xydata()):
                if not (box.x0 <= x - reach and x + reach <= box.x1 and box.y0 <= y - reach and y + reach <= box.y1):
                    cut.append((x, y))
    return cut
