"""What ``optimizer.watch`` is: the last step as a table, the history of the run, and plots of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine._whole_numbers import count
from ravine.errors import OptionError
from ravine.watch._history import History
from ravine.watch._record import Join, Record
from ravine.watch._step_table import StepTable


class Watch:
    """What the steps of an optimizer did to every parameter.

    The kernel computes these figures in the pass that steps; they are summed up when they are read.
    Where parameters are sharded over processes (``fully_shard``), figures are of the whole tensors, and all processes
    must read them.

    Attributes:
        on: whether figures are recorded: not with ``watch=False``.
        params: the parameters, in the order of rows and columns here.
        skipped: how many steps were skipped by ``nonfinite="skip"``.
        overflowed: how many steps a GradScaler skipped.
    """

    def __init__(
        self,
        record: Record,
        on: bool,
        names: Sequence[str],
        params: Sequence[Tensor],
        join: Join,
        flush: Callable[[], None],
        groups: Sequence[dict[str, Any]] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self._record, self.on, self._names, self.params, self._join = record, on, list(names), list(params), join
        self._sizes = [p.numel() for p in params]
        self._flush = flush
        self._groups, self._defaults = groups, defaults or {}

    def _ready(self) -> Record:
        if not self.on:
            raise OptionError("This optimizer was made with watch=False and records no figures. Leave watch=False out.")
        self._flush()
        return self._record

    @property
    def skipped(self) -> int:
        """How many steps were left out because gradients were not finite."""
        self._flush()
        return self._record.skipped

    @property
    def overflowed(self) -> int:
        """How many steps a GradScaler left out because scaled gradients were not finite."""
        self._flush()
        return self._record.overflowed

    @property
    def steps(self) -> int:
        """How many steps are in the history."""
        return self._ready().steps

    @property
    def last(self) -> StepTable:
        """The last step: a row for each parameter; print it, or read ``last["0.weight"].grad_norm``.

        Raises:
            OptionError: the optimizer was made with ``watch=False``.
        """
        record = self._ready()
        return StepTable(
            record.latest(self._names, self._sizes, self._join),
            skipped=record.skipped + record.overflowed,
            step_in_full=record.looked,
        )

    @property
    def history(self) -> History:
        """The run so far in at most 256 rows; see ``History``.

        Looking at everything costs time where parameters do not fit into a cache. Of tensors that are stepped together and have at
        least 4,194,304 elements, every second step is looked at in full once a row has two steps (after 256 steps), then every
        fourth, at last every sixteenth. Of the steps between them there are ``grad_norm`` and ``nonfinite``, so no NaN is missed;
        the other figures of a row are of the steps that were looked at in full.

        Raises:
            OptionError: the optimizer was made with ``watch=False``.
        """
        return self._ready().history(self._names, self._sizes, self._join)

    def loss(self, loss: Tensor | float) -> None:
        """Note the training loss of the step that comes next, for :func:`ravine.watch.diagnose`.

        Call it once before every ``step()``, in a loop of your own; a Learner notes its losses itself. The learning rate
        and the other hyperparameters of the step are noted with it. A loss on a GPU stays there until somebody reads.

        Raises:
            OptionError: it is not one number.
        """
        self._record.losses.add(loss, self._groups, self._defaults)

    @property
    def losses(self) -> np.ndarray:
        """The losses that were noted, float64, shape (steps,)."""
        return self._record.losses.values

    @property
    def hypers(self) -> dict[str, np.ndarray]:
        """By name, the hyperparameters of the steps whose losses were noted, shape (steps,), or (steps, 2) for betas."""
        return self._record.losses.used()

    @property
    def first_nonfinite(self) -> dict[str, int]:
        """By the parameter's name, the first step in which its gradient had a NaN or infinity."""
        return self._ready().first_nonfinite(self._names)

    def plot(self, figure: str = "grad_norm", path: Path | str | None = None, *, names: Sequence[str] = ()) -> Any:
        """A matplotlib figure with a line for each parameter over the steps.

        Args:
            figure: ``"grad_norm"``, ``"param_norm"``, ``"update_norm"`` or ``"ratio"``, update over parameter.
            path: where to write the picture; its ending decides the format.
            names: the parameters to draw; all if empty.
        """
        from ravine.watch._history_plots import draw_lines

        return draw_lines(self.history, figure, names=names, path=path)

    def heatmap(self, figure: str = "ratio", path: Path | str | None = None) -> Any:
        """A matplotlib figure of parameters against steps with colours; arguments as for :meth:`plot`."""
        from ravine.watch._history_plots import draw_heatmap

        return draw_heatmap(self.history, figure, path=path)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to continue the history; separate from the optimizer's state dict, which is torch's."""
        self._flush()
        return self._record.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self._flush()
        with torch.inference_mode(False), torch.no_grad():
            self._record.load_state_dict(state)

    def __repr__(self) -> str:
        if not self.on:
            return "Watch(off)"
        return f"Watch({count(self.steps, 'step')} of {count(len(self._names), 'parameter')})"

    def __str__(self) -> str:
        return f"{self.last}\n{self.history!r}" if self.on else repr(self)

    def _repr_html_(self) -> str:
        from ravine.watch._watch_output import watch_html

        return watch_html(self.history, self.last) if self.on else f"<pre>{escape(repr(self))}</pre>"
