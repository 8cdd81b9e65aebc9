"""How an optimizer is shown: as text, and in a notebook with its formula as mathematics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ravine.formula import Program
from ravine.optim._engine.describe import optimizer_text
from ravine.optim._engine.state_storage import StateStorage


class Shown:
    """The two faces of an optimizer, which has these attributes."""

    param_groups: list[dict[str, Any]]
    _storage: StateStorage

    def _programs(self, group: dict[str, Any], where: str = "") -> Mapping[int | None, Program]:
        raise NotImplementedError

    def __repr__(self) -> str:
        return optimizer_text(type(self).__name__, self.param_groups, self._programs, str(self._storage))

    def _repr_html_(self) -> str:
        from ravine.optim._engine.optimizer_html import optimizer_html  # which training does not need

        return optimizer_html(type(self).__name__, self.param_groups, self._programs, str(self._storage))
