"""The picture of the losses of one or more runs.

Draws plain numbers; knows no Learner and no recorder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ravine import _files as files
from ravine._plotting.curve_lines import name_lines, smoothed
from ravine._plotting.style import Line, blank, centred_text, line, plain_ticks, png, tidy
from ravine.errors import OptionError

_LEAST, _MOST = 1e-16, 1e100  # a logarithm needs more than 0, and matplotlib room above


@dataclass(frozen=True)
class LossCurve:
    """The losses of one training.

    Args:
        label: its name.
        train: the loss of every step from the first; may hold NaN and infinity.
        valid: pairs of the steps done and the validation loss then, in their order.
        epochs: how many epochs were done after each step, as long as ``train``; for ``x="epoch"``.
        seconds: the time since the start after each step, as long as ``train``; for ``x="seconds"``.
    """

    label: str
    train: Sequence[float] | np.ndarray
    valid: Sequence[tuple[int, float]] = ()
    epochs: Sequence[float] | np.ndarray | None = None
    seconds: Sequence[float] | np.ndarray | None = None

    @classmethod
    def of_run(
        cls, label: str, losses: np.ndarray, rows: Sequence[Mapping[str, Any]], seconds: Mapping[str, np.ndarray]
    ) -> LossCurve:
        """The curve of what a recorder has.

        Args:
            label: its name.
            losses: of every step, shape (steps,).
            rows: the rows of the table of epochs.
            seconds: by the part of a batch, those of every step, shape (steps,).
        """
        steps = len(losses)
        ends = [0, *(row["step"] for row in rows)]
        # an epoch's steps lie evenly between its ends; those of an unfinished epoch have the last one's pace
        places = np.arange(1, steps + 1, dtype=np.float64)
        epochs = np.interp(places, ends, np.arange(len(ends)))
        if steps > ends[-1]:
            pace = ends[-1] - ends[-2] if len(ends) > 1 else steps
            late = places > ends[-1]
            epochs[late] = len(ends) - 1 + (places[late] - ends[-1]) / pace
        valid = [(row["step"], row["valid_loss"]) for row in rows if "valid_loss" in row]
        return cls(label, losses, valid, epochs, np.cumsum(sum(seconds.values(), np.zeros(steps))))


def draw_losses(
    runs: Sequence[LossCurve],
    *,
    scale: Literal["linear", "log"] = "linear",
    x: Literal["step", "epoch", "seconds"] = "step",
    window: int | None = None,
    title: str = "",
    path: Path | str | None = None,
) -> Any:
    """A matplotlib figure of the losses of one or more runs: training as lines, validation as lines with dots.

    Outliers and divergence do not stretch the picture; what is higher leaves it at the top.

    Args:
        runs: in the order of their colours.
        scale: of the axis of the loss.
        x: what lies along the other axis; the runs have to hold it.
        window: a point of a training line is the mean of so many last steps; None: a fiftieth of the longest run.
            If there is one run, the losses themselves lie faintly behind.
        title: the line over the picture.
        path: also write the picture there, as a PNG file.

    Raises:
        OptionError: an unknown ``scale`` or ``x``, a window below 1, a run whose parts do not fit each other, or
            a loss below 0 on a logarithmic axis.
    """
    if scale not in ("linear", "log"):
        raise OptionError(f"scale {scale!r} is not known; it is 'linear' or 'log'.")
    if window is not None and (not isinstance(window, int) or window < 1):
        raise OptionError(f"window {window!r}: a point is the mean of at least 1 step.")
    window = window or max([1, *(len(run.train) // 50 for run in runs)])
    drawn = [_Drawn(run, index, scale, x, window) for index, run in enumerate(runs)]
    figure = blank(9.5, 5.6)
    axes = figure.add_subplot()
    longest = max((float(one.places[-1]) for one in drawn), default=0.0)
    unit, name = _unit(x, longest)
    for one in drawn:
        one.draw(axes, unit, alone=len(runs) == 1)
    axes.set_yscale(scale)
    axes.set_xlim(0, 1.012 * longest / unit or 1.0)  # room for the last dot
    _limit(axes, drawn)
    if scale == "log":
        plain_ticks(axes)
    axes.set_xlabel(name)
    axes.set_ylabel("loss" if window == 1 else f"loss (training: mean of the last {window} steps)")
    axes.set_title(title, loc="left", parse_math=False)
    tidy(axes)
    if any(len(one.valid) for one in drawn):
        axes.plot([], [], color="0.35", linewidth=2, label="training")
        axes.plot([], [], color="0.35", label="validation", **_DOTS)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2, frameon=False, fontsize=9)
    if all(math.isnan(one.end[1]) for one in drawn):
        centred_text(axes, "No loss was finite." if longest else "There are no losses yet.")
    name_lines(axes, [one.end for one in drawn])
    if path is not None:
        files.write(Path(path), png(figure))
    return figure


_DOTS = {"marker": "o", "markersize": 5.5, "markeredgecolor": "white", "linestyle": "-", "linewidth": 1.2, "zorder": 5}


class _Drawn:
    """A run as it is drawn: ``places`` holds where on the axis each number of steps done lies, from 0 steps on."""

    def __init__(self, run: LossCurve, index: int, scale: str, x: str, window: int) -> None:
        self.run, self.scale, self.style = run, scale, line(index, False)
        self.losses = np.asarray(run.train, dtype=np.float64)
        pairs = np.asarray(run.valid, dtype=np.float64).reshape(-1, 2)
        self.places = _places(run, x)
        self.valid_at, self.valid = pairs[:, 0].astype(int), pairs[:, 1]
        if ((pairs[:, 0] < 0) | (pairs[:, 0] > len(self.losses))).any():
            raise OptionError(f"Run {run.label!r} has {len(self.losses)} steps, but validation losses at others.")
        finite = np.isfinite(self.losses)
        every = np.concatenate([self.losses[finite], self.valid[np.isfinite(self.valid)]])
        if scale == "log" and (every < 0).any():
            raise OptionError(f"Run {run.label!r} has losses below 0, which scale='log' cannot show; use 'linear'.")
        # the mean of finite losses only, and a gap in the line where one is not finite
        self.means = np.full(len(finite), np.nan)
        self.means[finite] = smoothed(self.losses[finite], window)

    def _shown(self, values: np.ndarray) -> np.ndarray:
        """What matplotlib can draw: NaN leaves a gap."""
        return np.where(np.isfinite(values), values.clip(_LEAST if self.scale == "log" else -_MOST, _MOST), np.nan)

    @property
    def train_line(self) -> np.ndarray:
        return self._shown(self.means)

    @property
    def valid_line(self) -> np.ndarray:
        return self._shown(self.valid)

    def draw(self, axes: Any, unit: float, alone: bool) -> None:
        at, style = self.places / unit, self.style
        if alone and not np.array_equal(self.means, self.losses, equal_nan=True):
            axes.plot(at[1:], self._shown(self.losses), color=style.colour, alpha=0.25, linewidth=0.7, zorder=1)
        # a line of one point would not be seen
        axes.plot(at[1:], self.train_line, **style.options(), marker="s" if len(self.losses) == 1 else None)
        if len(self.valid):
            axes.plot(at[self.valid_at], self.valid_line, color=style.colour, **_DOTS)
        if self.diverged and np.isfinite(self.means).any():
            last = np.isfinite(self.means).nonzero()[0][-1]
            axes.plot(at[last + 1], self.train_line[last], "x", color=style.colour, markersize=9, zorder=6)

    @property
    def diverged(self) -> bool:
        return bool(len(self.losses)) and not math.isfinite(self.losses[-1])

    @property
    def end(self) -> tuple[str, float, Line]:
        """The line's name, with what became of it, its last value, and its style."""
        label, broken = self.run.label, ~np.isfinite(self.losses)
        if self.diverged:
            sound = 0 if broken.all() else len(broken) - int((~broken[::-1]).argmax())
            label += f" (diverged at step {sound + 1})"
        elif broken.any():
            label += f" ({int(broken.sum())} losses not finite)"
        known = [*self.valid_line[np.isfinite(self.valid_line)][-1:], *self.train_line[np.isfinite(self.means)][-1:]]
        return label, float(known[-1]) if known else math.nan, self.style


def _places(run: LossCurve, x: str) -> np.ndarray:
    if x == "step":
        return np.arange(len(run.train) + 1.0)
    if x not in ("epoch", "seconds"):
        raise OptionError(f"x {x!r} is not known; it is 'step', 'epoch' or 'seconds'.")
    name = {"epoch": "epochs", "seconds": "seconds"}[x]
    given = run.epochs if x == "epoch" else run.seconds
    if given is None or len(given) != len(run.train):
        held = "none" if given is None else len(given)
        raise OptionError(
            f"x={x!r} needs {name} for each of the {len(run.train)} steps of {run.label!r}; it has {held}."
        )
    return np.concatenate([[0.0], np.asarray(given, dtype=np.float64)])


def _unit(x: str, longest: float) -> tuple[float, str]:
    """What to divide the places by, and the axis's name."""
    if x != "seconds" or longest < 600:
        return 1.0, x
    return (60.0, "minutes") if longest < 4 * 3600 else (3600.0, "hours")


def _limit(axes: Any, drawn: Sequence[_Drawn]) -> None:
    """From the lowest value to the highest that is not an outlier: above all first losses and far from most others."""
    log = axes.get_yscale() == "log"
    trained, validated = (
        [np.log(kept) if log else kept for kept in (values[np.isfinite(values)] for values in lines) if len(kept)]
        for lines in ([one.train_line for one in drawn], [one.valid_line for one in drawn])
    )
    values = [np.concatenate(group) for group in (trained, validated) if group]
    if not values:
        return
    low, high = min(group.min() for group in values), max(group.max() for group in values)
    # so many times as far above the middle as the lowest is below it; of two middle values the lower, as one may be
    # wild
    times = 2 if log else 6
    middles = [np.quantile(group, 0.5, method="lower") for group in values]
    fences = [middle + times * (middle - group.min()) for middle, group in zip(middles, values, strict=True)]
    high = min(high, max([*fences, *(one[0] for one in trained)]))
    room = 0.04 * (high - low) or 0.04 * abs(high) or 0.5
    axes.set_ylim(*(np.exp([low - room, high + room]) if log else (low - room, high + room)))
