"""Follows an optimizer inside somebody else's trainer: what all callbacks have in common."""

from __future__ import annotations

import warnings
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ravine._files import write
from ravine._line_of_user import level_of_user
from ravine.diagnose import Diagnosis, diagnose
from ravine.errors import OptionError
from ravine.integrations._figures import figures, watched
from ravine.optim import Optimizer

#: What is said as soon as it is found; the rest at the end. These runs will not recover.
SERIOUS = frozenset({"outside_range", "loss_of_zero", "nonfinite", "rate_too_high", "exploding"})
_FIRST_LOOK = 16  # steps
#: The newest follower of each optimizer. A callback that is attached twice would note every loss twice.
_NEWEST: weakref.WeakKeyDictionary[Optimizer, weakref.ref[Follower]] = weakref.WeakKeyDictionary()


def check_every(function: str, every: int) -> None:
    """Refuse what is no number of steps.

    Raises:
        OptionError: it is none.
    """
    if not isinstance(every, int) or every < 1:
        raise OptionError(f"{function}: every {every!r} is not a number of steps, at least 1.")


class Follower:
    """Figures, losses and findings of one optimizer in a training loop that is not Ravine's.

    The callbacks of this package are made of it; use it in a loop that has none::

        follower = Follower(optimizer, model)
        for step, batch in enumerate(batches, start=1):
            ...
            loss.backward()
            follower.loss(loss)
            optimizer.step()
            if step % 50 == 0:
                log(follower.figures(), step)
        print(follower.end())

    If an optimizer has several followers, only the newest notes losses and warns.

    Args:
        optimizer: one of ``ravine.optim``, also in a trainer or its wrapper.
        model: whose names the parameters get; None leaves the names they have.
        parameters: also the figures of each parameter.
        main: whether this is the process that says what is found; the others only take part in sums.
        prefix: what the figures' names begin with.

    Raises:
        OptionError: there is no Ravine optimizer, or it was made with ``watch=False``; or the model is no module.
    """

    def __init__(
        self,
        optimizer: Any,
        model: torch.nn.Module | None = None,
        *,
        parameters: bool = False,
        main: bool = True,
        prefix: str = "watch/",
    ) -> None:
        self.optimizer = watched(optimizer)
        if model is not None:
            if not isinstance(model, torch.nn.Module):
                raise OptionError(f"the model is a torch.nn.Module, or None, not {type(model).__name__}")
            self.optimizer.name_parameters(model)
        self._parameters, self._main, self._prefix = parameters, main, prefix
        self._parts: list[Tensor] = []
        self._warned, self._next_look = set[str](), _FIRST_LOOK
        _NEWEST[self.optimizer] = weakref.ref(self)

    def __repr__(self) -> str:
        return f"Follower({type(self.optimizer).__name__})"

    @property
    def _newest(self) -> bool:
        return (newest := _NEWEST.get(self.optimizer)) is not None and newest() is self

    def part(self, loss: Tensor | float) -> None:
        """The loss of one of several batches whose gradients are added up; :meth:`loss` notes their mean."""
        self._parts.append(torch.as_tensor(loss).detach().clone())

    def loss(self, loss: Tensor | float | None = None) -> None:
        """Note the loss of the next step, or the mean of the parts since the last step; it stays on its device."""
        if loss is not None:
            self.part(loss)
        if self._parts and self._newest:
            self.optimizer.watch.loss(sum(self._parts[1:], self._parts[0]) / len(self._parts))
        self._parts = []

    def figures(self) -> dict[str, float]:
        """As :func:`figures`. Now and then (after 16 steps, and each time they have doubled) it looks for serious problems.

        Each is a warning, once.
        """
        latest = figures(self.optimizer, parameters=self._parameters, prefix=self._prefix)
        steps = self.optimizer.watch.steps
        if steps >= self._next_look:
            self._next_look = 2 * steps
            for symptom in diagnose(self.optimizer):
                if symptom.rule in SERIOUS and symptom.rule not in self._warned:
                    self._warned.add(symptom.rule)
                    self._warn(f"{symptom.title} (step {steps:,}). {symptom.evidence} Try: {symptom.advice}")
        return latest

    def end(self, folder: Path | str | None = None) -> Diagnosis:
        """The diagnosis of the whole run: written to ``diagnosis.txt`` in the folder, and a warning if there are problems."""
        diagnosis = diagnose(self.optimizer)
        place = ""
        if folder is not None and self._main and diagnosis.steps:
            Path(folder).mkdir(parents=True, exist_ok=True)
            write(Path(folder) / "diagnosis.txt", f"{diagnosis}\n".encode())
            place = f" All of it is in {Path(folder) / 'diagnosis.txt'}."
        if diagnosis:
            titles = "; ".join(symptom.title for symptom in diagnosis)
            self._warn(f"{diagnosis.headline}: {titles}.{place}" if place else str(diagnosis))
        return diagnosis

    def _warn(self, text: str) -> None:
        if self._main and self._newest:
            warnings.warn(text, stacklevel=level_of_user())

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to continue the history; the optimizer's state dict has the rest."""
        return self.optimizer.watch.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self.optimizer.watch.load_state_dict(state)
