"""The history of a run by parameter, in a limited number of rows of equally many steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ravine import _extensions as extensions
from ravine._plotting.frames import frame
from ravine._whole_numbers import count
from ravine.backends import STATISTICS
from ravine.errors import OptionError, nearest

#: The figures of a history that have a value for each row and parameter: of a sum of squares its root, the norm.
FIGURES = tuple(s.name.replace("rounding_square", "rounding").replace("_square", "_norm") for s in STATISTICS)
NORMS = tuple(name for name in FIGURES if name.endswith("_norm"))


@dataclass(frozen=True)
class History:
    """What the steps did to every parameter, in rows of equally many steps.

    Attributes:
        names: the parameters' names; columns of the arrays below.
        sizes: how many elements each has.
        first, last: the first and last step of each row, counted from 1, shape (rows,).
        grad_norm, param_norm, update_norm: root mean square, over the row's steps, of the Euclidean norms of the
            gradient, of the parameter before the step and of the update, shape (rows, parameters); steps in which a
            norm is not finite are left out; NaN if there is no other. The update is that of the formula; for 16-bit
            parameters, what remains of it after rounding.
        state_rounding, param_rounding: what rounding to 16 or 8 bits costs the states, and the parameter: the norm of what was
            rounded away over the norm of the change, of a sample of 4,096 elements; of several states the largest. Root mean
            square over the row's steps. 0 where nothing is kept in 16 or 8 bits, and where that is not looked at: see
            ``docs/memory.md``.
        grad_max, param_max, update_max: the largest magnitude of an element in these steps; NaN or inf where one is, and NaN
            where none of the steps was looked at in full.
        nonfinite: how many elements of gradients were NaN or infinite in all steps of the row.
        steps: in how many of these steps the parameter had a gradient.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    first: np.ndarray
    last: np.ndarray
    grad_norm: np.ndarray
    param_norm: np.ndarray
    update_norm: np.ndarray
    state_rounding: np.ndarray
    param_rounding: np.ndarray
    grad_max: np.ndarray
    param_max: np.ndarray
    update_max: np.ndarray
    nonfinite: np.ndarray
    steps: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def __repr__(self) -> str:
        covered = (
            f"steps {self.first[0]:,} to {self.last[-1]:,} in {count(len(self), 'row')}" if len(self) else "no steps"
        )
        return f"History({count(len(self.names), 'parameter')}, {covered})"

    def _repr_html_(self) -> str:
        page: str = extensions.function("history_html")(self)
        return page

    @property
    def ratio(self) -> np.ndarray:
        """The norm of the update over that of the parameter, shape (rows, parameters); ``usual_ratios.py`` has what is usual."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.update_norm / self.param_norm

    @property
    def rounding(self) -> np.ndarray:
        """The larger of ``state_rounding`` and ``param_rounding``, shape (rows, parameters)."""
        larger: np.ndarray = np.maximum(self.state_rounding, self.param_rounding)
        return larger

    def total(self, figure: str) -> np.ndarray:
        """The norm of all parameters together in each row, shape (rows,); parameters without one are left out.

        Args:
            figure: ``"grad_norm"``, ``"param_norm"`` or ``"update_norm"``.

        Raises:
            OptionError: it is none of these.
        """
        if figure not in NORMS:
            raise OptionError(f"The history has no total of {figure!r}. {nearest(figure, NORMS)}")
        squares: np.ndarray = np.sqrt(np.nansum(getattr(self, figure) ** 2, axis=1))
        return squares

    def column(self, name: str) -> int:
        """The column of the parameter of that name.

        Raises:
            OptionError: there is none.
        """
        if name not in self.names:
            raise OptionError(f"The history has no parameter {name!r}; it has {', '.join(self.names) or 'none'}.")
        return self.names.index(name)

    def records(self) -> list[dict[str, Any]]:
        """One dict for each row and parameter, as the lines of a table."""
        figures = {name: getattr(self, name) for name in FIGURES} | {"ratio": self.ratio}
        return [
            {"first": int(self.first[i]), "last": int(self.last[i]), "name": name}
            | {figure: values[i, j].item() for figure, values in figures.items()}
            for i in range(len(self))
            for j, name in enumerate(self.names)
        ]

    def to_pandas(self) -> Any:
        """A pandas DataFrame with the columns of :meth:`records`.

        Raises:
            PackageError: pandas is not installed.
        """
        return frame(self.records(), ["first", "last", "name", *FIGURES, "ratio"])

    def to_json(self) -> str:
        """The arrays as JSON; NaN becomes null, and infinity "inf" or "-inf"."""
        tree = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in self.tree().items()}
        return json.dumps(_plain(tree), allow_nan=False)

    def tree(self) -> dict[str, Any]:
        """The attributes by name, for a file."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def of_tree(cls, tree: dict[str, Any]) -> History:
        """The history of :meth:`tree`."""
        none = np.zeros_like(tree["update_norm"])  # version 0.1 has no figures of rounding
        tree = {"state_rounding": none, "param_rounding": none, **tree}
        return cls(**{**tree, "names": tuple(tree["names"]), "sizes": tuple(tree["sizes"])})

    @classmethod
    def empty(cls, names: Sequence[str] = (), sizes: Sequence[int] = ()) -> History:
        """No steps yet."""
        none = np.zeros(0, dtype=np.int64)
        return cls(tuple(names), tuple(sizes), none, none, *(np.zeros((0, len(names))) for _ in FIGURES))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None if value != value else ("inf" if value > 0 else "-inf")
    return value
