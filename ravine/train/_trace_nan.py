"""The callback of ``fit(..., trace_nan=True)``: when a batch breaks, it says where that came from. The search is
ravine/diagnose/_nonfinite/tracing.py's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ravine import _randomness as randomness
from ravine.diagnose._nonfinite.case import write
from ravine.diagnose._nonfinite.replay import Buffers
from ravine.diagnose._nonfinite.tracing import examine
from ravine.errors import RavineError
from ravine.train import _parallel as parallel
from ravine.train._callback import Callback
from ravine.train._gradients import MixedPrecision, stepped

if TYPE_CHECKING:
    from ravine.train._learner import Learner


class TraceNaN(Callback):
    """Ends the fit at the first loss or gradient that is not finite, and names the module that it came from.

    The batch is run again from the state that it began with. Its step is held back: parameters and buffers stay as
    they were before it. With a folder, a file ``nan-MODULE.safetensors`` there reproduces the fault
    (``ravine.diagnose.reproduce``). A loss scaled for float16 lets gradients overflow on purpose, so that only the loss
    counts there. What an optimizer like LBFGS evaluates within its step is not looked at.
    """

    order: ClassVar[int] = -30  # before a step is held back, and before gradients are unscaled or clipped
    looks_only: ClassVar[bool] = True

    def forward_context(self, learn: Learner) -> None:
        """Nothing; but this is the last moment before the forward pass, and its state is kept."""
        if learn.model.training:
            self._random, self._buffers = randomness.state(), Buffers(learn.model)

    def before_step(self, learn: Learner) -> bool | None:
        broken = self._broken(learn)
        if parallel.size() > 1:  # what one process sees ends the fit in all of them
            broken = sum(parallel.sums([float(broken)], learn.device)) > 0
        if not broken:
            return None
        loss = float(learn.loss)
        what = f"the loss is {loss}" if loss - loss != 0 else "a gradient is not finite"
        subjects, sentences = zip(*parallel.gathered(self._traced(learn)), strict=True)
        number = next((n for n, subject in enumerate(subjects) if subject), 0)
        process = f"Process {number}: " if parallel.size() > 1 else ""
        learn.say(f"{process}{sentences[number]}")
        cause = f", from {subjects[number]}" if subjects[number] else ""
        learn.stop(f"epoch {learn.epoch}, step {len(learn.recorder) + 1}: {what}{cause}: stopped before the step")
        return False

    def _broken(self, learn: Learner) -> bool:
        """Whether loss or gradients are not finite, with one synchronisation."""
        # a loss that has no part in the step, of a batch without rows, may be NaN
        signs = [(learn.loss.isfinite() | learn.objective.detach().isfinite()).reshape(())]
        gradients: list[Tensor] = []
        if not any(isinstance(c, MixedPrecision) and c.scaler is not None for c in learn._active):
            gradients = [p.grad for p in stepped(learn) if p.grad is not None]
            signs += [norm.isfinite() for norm in _largest(gradients)]
        if bool(torch.stack([sign.to(learn.loss.device) for sign in signs]).all()):
            return False
        return not bool(signs[0]) or not all(bool(_values(g).isfinite().all()) for g in gradients)

    def _traced(self, learn: Learner) -> tuple[str, str]:
        """What is at fault, or nothing, and all that is known of it."""
        try:
            with randomness.aside():
                randomness.restore(self._random)
                self._buffers.restore()
                with learn._forward_context():
                    case = examine(learn.model, learn.inputs, learn.targets, learn.loss_func)
        except Exception as error:  # the fit ends as planned, whatever a model makes of being run again
            return "", f"The batch could not be run again to find where it came from: {error}"
        if case is None:
            return (
                "",
                "Run again, the batch was finite: gradients have added up to it, or it is not the same each time.",
            )
        found = case.finding
        if learn.folder is not None:
            try:
                found = replace(found, path=write(case, Path(learn.folder)))
            except RavineError as error:
                return found.subject, f"{found} No file reproduces it: {error}"
        return found.subject, str(found)


def _largest(gradients: Sequence[Tensor]) -> list[Tensor]:
    """The largest magnitude in each: not finite where an element is not, and, unlike a sum of squares, only there."""
    found: Any = [v for v in map(_values, gradients) if v.numel()]
    return list(torch._foreach_norm(found, float("inf"))) if found else []


def _values(gradient: Tensor) -> Tensor:
    """Its elements; of a sharded gradient those of this process."""
    gradient = gradient._local_tensor if hasattr(gradient, "_local_tensor") else gradient
    return gradient._values() if gradient.is_sparse else gradient
