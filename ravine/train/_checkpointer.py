"""Checkpoints while a fit runs: when they are written, and how a run is resumed from one.

A resumed run is bit for bit the uninterrupted one, also from the middle of an epoch. The rest of a
checkpoint is _training_state.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ravine import _files as files
from ravine._files import checkpoint
from ravine._written_alike import alike
from ravine.errors import DataError, OptionError, StateError
from ravine.train import _parallel as parallel
from ravine.train._argument_checks import FitOptions
from ravine.train._callback import Callback
from ravine.train._data_content import NOT_THE_SAME, fingerprint
from ravine.train._fit import Fit
from ravine.train._interrupt import StoppedTogether
from ravine.train._loop import Loop
from ravine.train._training_state import TrainingState

CHECKPOINT = "checkpoint.safetensors"


class Checkpointer:
    """Writes the checkpoints of one fit, and resumes from them.

    Attributes:
        callbacks: what writes while the fit runs; the loop must have them.
    """

    def __init__(self, training: TrainingState, options: FitOptions) -> None:
        self.training, self.options = training, options
        self.path = None if options.folder is None else options.folder / CHECKPOINT
        self.callbacks: list[Callback] = []
        if options.checkpoint_every:
            self.callbacks.append(PeriodicCheckpoint(self.write, options.checkpoint_every))
        self._loop: Loop | None = None
        kept = bool(options.checkpoint_every or options.resume)
        self._data = fingerprint(training.train) if kept else ""
        if options.folder is not None and parallel.is_main():
            files.claim(options.folder, force=True)
        journal = training.recorder.journal
        begun = journal is not None and len(training.recorder) == 0 and journal.path.exists()
        if begun and not options.resume:
            raise OptionError(
                f"The folder {options.folder} already has a run. Resume it with resume=True, or name another folder."
            )

    def attach(self, loop: Loop) -> None:
        """The loop whose fit is kept."""
        self._loop = loop

    @property
    def loop(self) -> Loop:
        """The loop whose fit is kept."""
        assert self._loop is not None
        return self._loop

    def write(self) -> None:
        """A checkpoint of this moment."""
        assert self.path is not None
        fit = {
            **self._description(),
            "state": self.loop.fit.state.state_dict(),
            "epoch_start": parallel.all_gather(self.loop.order.epoch_start),
            "callbacks": [[type(c).__name__, c.state_dict()] for c in self._acting()],
        }
        self.training.save(self.path, fit)

    def _acting(self) -> list[Callback]:
        """The callbacks that a fit which is resumed must have, too."""
        return [c for c in self.loop.callbacks if not c.passive]

    def _description(self) -> dict[str, Any]:
        """What must be the same in a fit that is resumed."""
        train = self.loop.fit.train
        return {
            "epochs": self.options.epochs,
            "lr": self.options.lr,
            "batches": self.loop.fit.batches,
            "batch size": getattr(train, "batch_size", None),
            "seed": getattr(train, "seed", None),
            "names": [repr(c) for c in self._acting()],
            "data": self._data,
        }

    def resume(self) -> bool:
        """Go to where the checkpoint was written; whether the run was already complete."""
        assert self.path is not None
        fit, journal = self.loop.fit, self.training.recorder.journal
        if not self.path.exists():
            if len(self.training.recorder) == 0 and journal is not None:
                journal.rewind(0)  # what a run that never reached a checkpoint wrote
            return False
        kept = checkpoint.load(self.path).get("fit")
        if kept is None:
            raise StateError(f"{self.path} was not written by a fit; load it with learn.load.")
        longer = self._check_fit(kept)
        self.training.load(self.path, rewind=True)
        for callback, (_, state) in zip(self._acting(), kept["callbacks"], strict=True):
            callback.load_state_dict(state)
        fit.state.load_state_dict(kept["state"])
        fit.state.epochs = max(fit.state.epochs, longer)
        self.loop.order.epoch_start = parallel.local(kept["epoch_start"])
        reason = fit.state.stop_reason
        complete = fit.state.batch == 0 and bool(reason or fit.state.epoch >= fit.state.epochs)
        if complete:
            self._say_reason()
            fit.display.answer(f"The run in {self.options.folder} is complete: {reason or 'all epochs are done'}.")
        return complete

    def _check_fit(self, kept: Mapping[str, Any]) -> int:
        """Refuse the checkpoint of another fit; how many epochs this one has, which may be more."""
        differences = []
        longer = [repr(c) for c in self._acting() if c.over_the_run]
        for name, here in self._description().items():
            there = kept.get(name, here)  # checkpoints of earlier versions know nothing of their data
            if there != here and name == "data":
                raise DataError(
                    f"{self.path} was written with other training data: their content is {there or 'not known'} there, "
                    f"{here or 'not known'} here. {NOT_THE_SAME}"
                )
            if name == "epochs" and here > there and not longer:
                continue
            if name == "epochs" and here > there:
                raise OptionError(
                    f"{self.path} is of a fit over {there} epochs, and {longer[0]} depends on that: it cannot become one "
                    f"over {here}. To train the model further: learn.load({str(self.path)!r}), then learn.fit({here - there})."
                )
            if not alike(there, here):
                what = {"names": "callbacks and schedule", "batches": "batches in an epoch"}.get(name, name)
                differences.append(f"{what} {there!r} there, {here!r} here")
        if differences:
            raise OptionError(
                f"{self.path} is of another fit: {'; '.join(differences)}. Use the same to resume it, or begin another fit "
                "from it: learn.load(path)."
            )
        return self.options.epochs

    def _say_reason(self) -> None:
        """Say why a callback stopped the fit, unless that is already recorded."""
        fit = self.loop.fit
        reason = fit.state.stop_reason
        if reason and (len(fit.recorder), reason) not in fit.recorder.notes:
            fit.say(reason)

    def ended(self, interrupted: bool) -> None:
        """The last epoch is done, a callback stopped the fit, or Ctrl-C was pressed.

        Raises:
            KeyboardInterrupt: it was. StoppedTogether, which is one: with several processes.
        """
        fit, state = self.loop.fit, self.loop.fit.state
        self._say_reason()
        writes = bool(self.callbacks) and not fit.step_skipped  # gradients that still add up are not kept
        if writes:
            self.write()
        if interrupted:
            where = f" Wrote {self.path}." if writes else ""
            when = (
                f"in epoch {state.epoch} after {state.batch} batches" if state.batch else f"after epoch {state.epoch}"
            )
            fit.display.answer(f"Interrupted {when}.{where}")
            raise KeyboardInterrupt if parallel.size() == 1 else StoppedTogether


class PeriodicCheckpoint(Callback):
    """Writes a checkpoint after every so many steps, or after every epoch (``"epoch"``)."""

    order: ClassVar[int] = 100  # after everything else that acts on the step
    passive: ClassVar[bool] = True

    def __init__(self, write: Callable[[], None], every: int | str) -> None:
        self._write, self.every = write, every

    def __repr__(self) -> str:
        return f"PeriodicCheckpoint(every={self.every!r})"

    def after_batch(self, fit: Fit) -> None:
        if isinstance(self.every, int) and not fit.step_skipped and fit.state.step % self.every == 0:
            self._write()

    def after_epoch(self, fit: Fit) -> None:
        if self.every == "epoch":
            self._write()
