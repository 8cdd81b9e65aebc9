"""Plots of what the steps of a run did to each parameter: as lines over the steps, and as a heat map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ravine import _files as files
from ravine._plotting.curve_lines import name_lines, shortened
from ravine._plotting.style import Line, blank, centred_text, encoded, line, tidy
from ravine._plotting.usual_ratios import USUAL, USUAL_TEXT
from ravine.errors import OptionError, nearest
from ravine.watch._history import NORMS

_WORDS = {"grad": "gradient", "param": "parameter", "update": "update"}
#: The figures that can be drawn, and what the axis calls them.
AXIS_TEXTS = {
    **{name: f"norm of {_WORDS[name.removesuffix('_norm')]}" for name in NORMS},
    "ratio": "norm of update / norm of parameter",
}
_FEW = 8  # lines that can be named at their ends
_NAMED = 40  # rows of a map that can be named, and colours of a bar beside lines
_DECADES = 10  # that an axis goes to each side of its middle value
_DRAWN = (1e-100, 1e100)  # a logarithm needs more than 0, and matplotlib room above
# the colour map has no red, nor the dark yellow that the colour-blind see instead
_RED, _GREY = "#CC3311", "0.35"


class Rows(Protocol):
    """What can be drawn: rows of steps, each from ``first`` to ``last``, and arrays of shape (rows, parameters)."""

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def first(self) -> np.ndarray: ...
    @property
    def last(self) -> np.ndarray: ...
    @property
    def grad_norm(self) -> np.ndarray: ...
    @property
    def param_norm(self) -> np.ndarray: ...
    @property
    def update_norm(self) -> np.ndarray: ...
    @property
    def ratio(self) -> np.ndarray: ...
    @property
    def nonfinite(self) -> np.ndarray: ...
    def __len__(self) -> int: ...


def draw_lines(
    history: Rows, figure: str = "grad_norm", *, names: Sequence[str] = (), path: Path | str | None = None
) -> Any:
    """A matplotlib figure with a line for each parameter over the steps, on a logarithmic axis.

    More than 8 lines have colours that go from the first parameter to the last. A value lies in the middle of the steps that its row covers.
    NaN and infinity leave a gap, and 0 lies on the lower edge. Triangles at the top mark rows in which gradients of
    these parameters were not finite.

    Args:
        history: the rows to draw.
        figure: ``"grad_norm"``, ``"param_norm"``, ``"update_norm"`` or ``"ratio"``, update over parameter.
        names: the parameters to draw; all if empty.
        path: where to write the picture; its ending decides the format: ``.png`` (also if it has none), ``.pdf`` or
            ``.svg``.

    Raises:
        OptionError: an unknown figure, parameter or format, nothing to draw yet, or a path that cannot be written.
    """
    columns = _columns(history, figure, names)
    values = positive(getattr(history, figure))[:, columns]
    labels = [shortened(history.names[column]) for column in columns]
    low, high, note = _limits(values, list(USUAL) if figure == "ratio" else [])
    places = (history.first + history.last) / 2
    picture = blank(9.5, 5.6)
    axes = picture.add_subplot()
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    colours = _colours(len(columns))
    few = len(columns) <= _FEW
    ends = []
    for label, colour, column in zip(labels, colours, values.clip(low, high).T, strict=True):
        style = Line(colour, "-", 1.8 if few else 1.0, 3)
        known = np.isfinite(column)
        # a single value between two gaps is not visible as a line: a dot
        alone = (known & ~np.append(False, known[:-1]) & ~np.append(known[1:], False)).nonzero()[0].tolist()
        axes.plot(places, column, **style.options(), marker="o", markersize=3, markevery=alone)
        ends.append((label, column[known][-1], style) if known.any() else (f"{label} (no value)", math.nan, style))
    _steps_axis(axes, history, 0.0, "a point")
    axes.set_ylabel(AXIS_TEXTS[figure])
    tidy(axes)
    if figure == "ratio":
        _mark_usual(axes)
    if not np.isfinite(values).any():
        centred_text(axes, "There is no finite value.")
    elif not (values > 0).any():
        centred_text(axes, "All values are 0.")
    _head(axes, history, columns, [(note, _GREY)] if note else [])
    if few:
        name_lines(axes, ends)
    else:
        _name_colours(picture, axes, labels, colours)
    return _written(picture, path)


def draw_heatmap(history: Rows, figure: str = "ratio", *, path: Path | str | None = None) -> Any:
    """A matplotlib figure of the parameters, the first on top, against the steps; the figure's logarithm as colour.

    Rows in which gradients were not finite are red, and missing values are hatched. 0, and single values far from all
    others, have the colour at the end of the bar.

    Args:
        history: the rows to draw.
        figure: ``"grad_norm"``, ``"param_norm"``, ``"update_norm"`` or ``"ratio"``, update over parameter.
        path: as for :func:`draw_lines`.

    Raises:
        OptionError: an unknown figure or format, nothing to draw yet, or a path that cannot be written.
    """
    columns = _columns(history, figure, ())
    values = positive(getattr(history, figure)).T
    bad = np.asarray(history.nonfinite).T > 0
    low, high = colour_limits(values)
    picture = blank(9.5, 2.2 + 0.145 * min(max(len(columns), 12), _NAMED))
    from matplotlib.colors import ListedColormap, LogNorm  # which blank can import, whatever backend is named

    axes = picture.add_subplot()
    # visible wherever there is no cell; differs from every colour in black and white, too
    axes.patch.set(facecolor="white", edgecolor="0.75", hatch="/////", linewidth=0)
    steps = np.append(history.first - 0.5, history.last[-1] + 0.5)
    rows = np.arange(len(columns) + 1) - 0.5
    # 0 has no logarithm: it is below the scale
    shown = np.ma.masked_where(np.isnan(values) | bad, np.maximum(values, low / 10))
    cells = axes.pcolormesh(steps, rows, shown, cmap="viridis", norm=LogNorm(low, high), rasterized=True)
    if bad.any():
        axes.pcolormesh(steps, rows, np.ma.masked_where(~bad, bad), cmap=ListedColormap([_RED]), rasterized=True)
    axes.set_ylim(rows[-1], rows[0])
    _steps_axis(axes, history, 0.5, "a column")
    axes.spines[["top", "right"]].set_visible(False)
    _name_ticks(axes, [shortened(name) for name in history.names], _NAMED)
    below, above = bool((shown < low).any()), bool((shown > high).any())
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
    bar = picture.colorbar(cells, ax=axes, extend=extend, pad=0.015, aspect=30)
    # a line of its own: few parameters make a low picture
    usual = f"\n(usual: {USUAL_TEXT})" if figure == "ratio" else ""
    bar.set_label(AXIS_TEXTS[figure] + usual)
    missing = (np.isnan(values) & ~bad).any()
    _head(axes, history, columns, [("Hatched: there is no value.", _GREY)] if missing else [], "red: ")
    return _written(picture, path)


# --- what is drawn -----------------------------------------------------------------------------------------------


def _columns(history: Rows, figure: str, names: Sequence[str]) -> list[int]:
    """The columns to draw, in the order of the network, after everything was checked."""
    if figure not in AXIS_TEXTS:
        raise OptionError(f"There is no figure {figure!r} to draw. {nearest(figure, AXIS_TEXTS)}")
    wanted = {names} if isinstance(names, str) else set(names)
    for name in wanted:
        if name not in history.names:
            raise OptionError(f"There is no parameter {name!r}. {nearest(name, history.names)}")
    if not len(history):
        raise OptionError("There is nothing to draw: no step has been recorded yet.")
    if not history.names:
        raise OptionError("There is nothing to draw: the history has no parameters.")
    return [i for i, name in enumerate(history.names) if not wanted or name in wanted]


def positive(values: np.ndarray) -> np.ndarray:
    """What a logarithmic axis can show: 0 stays, and what is not finite becomes NaN."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(numbers), np.where(numbers > 0, numbers.clip(*_DRAWN), 0.0), np.nan)


def _limits(values: np.ndarray, include: list[float]) -> tuple[float, float, str]:
    """The limits of the axis, and a note on values beyond them."""
    logs = np.log10(values[values > 0])
    if not len(logs):
        logs = np.array([-4.0, 0.0])
    middle = float(np.median(logs))
    low, high = max(logs.min(), middle - _DECADES), min(logs.max(), middle + _DECADES)
    low, high = min([low, *np.log10(include)]), max([high, *np.log10(include)])
    room = 0.04 * (high - low) or 0.1
    low, high = 10.0 ** (low - room), 10.0 ** (high + room)
    if ((values > 0) & ((values < low) | (values > high))).any():
        return low, high, "Values that are 0 or far from all others lie on the edge of the picture."
    return low, high, "Values that are 0 lie on the lower edge." if (values == 0).any() else ""


def colour_limits(values: np.ndarray) -> tuple[float, float]:
    """All values but the outermost 1 % at each end: a bias that starts at 0 must not use up the colours."""
    logs = np.log10(values[values > 0])
    low, high = np.quantile(logs, [0.01, 0.99]).tolist() if len(logs) else (-1.0, 0.0)
    room = max(0.0, 1.0 - (high - low)) / 2  # less than a decade would exaggerate small differences
    return 10.0 ** (low - room), 10.0 ** (high + room)


def _colours(count: int) -> list[Any]:
    """A few are told apart; many go from dark violet to green, in the order of the network: yellow is not seen on white."""
    from matplotlib import colormaps

    if count <= _FEW:
        return [line(index, False).colour for index in range(count)]
    return [tuple(colour) for colour in colormaps["viridis"](np.linspace(0.0, 0.87, count))]


# --- labels ------------------------------------------------------------------------------------------------------


def _steps_axis(axes: Any, history: Rows, room: float, part: str) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    first, last = int(history.first[0]), int(history.last[-1])
    room = room or (0.5 if first == last else 0.0)
    axes.set_xlim(first - room, last + room)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    longest = int((history.last - history.first).max()) + 1
    axes.set_xlabel("step" if longest == 1 else f"step ({part} is {longest:,} steps)")


def _mark_usual(axes: Any) -> None:
    axes.axhspan(*USUAL, color="0.94", linewidth=0, zorder=0)
    for edge in USUAL:
        axes.axhline(edge, color="white", linewidth=2.5, alpha=0.85, zorder=4)  # visible among many lines
        axes.axhline(edge, color="black", linewidth=0.8, linestyle=(0, (4, 3)), zorder=4)
    box = {"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    place = {"xycoords": axes.get_yaxis_transform(), "xytext": (0, 4), "textcoords": "offset points"}
    axes.annotate(f"usual: {USUAL_TEXT}", (0.008, USUAL[0]), **place, fontsize=8.5, color=_GREY, bbox=box, zorder=6)


def _head(axes: Any, history: Rows, columns: Sequence[int], notes: list[tuple[str, str]], mark: str = "") -> None:
    """The title and the notes below it, the first on gradients that were not finite, with marks above the axes."""
    counts = np.asarray(history.nonfinite)[:, columns].sum(axis=1)
    rows = counts.nonzero()[0]
    if len(rows):
        at = (history.first[rows] + history.last[rows]) / 2
        marks = {"marker": "v", "markersize": 5, "markeredgewidth": 0, "linestyle": "", "color": _RED}
        axes.plot(at, np.full(len(at), 1.013), transform=axes.get_xaxis_transform(), clip_on=False, **marks)
        first, last, count = int(history.first[rows[0]]), int(history.last[rows[0]]), int(counts.sum())
        what = "1 element of a gradient was" if count == 1 else f"{count:,} elements of gradients were"
        notes = [(f"▼ {mark}{what} not finite, first in {_steps(first, last)}.", _RED), *notes]
    base = 10 if len(rows) else 4
    for height, (text, colour) in enumerate(reversed(notes)):
        over = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
        axes.annotate(text, (0, 1), xytext=(0, base + 13 * height), **over, fontsize=9, color=colour)
    only = f"{len(columns):,} of {len(history.names):,}" if len(columns) < len(history.names) else f"{len(columns):,}"
    many = "parameter" if only == "1" else "parameters"
    title = f"{only} {many}, {_steps(int(history.first[0]), int(history.last[-1]))}"
    axes.set_title(title, loc="left", fontsize=12, pad=base + 2 + 13 * len(notes))


def _steps(first: int, last: int) -> str:
    return f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"


def _name_colours(picture: Any, axes: Any, labels: Sequence[str], colours: Sequence[Any]) -> None:
    """A bar of the lines' colours, the first parameter on top."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    scale = ScalarMappable(Normalize(-0.5, len(labels) - 0.5), ListedColormap(colours))
    bar = picture.colorbar(scale, ax=axes, pad=0.015, aspect=35)
    bar.outline.set_visible(False)
    bar.ax.invert_yaxis()
    bar.ax.minorticks_off()
    _name_ticks(bar.ax, labels, _NAMED - 10)


def _name_ticks(axes: Any, labels: Sequence[str], most: int) -> None:
    """Names at the rows of a heat map or at the colours of a bar, at most so many."""
    every = -(-len(labels) // most)
    shown = list(range(0, len(labels), every))
    shown[-1] = len(labels) - 1  # the first and the last are always named
    axes.set_yticks(shown, [labels[i] for i in shown], fontsize=8, parse_math=False)
    axes.tick_params(axis="y", length=2)
    if every > 1:
        axes.set_ylabel(f"1 parameter in {every} is named", fontsize=9, color=_GREY)


def _written(picture: Any, path: Path | str | None) -> Any:
    if path is not None:
        kind = Path(path).suffix.lower() or ".png"
        if kind not in (".png", ".pdf", ".svg"):
            raise OptionError(f"{path}: a picture ends in .png, .pdf or .svg.")
        files.write(Path(path), encoded(picture, kind[1:]))
    return picture
