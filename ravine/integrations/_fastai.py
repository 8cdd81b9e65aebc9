"""Inside fastai's Learner: a callback."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from fastai.callback.training import GradientClip
from fastai.learner import Callback as FastaiCallback
from fastai.learner import ValueMetric
from fastai.optimizer import Optimizer as FastaisOptimizer

from ravine.errors import OptionError
from ravine.integrations._follower import Follower
from ravine.integrations._twice import refuse_clipping

_COLUMNS = ("grad_norm", "param_norm", "update_norm", "ratio", "nonfinite")


class _Column(ValueMetric):  # type: ignore[misc, unused-ignore]
    """A figure in the table of epochs."""


class FastaiWatch(FastaiCallback):  # type: ignore[misc, unused-ignore]
    """Adds figures to the table of epochs, and says what is found."""

    order: ClassVar[int] = 49  # before the Recorder, which takes the metrics' names when a fit begins

    def before_fit(self) -> None:
        """Add a column for each figure. fastai calls it for ``validate`` and ``predict``, too, which may have no optimizer."""
        self._trains = False
        self._without_columns()
        if self.learn.opt is None:
            return
        if isinstance(self.learn.opt, FastaisOptimizer):
            raise OptionError(
                "fastai's own optimizers record nothing of their steps, so there is nothing to log: write "
                "opt_func=partial(OptimWrapper, opt=ravine.optim.RMSprop), or another of ravine.optim"
            )
        self._follower = Follower(self.learn.opt, self.learn.model)
        for callback in self.learn.cbs:
            if isinstance(callback, GradientClip):
                trainers = f"GradientClip({callback.max_norm:g})"
                refuse_clipping(self._follower.optimizer, trainers, "leave that callback out")
        self._tries = hasattr(self.learn, "lr_finder")
        if self._tries:
            self._before_tries = self._follower.state_dict()
            return
        self._figures: dict[str, float] = {}
        columns = [_Column(self._reader(column), f"watch/{column}") for column in _COLUMNS]
        self.learn.metrics = [*self.learn.metrics, *columns]

    def _without_columns(self) -> None:
        """An interrupted fit leaves them: fastai tells callbacks nothing of exceptions."""
        self.learn.metrics = [metric for metric in self.learn.metrics if not isinstance(metric, _Column)]

    def _reader(self, column: str) -> Callable[[], float]:
        return lambda: self._figures.get(f"watch/{column}", math.nan)

    def before_train(self) -> None:
        """It is a fit."""
        self._trains = True

    def before_validate(self) -> None:
        """``validate`` gives the Learner's own metrics alone."""
        if not self._trains:
            self._without_columns()

    def before_step(self) -> None:
        """The loss of the step that comes."""
        if not self._tries:
            self._follower.loss(self.learn.loss)

    def after_train(self) -> None:
        """Figures of the epoch's last step."""
        if not self._tries:
            self._figures = self._follower.figures()

    def after_fit(self) -> None:
        """Leave the diagnosis with the Learner, and its metrics as they were; ``lr_find`` is no part of the history."""
        self._without_columns()
        if not self._trains:
            return
        if self._tries:
            self._follower.load_state_dict(self._before_tries)
        else:
            self.learn.diagnosis = self._follower.end()

    def __getstate__(self) -> dict[str, Any]:
        """A Learner that is exported has no optimizer."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_follower", "_before_tries")}
