"""Inside ``transformers.Trainer``: a callback that comes before those of its loggers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback

from ravine._files import checkpoint
from ravine.errors import OptionError
from ravine.integrations._follower import Follower
from ravine.integrations._twice import refuse_clipping

_FILE = "ravine-watch.safetensors"  # in the folder of a checkpoint


def put_before_loggers(trainer: Any, parameters: bool) -> HuggingFaceWatch:
    """Callbacks that are passed to the trainer come after its loggers, which would not see what they add."""
    if not isinstance(trainer, Trainer):
        raise OptionError(
            f"watch_trainer takes a transformers.Trainer, not {type(trainer).__name__}: trainer = Trainer(...), then "
            "watch_trainer(trainer), then trainer.train()"
        )
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, HuggingFaceWatch):  # a cell of a notebook that is run again
            callback.parameters = parameters
            return callback
    made = HuggingFaceWatch(trainer, parameters)
    trainer.callback_handler.callbacks.insert(0, made)
    trainer.train = made.knows_the_checkpoint(trainer.train)
    return made


class HuggingFaceWatch(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Adds figures to what the trainer logs, says what is found, and keeps the history beside checkpoints."""

    def __init__(self, trainer: Any, parameters: bool) -> None:
        self._trainer, self.parameters = trainer, parameters
        self._logged = 0  # the step of the last log
        self._resumed: str | bool | None = None

    def knows_the_checkpoint(self, train: Callable[..., Any]) -> Callable[..., Any]:
        """Callbacks are not told where a run is resumed from."""

        @wraps(train)
        def noting(resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
            self._resumed = resume_from_checkpoint
            return train(resume_from_checkpoint, *args, **kwargs)

        return noting

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The optimizer exists now."""
        model, main = self._trainer.model, state.is_world_process_zero
        self._follower = Follower(self._trainer.optimizer, model, parameters=self.parameters, main=main)
        if args.max_grad_norm:
            refuse_clipping(
                self._follower.optimizer,
                f"TrainingArguments(max_grad_norm={args.max_grad_norm:g}), its default is 1",
                "write max_grad_norm=0",
            )
        self._logged = state.global_step
        if not state.global_step:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if not isinstance(self._resumed, bool | None):
            folder = Path(self._resumed)
        if (folder / _FILE).is_file():
            kept = checkpoint.load(folder / _FILE)
            self._logged = kept["logged"]  # steps since then get the mean of those that come before the next log
            self._follower.load_state_dict(kept["watch"])

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """The trainer tells losses only here: their mean since the last log stands for each of these steps."""
        if "loss" not in logs:
            return
        for _step in range(state.global_step - self._logged):
            self._follower.loss(logs["loss"])
        self._logged = state.global_step
        figures = self._follower.figures()
        logs.update(figures)
        state.log_history[-1].update(figures)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The trainer has written the checkpoint's folder."""
        kept = {"logged": self._logged, "watch": self._follower.state_dict()}
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and folder.is_dir():
            checkpoint.save(folder / _FILE, kept)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Before TensorBoard's callback closes its writer."""
        diagnosis = self._follower.end(args.output_dir)
        for callback in self._trainer.callback_handler.callbacks:
            if (writer := getattr(callback, "tb_writer", None)) is not None:
                writer.add_text("diagnosis", f"```\n{diagnosis}\n```")
