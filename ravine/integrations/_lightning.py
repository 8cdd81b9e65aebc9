"""Inside ``lightning.pytorch``: a callback."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback as LightningCallback
from lightning.pytorch.callbacks import WeightAveraging

from ravine.integrations._follower import Follower
from ravine.integrations._twice import refuse_average, refuse_clipping


class LightningWatch(LightningCallback):  # type: ignore[misc, unused-ignore]
    """Logs figures with the module's own, says what is found, and keeps the history in checkpoints."""

    def __init__(self, *, parameters: bool = False) -> None:
        self.parameters = parameters
        self._followers: list[Follower] = []
        self._kept: list[dict[str, Any]] = []  # a checkpoint is loaded before training begins

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Find the optimizers; with several, their figures are ``watch/0/...``, ``watch/1/...``."""
        many = len(trainer.optimizers) > 1
        self._followers = [
            Follower(
                optimizer,
                pl_module,
                parameters=self.parameters,
                main=trainer.is_global_zero,
                prefix=f"watch/{i}/" if many else "watch/",
            )
            for i, optimizer in enumerate(trainer.optimizers)
        ]
        for follower in self._followers:
            if trainer.gradient_clip_val:
                value = f"Trainer(gradient_clip_val={trainer.gradient_clip_val:g})"
                refuse_clipping(follower.optimizer, value, "leave gradient_clip_val out")
            for callback in trainer.callbacks:
                if isinstance(callback, WeightAveraging):
                    refuse_average(follower.optimizer, type(callback).__name__)
        for follower, kept in zip(self._followers, self._kept, strict=False):
            follower.load_state_dict(kept)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Lightning has divided the loss by the number of batches that make a step."""
        if len(self._followers) == 1:  # of several, nothing says whose loss it is
            self._followers[0].part(loss * trainer.accumulate_grad_batches)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """The losses whose gradients are stepped with."""
        if len(self._followers) == 1:
            self._followers[0].loss()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """At the steps at which Lightning logs: it counts batches where the module steps its optimizers itself."""
        every = trainer.log_every_n_steps
        step = trainer.global_step if pl_module.automatic_optimization else trainer.fit_loop.total_batch_idx + 1
        if every and step and step % every == 0:
            for follower in self._followers:
                pl_module.log_dict(follower.figures(), on_step=True, on_epoch=False)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """A run that dies is the one to be diagnosed. The other processes may be gone, so it is done for one alone."""
        if trainer.world_size == 1:
            with suppress(RuntimeError):  # of a GPU that can do nothing more: Lightning raises the exception itself
                self.on_train_end(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write what is found beside the logs."""
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        for i, follower in enumerate(self._followers):
            diagnosis = follower.end(folder / str(i) if len(self._followers) > 1 else folder)
            for logger in trainer.loggers:
                if callable(add_text := getattr(logger.experiment, "add_text", None)) and trainer.is_global_zero:
                    add_text(f"diagnosis/{i}" if len(self._followers) > 1 else "diagnosis", f"```\n{diagnosis}\n```")

    def state_dict(self) -> dict[str, Any]:
        """The history of each optimizer."""
        return {"watch": [follower.state_dict() for follower in self._followers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue it when training begins."""
        self._kept = state_dict["watch"]
