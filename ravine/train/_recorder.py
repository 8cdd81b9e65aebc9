"""What a training measured, batch by batch and epoch by epoch: in memory, and in a file while it runs."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ravine._files.json_lines import Journal, read
from ravine._whole_numbers import count
from ravine.errors import DataError, OptionError, nearest
from ravine.train._arguments_of_others import answers
from ravine.train._hyper_plot import changed, columns, draw_hypers
from ravine.train._loss_plot import LossCurve, draw_losses
from ravine.train._lr_find.lr_find_result import LRFind
from ravine.train._names_of_others import OF_RECORDER, AnswersNearest
from ravine.watch._hyper_log import HyperLog, Value

METRICS = "metrics.jsonl"
"""The file of a run's folder that has the numbers."""

PARTS = ("data", "forward", "backward", "step")
"""The parts of a batch: fetching it, model and loss, gradients, the optimizer's step."""

SMOOTHING = 0.98
"""The weight of the past in the smoothed loss, an exponential moving average with bias correction."""

_WRITE_EVERY = 2.0  # seconds
_MOST_PENDING = 1000  # batches, whose losses may still be on a GPU


def epochs_text(number: int) -> str:
    """``1 epoch``, ``2 epochs``."""
    return f"{number} epoch{'s' * (number != 1)}"


def _plain(value: Any) -> Any:
    """A value of the table as a file can have it."""
    if isinstance(value, Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        value = value.item()
    return value if isinstance(value, str | int | float | None) else str(value)


class Recorder(AnswersNearest):
    """The numbers of a training, over all calls of ``fit``.

    A *step* here is one batch: row ``i`` of every array belongs to the ``i``-th batch that was trained on.
    On a GPU the seconds are those of launching the work, not of finishing it.

    Args:
        path: a file to which everything is also appended while training, as lines of JSON.
    """

    _of_others = OF_RECORDER

    def __init__(self, path: Path | None = None) -> None:
        self.journal = Journal(path) if path is not None else None
        self._forget()

    def _forget(self) -> None:
        """Become a recorder of nothing."""
        self.epochs: list[dict[str, Any]] = []
        self.notes: list[tuple[int, str]] = []
        # what fit_begins was told, and fit_ends; of a load without those before it
        self.fits: list[dict[str, Any]] = []
        self.lr_find: LRFind | None = None
        self._loss, self._smooth = array("d"), array("d")
        self._rows = array("q")  # how many rows each batch had
        self._seconds = {part: array("d") for part in PARTS}
        self._hypers = HyperLog()
        self._average = 0.0
        self._pending: list[Tensor] = []
        self._written, self._wrote_at = 0, 0.0
        self._file_differs = False  # the file holds other steps than those that were loaded
        self._begun: dict[str, Any] | None = None  # a fit without a step, of which the file knows nothing

    # --- writing --------------------------------------------------------------------------------------------

    def fit_begins(self, **known: Any) -> None:
        """Record that a fit begins, with what is known of it; the file has it with its first step."""
        self.fits.append({"step": len(self), **known})
        self._begun = self.fits[-1]

    def fit_ends(self, how: str, text: str = "") -> None:
        """Record how the fit ended: ``done``, ``stopped``, ``interrupted`` or ``failed``, and why. One without a step leaves nothing."""
        self.write()
        if self._begun is None:
            self.fits[-1]["end"] = end = {"step": len(self), "how": how, "text": text}
            self._append({"kind": "end", **end})

    def batch(self, loss: Tensor, moments: Sequence[float], rows: int = 1) -> None:
        """Record a batch: its loss, a tensor of one element, the five times that bound its four parts, and its rows."""
        self._pending.append(loss)
        self._rows.append(rows)
        began, fetched, forwarded, backed, stepped = moments
        seconds = self._seconds
        seconds["data"].append(fetched - began)
        seconds["forward"].append(forwarded - fetched)
        seconds["backward"].append(backed - forwarded)
        seconds["step"].append(stepped - backed)
        if stepped - self._wrote_at > _WRITE_EVERY or len(self._pending) >= _MOST_PENDING:
            self._wrote_at = stepped
            self.write()

    def hypers(self, optimizer: torch.optim.Optimizer) -> None:
        """Record the hyperparameters that the coming step uses."""
        self._hypers.observe(len(self), optimizer.param_groups, optimizer.defaults)

    def flush(self) -> None:
        """Fetch the losses of the last batches; on a GPU this waits until they are computed."""
        if not self._pending:
            return
        losses = torch.stack(self._pending).double().tolist()
        self._pending.clear()
        self._append_losses(losses)

    def _append_losses(self, losses: Sequence[float]) -> None:
        average, count = self._average, len(self._loss)
        for loss in losses:
            count += 1
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            self._smooth.append(average / (1 - SMOOTHING**count))
        self._average = average
        self._loss.extend(losses)

    def write(self) -> None:
        """Fetch the losses, and append what is new to the file."""
        self.flush()
        first, last = self._written, len(self._loss)
        if first == last:
            return
        if self.journal is not None:
            if self._file_differs:
                self._file_differs = False
                self._write_again()
                return
            self._write_begun()
            line = {"kind": "steps", "first": first, "loss": list(self._loss[first:last])}
            line["rows"] = list(self._rows[first:last])
            line |= {part: [round(s, 7) for s in values[first:last]] for part, values in self._seconds.items()}
            # a change that the next batch uses waits for it
            self.journal.append({**line, "hypers": [change for change in self._hypers.pending if change[0] < last]})
        self._written, self._begun = last, None
        self._hypers.reported(last)

    def _write_begun(self) -> None:
        if self._begun is not None:
            self._append({"kind": "fit", **self._begun})

    def _write_again(self) -> None:
        """Write everything, after a line that says so: what the file has so far is of another run."""
        self._append({"kind": "start"})
        self._written = 0
        self._hypers.report_again()
        self.write()
        for row in self.epochs:
            self._append({"kind": "epoch", **row})
        for step, sentence in self.notes:
            self._append({"kind": "note", "step": step, "text": sentence})

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Record an epoch: its row of the table."""
        self.write()
        self.epochs.append({**row, "step": len(self)})
        self._append({"kind": "epoch", **self.epochs[-1]})

    def amend(self, row: Mapping[str, Any]) -> None:
        """Record what callbacks have added to the last epoch's row, or changed in it."""
        amended = {name: _plain(value) for name, value in row.items()} | {"step": len(self)}
        if repr(amended) != repr(self.epochs[-1]):  # NaN is not equal to itself
            self.epochs[-1] = amended
            self._append({"kind": "epoch", **amended})

    def note(self, sentence: str) -> None:
        """Record a sentence that was shown at this step."""
        self.write()
        self.notes.append((len(self), sentence))
        self._append({"kind": "note", "step": len(self), "text": sentence})

    def _append(self, line: dict[str, Any]) -> None:
        if self.journal is not None:
            self.journal.append(line)

    # --- reading -------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many batches were trained on."""
        return len(self._seconds["data"])

    def __repr__(self) -> str:
        last = self.epochs[-1] if self.epochs else {}
        shown = "".join(f", {name} {last[name]:.5g}" for name in ("train_loss", "valid_loss") if name in last)
        return f"Recorder({epochs_text(len(self.epochs))}, {count(len(self), 'step')}{shown})"

    def _repr_html_(self) -> str:
        from ravine.train._recorder_output import recorder_html

        return recorder_html(f"{epochs_text(len(self.epochs))}, {count(len(self), 'step')}", self.losses, self.epochs)

    @property
    def losses(self) -> np.ndarray:
        """The loss of every batch, before its step, shape (steps,)."""
        self.flush()
        return np.array(self._loss)

    def losses_from(self, step: int) -> list[float]:
        """Those of ``losses`` from a batch on, counted from 0: cheap where only the last ones are new."""
        self.flush()
        return self._loss[step:].tolist()

    @property
    def smoothed(self) -> np.ndarray:
        """The loss as the progress bar shows it: an exponential moving average over the batches, shape (steps,)."""
        self.flush()
        return np.array(self._smooth)

    @property
    def smooth_loss(self) -> float:
        """The smoothed loss now; NaN before the first batch."""
        self.flush()
        return self._smooth[-1] if self._smooth else math.nan

    @property
    def seconds(self) -> dict[str, np.ndarray]:
        """The seconds of every batch in ``data``, ``forward``, ``backward`` and ``step``, each of shape (steps,)."""
        return {part: np.array(values) for part, values in self._seconds.items()}

    @property
    def hyper_names(self) -> list[str]:
        """The hyperparameters that were recorded; those of a second group end in ``/1``, of a third in ``/2``."""
        return list(self._hypers.changes)

    @property
    def hyper_changes(self) -> Mapping[str, Sequence[tuple[int, Value]]]:
        """By name, from which step on, counted from 0, a hyperparameter had which value."""
        return self._hypers.changes

    def hyper(self, name: str) -> np.ndarray:
        """The value of a hyperparameter that each step used, shape (steps,), or (steps, 2) for betas.

        Raises:
            OptionError: none of that name was recorded.
        """
        return self._hypers.values(name, len(self))

    def last_hypers(self) -> dict[str, Value]:
        """The hyperparameters of the last step, by name."""
        return {name: changes[-1][1] for name, changes in self._hypers.changes.items()}

    def mean_loss(self, batches: int) -> float:
        """The mean loss of the rows of the last so many batches; NaN if there are none."""
        if not (batches and len(self._rows)):
            return math.nan
        losses, rows = self.losses[-batches:], np.array(self._rows[-batches:])
        return float(np.average(losses, weights=rows if rows.any() else None))

    def column(self, name: str) -> np.ndarray:
        """A column of the table of epochs, such as ``valid_loss``, shape (epochs,); NaN where a row has none.

        Raises:
            OptionError: no row has it.
        """
        known = list(dict.fromkeys(key for row in self.epochs for key in row))
        if name not in known:
            raise OptionError(f"The epochs have no {name!r}. {nearest(name, known)}")
        return np.array([row.get(name, np.nan) for row in self.epochs], dtype=np.float64)

    # --- saving --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything, and how far the file was written."""
        self.write()
        return {
            "loss": torch.tensor(self._loss, dtype=torch.float64),
            "smooth": torch.tensor(self._smooth, dtype=torch.float64),
            "rows": torch.tensor(self._rows, dtype=torch.int64),
            "seconds": {part: torch.tensor(v, dtype=torch.float64) for part, v in self._seconds.items()},
            "hypers": self._hypers.state_dict(),
            "average": self._average,
            "epochs": self.epochs,
            "notes": self.notes,
            "position": self.journal.position() if self.journal is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any], rewind: bool = False) -> None:
        """Become the recorder that gave ``state``; with ``rewind`` the file loses what was written after that."""
        self._loss, self._smooth = array("d", state["loss"].tolist()), array("d", state["smooth"].tolist())
        self._rows = array("q", state["rows"].tolist() if "rows" in state else [1] * len(self._loss))
        self._seconds = {part: array("d", v.tolist()) for part, v in state["seconds"].items()}
        self._hypers.load_state_dict(state["hypers"])
        self._average, self.epochs = state["average"], list(state["epochs"])
        self.notes = [(step, text) for step, text in state["notes"]]
        self._pending, self._written = [], len(self._loss)
        self._file_differs = not rewind
        if rewind and self.journal is not None and state["position"] is not None:
            self.journal.rewind(state["position"])

    @classmethod
    def load(cls, path: Path | str) -> Recorder:
        """The recorder that wrote the file ``path``, or the file ``metrics.jsonl`` of a run's folder ``path``.

        Raises:
            DataError: there is no such file, or it is damaged.
        """
        path = Path(path)
        path = path / METRICS if path.is_dir() else path
        if path.is_file() and path.suffix != Path(METRICS).suffix:
            raise DataError(f"{path} is not what a run recorded: name the run's folder, or the {METRICS} in it.")
        recorder = cls()
        for number, line in enumerate(read(path), 1):
            try:
                recorder.take(line)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{path}, line {number} is not a recorder's line: {error!r}.") from error
        return recorder

    def take(self, line: Mapping[str, Any]) -> None:
        """Take over the next line of a recorder's file.

        Raises:
            KeyError, TypeError, ValueError: it is not one.
        """
        kind, line = line["kind"], {name: value for name, value in line.items() if name != "kind"}
        if kind == "steps":
            self._add(line)
        elif kind == "epoch":
            row = {**line, "step": int(line["step"])}
            if self.epochs and self.epochs[-1]["step"] == row["step"]:
                self.epochs.pop()  # it was amended
            self.epochs.append(row)
        elif kind == "note":
            self.notes.append((line["step"], line["text"]))
        elif kind == "fit":
            self.fits.append(line)
        elif kind == "end":
            self.fits[-1:] = [{**fit, "end": line} for fit in self.fits[-1:]]
        elif kind == "start":
            self._forget()
        else:
            raise ValueError(f"the kind {kind!r} is not known")

    def _add(self, line: dict[str, Any]) -> None:
        for part in PARTS:
            self._seconds[part].extend(line[part])
        self._rows.extend(line.get("rows") or [1] * len(line["loss"]))
        self._hypers.add(line["hypers"])
        self._append_losses([float(loss) for loss in line["loss"]])

    # --- pictures ------------------------------------------------------------------------------------------------

    @answers
    def plot_loss(
        self,
        others: Mapping[str, Recorder] | None = None,
        *,
        label: str = "this run",
        scale: Literal["linear", "log"] = "linear",
        x: Literal["step", "epoch", "seconds"] = "step",
        window: int | None = None,
        title: str = "",
        path: Path | str | None = None,
    ) -> Any:
        """The losses, perhaps with those of other runs, as a matplotlib figure.

        Args:
            others: recorders by the name that they have in the picture.
            label: the name that this one has.
            scale: of the loss's axis.
            x: what the other axis shows; seconds are those spent on batches.
            window: a point is the mean of so many steps; None: a fiftieth of the longest run.
            title: the line over the picture.
            path: also write the picture there, as a PNG file.
        """
        runs = {label: self, **(others or {})}
        curves = [LossCurve.of_run(name, one.losses, one.epochs, one.seconds) for name, one in runs.items()]
        return draw_losses(curves, scale=scale, x=x, window=window, title=title, path=path)

    @answers
    def plot_schedule(self, *names: str, title: str = "", path: Path | str | None = None) -> Any:
        """The values of hyperparameters that were used, those named or all that changed, as a matplotlib figure."""
        values = {name: self.hyper(name) for name in names or self.hyper_names}
        return draw_hypers(columns(values) if names else changed(values), title, path=path)

    def plot_lr_find(self, path: Path | str | None = None) -> Any:
        """The last ``learn.lr_find()`` as a matplotlib figure.

        Raises:
            OptionError: there was none.
        """
        if self.lr_find is None:
            raise OptionError("There is nothing to plot before learn.lr_find().")
        return self.lr_find.plot(path)
