"""The losses that a plain training loop notes, and the rates of their steps."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.errors import OptionError
from ravine.watch._hyper_log import HyperLog

_MOST_PENDING = 1000  # losses that may still be on a GPU


class Losses:
    """The loss of every step, and the hyperparameters that it was about to use. Losses are fetched late."""

    def __init__(self) -> None:
        self.hypers = HyperLog()
        self._known, self._pending = array("d"), list[Tensor]()

    def __len__(self) -> int:
        return len(self._known) + len(self._pending)

    def add(self, loss: Any, groups: Sequence[dict[str, Any]], defaults: Mapping[str, Any]) -> None:
        """Note the loss of the next step."""
        try:
            value = loss.detach() if isinstance(loss, Tensor) else torch.as_tensor(float(loss), dtype=torch.float64)
        except (TypeError, ValueError):
            raise OptionError(
                f"watch.loss(...) takes the loss of a step, one number, not {type(loss).__name__}."
            ) from None
        if value.numel() != 1:
            raise OptionError(
                f"watch.loss(...) takes the loss of a step, one number; this has the shape {tuple(value.shape)}. "
                "Give its mean: watch.loss(loss.mean())."
            )
        self.hypers.observe(len(self), groups, defaults)
        # a copy: what is added up in place would change it
        self._pending.append(value.reshape(()).clone())
        if len(self._pending) >= _MOST_PENDING:
            self._fetch()

    def _fetch(self) -> None:
        for value in self._pending:
            self._known.append(value.item())
        self._pending = []

    @property
    def values(self) -> np.ndarray:
        """All of them, float64, shape (steps,)."""
        self._fetch()
        return np.array(self._known)

    def used(self) -> dict[str, np.ndarray]:
        """By name, the values that the steps with a loss were about to use."""
        return {name: self.hypers.values(name, len(self)) for name in self.hypers.changes}

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors."""
        return {"values": torch.from_numpy(self.values), "hypers": self.hypers.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Be those that gave ``state``; none without it."""
        self.hypers, self._pending = HyperLog(), []
        self._known = array("d", [] if state is None else state["values"].tolist())
        if state is not None:
            self.hypers.load_state_dict(state["hypers"])
