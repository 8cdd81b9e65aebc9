"""Inside a loop with ``accelerate.Accelerator``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ravine.diagnose import Diagnosis
from ravine.errors import OptionError
from ravine.integrations._follower import Follower, check_every
from ravine.integrations._twice import clips, refuse_clipping


class AcceleratorWatch:
    """Logs figures to the accelerator's trackers, and says what is found; ``accelerator.register_for_checkpointing`` takes it."""

    def __init__(
        self, accelerator: Any, optimizer: Any, model: torch.nn.Module, *, every: int, parameters: bool, prefix: str
    ) -> None:
        if not isinstance(accelerator, Accelerator):
            raise OptionError(f"watch_accelerator takes an accelerate.Accelerator, not {type(accelerator).__name__}")
        check_every("watch_accelerator", every)
        self._accelerator, self._every, self._steps = accelerator, every, 0
        main = accelerator.is_main_process
        self._follower = Follower(optimizer, model, parameters=parameters, main=main, prefix=prefix)
        if clips(self._follower.optimizer) is not None:
            accelerator.clip_grad_norm_ = self._refuse  # called at each step, and nothing else says so

    def _refuse(self, parameters: Any, max_norm: float, norm_type: float = 2) -> None:
        refuse_clipping(
            self._follower.optimizer, f"accelerator.clip_grad_norm_(..., {max_norm:g})", "leave that line out"
        )

    def step(self, loss: torch.Tensor | float) -> None:
        """Call it after ``optimizer.step()``, with the loss of the batch."""
        self._follower.part(loss)
        if not self._accelerator.sync_gradients:  # gradients of more batches are to come
            return
        self._follower.loss()
        self._steps += 1
        if self._steps % self._every == 0:
            self._accelerator.log(self._follower.figures(), step=self._steps)

    def end(self, folder: Path | str | None = None) -> Diagnosis:
        """The diagnosis of the run, also as ``diagnosis.txt`` in the folder and as a text in TensorBoard."""
        diagnosis = self._follower.end(folder)
        for tracker in self._accelerator.trackers:
            if callable(add_text := getattr(tracker.tracker, "add_text", None)):
                add_text("diagnosis", f"```\n{diagnosis}\n```")
        return diagnosis

    def state_dict(self) -> dict[str, Any]:
        """The history, and the number of steps."""
        return {"steps": self._steps, "watch": self._follower.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self._steps = state["steps"]
        self._follower.load_state_dict(state["watch"])
