"""What ``optimizer.watch`` is: the last step as a table, the history of the run, and pictures of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ravine.errors import OptionError
from ravine.watch._history import History
from ravine.watch._record import Join, Record
from ravine.watch._table import Table


class Watch:
    """What the steps of an optimizer did to every parameter.

    The kernel makes these figures in the pass that steps; they are summed up when they are asked for.
    Where parameters are split over processes (``fully_shard``), figures are of the whole tensors, and all processes
    must ask.

    Attributes:
        on: whether figures are kept: not with ``watch=False``.
        params: the parameters, in the order of rows and columns here.
        skipped: how many steps were left out by ``nonfinite="skip"``.
        overflowed: how many steps a GradScaler left out.
    """

    def __init__(
        self,
        record: Record,
        on: bool,
        names: Sequence[str],
        params: Sequence[Tensor],
        join: Join,
        bring: Callable[[], None],
    ) -> None:
        self._record, self.on, self._names, self.params, self._join = record, on, list(names), list(params), join
        self._sizes = [p.numel() for p in params]
        self._bring = bring

    def _ready(self) -> Record:
        if not self.on:
            raise OptionError("watch=False: this optimizer keeps no figures of its steps. Leave watch=False out.")
        self._bring()
        return self._record

    @property
    def skipped(self) -> int:
        self._bring()
        return self._record.skipped

    @property
    def overflowed(self) -> int:
        self._bring()
        return self._record.overflowed

    @property
    def steps(self) -> int:
        """How many steps are in the history."""
        return self._ready().steps

    @property
    def last(self) -> Table:
        """The last step: a row for each parameter; print it, or ask for ``last["0.weight"].grad_norm``.

        Raises:
            OptionError: the optimizer was made with ``watch=False``.
        """
        return Table(self._ready().latest(self._names, self._sizes, self._join))

    @property
    def history(self) -> History:
        """The run so far in at most 256 rows; see ``History``.

        Raises:
            OptionError: the optimizer was made with ``watch=False``.
        """
        return self._ready().history(self._names, self._sizes, self._join)

    @property
    def first_nonfinite(self) -> dict[str, int]:
        """The first step in which a gradient had a NaN or infinity, by the parameter's name."""
        return self._ready().first_nonfinite(self._names)

    def plot(self, figure: str = "grad_norm", path: Path | str | None = None, *, names: Sequence[str] = ()) -> Any:
        """A figure of each parameter over the steps, as a matplotlib figure.

        Args:
            figure: ``"grad_norm"``, ``"param_norm"``, ``"update_norm"`` or ``"ratio"``, update over parameter.
            path: where to write the picture; its ending decides the format.
            names: the parameters to draw; all if empty.
        """
        from ravine.watch import _plots as watching

        return watching.draw_lines(self.history, figure, names=names, path=path)

    def heatmap(self, figure: str = "ratio", path: Path | str | None = None) -> Any:
        """Parameters against steps, a figure as colour, as a matplotlib figure; arguments as for :meth:`plot`."""
        from ravine.watch import _plots as watching

        return watching.draw_heatmap(self.history, figure, path=path)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps so that the history goes on; apart from the optimizer's own, which is torch's."""
        self._bring()
        return self._record.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._bring()
        with torch.inference_mode(False), torch.no_grad():
            self._record.load_state_dict(state)

    def __repr__(self) -> str:
        if not self.on:
            return "watch=False"
        return f"{self.last!r}\n{self.history!r}"
