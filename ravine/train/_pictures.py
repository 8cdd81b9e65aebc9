"""A recorder's numbers as the plain data that pictures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ravine import _files as files
from ravine.plotting import _style as style
from ravine.train import _plots as training

if TYPE_CHECKING:
    from ravine.train._recorder import Recorder


def loss(
    runs: Mapping[str, Recorder],
    *,
    scale: Literal["linear", "log"] = "linear",
    x: Literal["step", "epoch", "seconds"] = "step",
    window: int | None = None,
    title: str = "",
    path: Path | str | None = None,
) -> Any:
    """The losses of runs over each other as a matplotlib figure.

    Args:
        runs: recorders by the name they have in the picture.
        scale: of the loss's axis.
        x: what the other axis shows; seconds are those spent on batches.
        window: a point is the mean of so many steps; None: a fiftieth of the longest run.
        title: the line over the picture.
        path: also write the picture there, as a PNG file.
    """
    found = [_run(label, recorder) for label, recorder in runs.items()]
    return _written(training.draw_loss(found, scale=scale, x=x, window=window, title=title), path)


def schedule(recorder: Recorder, names: Sequence[str], path: Path | str | None) -> Any:
    """Hyperparameters against steps as a matplotlib figure: those named, or the learning rate and all that changed."""
    if not names:
        series = {name: recorder.hyper(name) for name in recorder.hyper_names}
        moved = {name: v for name, v in series.items() if len(v) and (v != v[:1]).any()}
        series = moved or {name: v for name, v in series.items() if name == "lr"}
    else:
        series = {name: recorder.hyper(name) for name in names}
    columns = {}
    for name, values in series.items():
        if values.ndim == 1:
            columns[name] = values
            continue
        for index in range(values.shape[1]):
            if names or (values[:, index] != values[:1, index]).any():
                columns[f"{name}[{index}]"] = values[:, index]
    return _written(training.draw_schedule(columns), path)


def _run(label: str, recorder: Recorder) -> training.Run:
    steps = len(recorder)
    ends = [0, *(row["step"] for row in recorder.epochs)]
    # an epoch's steps lie evenly between its ends; those of an epoch that is not done go on at the pace of the last
    places = np.arange(1, steps + 1, dtype=np.float64)
    epochs = np.interp(places, ends, np.arange(len(ends)))
    if steps > ends[-1]:
        pace = ends[-1] - ends[-2] if len(ends) > 1 else steps
        late = places > ends[-1]
        epochs[late] = len(ends) - 1 + (places[late] - ends[-1]) / pace
    return training.Run(
        label,
        recorder.losses,
        valid=[(row["step"], row["valid_loss"]) for row in recorder.epochs if "valid_loss" in row],
        epochs=epochs,
        seconds=np.cumsum(sum(recorder.seconds.values(), np.zeros(steps))),
    )


def _written(figure: Any, path: Path | str | None) -> Any:
    if path is not None:
        files.write(Path(path), style.png(figure))
    return figure
