"""Inside fastai's Learner: a callback."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

from fastai.callback.training import GradientClip
from fastai.learner import Callback as FastaiCallback
from fastai.learner import ValueMetric

from ravine.integrations._follower import Follower
from ravine.integrations._twice import refuse_clipping

_COLUMNS = ("grad_norm", "param_norm", "update_norm", "ratio", "nonfinite")


class FastaiWatch(FastaiCallback):  # type: ignore[misc, unused-ignore]
    """Adds figures to the table of epochs, and says what is found."""

    order: ClassVar[int] = 49  # before the Recorder, which takes the metrics' names when a fit begins

    def before_fit(self) -> None:
        """Add a column for each figure."""
        self._follower = Follower(self.learn.opt, self.learn.model)
        for callback in self.learn.cbs:
            if isinstance(callback, GradientClip):
                trainers = f"GradientClip({callback.max_norm:g})"
                refuse_clipping(self._follower.optimizer, trainers, "leave that callback out")
        self._figures: dict[str, float] = {}
        self._metrics = self.learn.metrics
        self.learn.metrics = [*self._metrics, *(ValueMetric(self._reader(c), f"watch/{c}") for c in _COLUMNS)]

    def _reader(self, column: str) -> Callable[[], float]:
        return lambda: self._figures.get(f"watch/{column}", math.nan)

    def before_step(self) -> None:
        """The loss of the step that comes."""
        self._follower.loss(self.learn.loss)

    def after_train(self) -> None:
        """Figures of the epoch's last step."""
        self._figures = self._follower.figures()

    def after_fit(self) -> None:
        """Leave the diagnosis with the Learner, and its metrics as they were."""
        self.learn.metrics = self._metrics
        self.learn.diagnosis = self._follower.end()
