"""The callback of ``fit(..., find_nonfinite=True)``: when a batch breaks, it says where that came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from ravine import _randomness as randomness
from ravine._compat.torch import largest_magnitudes, local_values
from ravine.diagnose._nonfinite.find import examine
from ravine.diagnose._nonfinite.isolation import Buffers
from ravine.diagnose._nonfinite.reproduction import write
from ravine.errors import RavineError
from ravine.train import _parallel as parallel
from ravine.train._callback import Callback
from ravine.train._fit import Fit
from ravine.train._stepping import stepped_parameters


class FindNonFinite(Callback):
    """Ends the fit at the first loss or gradient that is not finite, and names the module that it came from.

    The batch is run again from the state that it began with. Its step is skipped: parameters and buffers stay as
    they were before it. If the Learner has a folder, a file ``nan-MODULE.safetensors`` there reproduces the fault
    (``ravine.diagnose.reproduce``). A loss that is scaled for float16 lets gradients overflow on purpose, so only the
    loss is checked then. What an optimizer like LBFGS evaluates within its step is not checked.
    """

    order: ClassVar[int] = -30  # before a step is skipped, and before gradients are unscaled or clipped
    passive: ClassVar[bool] = True

    def forward_context(self, model: nn.Module) -> None:
        """None; but this is the last moment before the forward pass, and its state is stored."""
        if model.training:
            self._random, self._buffers = randomness.state(), Buffers(model)

    def before_step(self, fit: Fit) -> bool | None:
        broken = self._broken(fit)
        if parallel.size() > 1:  # a fault in one process ends the fit in all of them
            broken = sum(parallel.sums([float(broken)], fit.device)) > 0
        if not broken:
            return None
        loss = float(fit.loss)
        what = f"the loss is {loss}" if loss - loss != 0 else "a gradient is not finite"
        subjects, sentences = zip(*parallel.all_gather(self._search(fit)), strict=True)
        number = next((n for n, subject in enumerate(subjects) if subject), 0)
        process = f"Process {number}: " if parallel.size() > 1 else ""
        fit.say(f"{process}{sentences[number]}")
        cause = f", from {subjects[number]}" if subjects[number] else ""
        fit.stop(f"epoch {fit.state.epoch}, step {len(fit.recorder) + 1}: {what}{cause}: stopped before the step")
        return False

    def _broken(self, fit: Fit) -> bool:
        """Whether loss or gradients are not finite, with one synchronisation."""
        # the loss of a batch without rows is NaN, but has no part in the step
        signs = [(fit.loss.isfinite() | fit.backward_loss.detach().isfinite()).reshape(())]
        gradients: list[Tensor] = []
        if not fit.loss_is_scaled:
            gradients = [p.grad for p in stepped_parameters(fit.optimizer) if p.grad is not None]
            signs += [norm.isfinite() for norm in _largest(gradients)]
        if bool(torch.stack([sign.to(fit.loss.device) for sign in signs]).all()):
            return False
        return not bool(signs[0]) or not all(bool(local_values(g).isfinite().all()) for g in gradients)

    def _search(self, fit: Fit) -> tuple[str, str]:
        """What is at fault (empty if that is not known), and a sentence about it."""
        try:
            with randomness.isolated():
                randomness.restore(self._random)
                self._buffers.restore()
                with fit.forward.context():
                    reproduction = examine(fit.model, fit.inputs, fit.targets, fit.loss_func)
        except Exception as error:  # the fit ends as planned, whatever a model makes of being run again
            return "", f"The batch could not be run again to find where it came from: {error}"
        if reproduction is None:
            return (
                "",
                "When it was run again, the batch was finite: accumulated gradients overflowed, or the model is not deterministic.",
            )
        finding = reproduction.finding
        if fit.folder is not None:
            try:
                finding = replace(finding, path=write(reproduction, fit.folder))
            except RavineError as error:
                return finding.subject, f"{finding} No file reproduces it: {error}"
        return finding.subject, str(finding)


def _largest(gradients: Sequence[Tensor]) -> list[Tensor]:
    """The largest magnitude of each: not finite exactly where an element is not; a sum of squares could overflow."""
    return largest_magnitudes([values for values in map(local_values, gradients) if values.numel()])
