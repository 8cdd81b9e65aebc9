"""One step as a table: what it did to each parameter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ravine._plotting.frames import frame
from ravine._whole_numbers import count
from ravine.errors import OptionError, nearest
from ravine.watch._history import FIGURES, NORMS, History

_SHOWN = (*NORMS, "ratio", "rounding", "grad_max", "nonfinite")
_CALL_BACKWARD = "no parameter had a gradient: call backward before step, and zero_grad not between the two"


@dataclass(frozen=True)
class ParameterRow:
    """What one step did to one parameter.

    Attributes:
        name: the parameter's name.
        grad_norm, param_norm, update_norm: Euclidean norms of the gradient, of the parameter before the step and of
            what the step added to it; NaN if the parameter was not updated.
        ratio: update_norm over param_norm.
        state_rounding, param_rounding: what rounding to 16 or 8 bits costs the states, and the parameter: the norm of what was
            rounded away over that of the change; 0 where nothing is rounded.
        grad_max, param_max, update_max: the largest magnitude of an element.
        nonfinite: how many elements of the gradient were NaN or infinite.
    """

    name: str
    grad_norm: float
    param_norm: float
    update_norm: float
    ratio: float
    state_rounding: float
    param_rounding: float
    grad_max: float
    param_max: float
    update_max: float
    nonfinite: int

    @property
    def rounding(self) -> float:
        """The larger of ``state_rounding`` and ``param_rounding``; NaN where one is."""
        two = self.state_rounding, self.param_rounding
        return math.nan if any(map(math.isnan, two)) else max(two)


class StepTable:
    """One step as a table with a row for each parameter; print it, or ask for a row by the parameter's name.

    Attributes:
        step: the number of the step, from 1; 0 before the first.
        step_in_full: the last step that was looked at in full. If it is an older one, large tensors have the figures of that
            step, but for ``grad_norm`` and ``nonfinite``; of a step before it where that one did not change them, and NaN
            where there is none. See :attr:`Watch.history`.
        rows: a row for each parameter.
        skipped: how many steps were skipped so far.
    """

    def __init__(self, history: History, skipped: int = 0, step_in_full: int | None = None) -> None:
        self.skipped = skipped
        self.step = int(history.last[-1]) if len(history) else 0
        self.step_in_full = self.step if step_in_full is None else step_in_full
        ratio = history.ratio
        figures = [figure for figure in FIGURES if figure != "steps"]
        self.rows = [
            ParameterRow(name, ratio=ratio[-1, i].item(), **{f: getattr(history, f)[-1, i].item() for f in figures})
            for i, name in enumerate(history.names if len(history) else ())
        ]

    @property
    def grad_norm(self) -> float:
        """The norm of all gradients together, before clipping."""
        return self._total("grad_norm")

    @property
    def param_norm(self) -> float:
        """The norm of all parameters together that were stepped, before the step."""
        return self._total("param_norm")

    @property
    def update_norm(self) -> float:
        """The norm of all that the step added, together."""
        return self._total("update_norm")

    @property
    def ratio(self) -> float:
        """``update_norm`` over ``param_norm``."""
        return self.update_norm / self.param_norm if self.param_norm else math.nan

    def _total(self, figure: str) -> float:
        """The norm of all rows together; parameters that were not stepped have none. NaN before the first step."""
        if not self.rows:
            return math.nan
        norms = [getattr(r, figure) for r in self.rows if r.grad_norm == r.grad_norm or r.nonfinite]
        return math.hypot(*norms)

    @property
    def nonfinite(self) -> int:
        """How many elements of all gradients were NaN or infinite."""
        return sum(r.nonfinite for r in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ParameterRow]:
        return iter(self.rows)

    def __getitem__(self, name: str) -> ParameterRow:
        if not self.rows:
            raise OptionError(f"There is no row for {name!r}: {self._nothing}.")
        for row in self.rows:
            if row.name == name:
                return row
        raise OptionError(f"There is no parameter {name!r}. {nearest(name, [r.name for r in self.rows])}")

    def to_pandas(self) -> Any:
        """A pandas DataFrame, indexed by name.

        Raises:
            PackageError: pandas is not installed.
        """
        return frame([asdict(r) for r in self.rows], list(ParameterRow.__annotations__), index="name")

    @property
    def _nothing(self) -> str:
        """Why there are no rows."""
        if not self.skipped:
            return "no step yet"
        steps = "1 step was" if self.skipped == 1 else f"{self.skipped:,} steps were"
        return f"no step yet: {steps} skipped, because gradients were not finite"

    @property
    def _no_gradients(self) -> bool:
        return all(r.grad_norm != r.grad_norm and not r.nonfinite for r in self.rows)

    def __repr__(self) -> str:
        if not self.rows:
            return f"StepTable({self._nothing})"
        if self._no_gradients:
            return f"StepTable(step {self.step:,}: {_CALL_BACKWARD})"
        return f"StepTable(step {self.step:,}, {count(len(self.rows), 'parameter')}, grad_norm {self.grad_norm:.3g})"

    def __str__(self) -> str:
        if not self.rows:
            return f"{self._nothing[:1].upper()}{self._nothing[1:]}."
        if self._no_gradients:
            return f"Step {self.step:,}: {_CALL_BACKWARD}."
        older = f"Of large tensors all but grad_norm and nonfinite is of step {self.step_in_full:,}."
        return "\n".join([f"step {self.step:,}", *self._lines(), *[older] * (self.step_in_full < self.step)])

    def _repr_html_(self) -> str:
        from ravine.watch._step_output import step_html

        return step_html(str(self), self.cells() if self.rows else [()])

    def _together(self, figure: str) -> float:
        """A figure of all parameters: of norms that of all, else the largest."""
        if figure in NORMS or figure == "ratio":
            value: float = getattr(self, figure)
            return value
        known = (getattr(r, figure) for r in self.rows)
        return max((value for value in known if value == value), default=math.nan)

    def cells(self) -> list[tuple[str, ...]]:
        """The texts of the table: the heads, a row for each parameter, and where there are several one of all together."""
        rounds = any(r.rounding > 0 for r in self.rows)  # else nothing is kept in few bits
        shown = [figure for figure in _SHOWN if figure != "rounding" or rounds]
        cells: list[tuple[str, ...]] = [("parameter", *shown)]
        for r in self.rows:
            cells.append((r.name, *(f"{getattr(r, figure):.3g}" for figure in shown[:-1]), f"{r.nonfinite:,}"))
        if len(self.rows) > 1:
            values = [self._together(figure) for figure in shown[:-1]]
            cells.append(("all together", *(f"{value:.3g}" for value in values), f"{self.nonfinite:,}"))
        return cells

    def _lines(self) -> list[str]:
        cells = self.cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return [
            "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
            for row in cells
        ]
