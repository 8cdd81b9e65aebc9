"""One fit while it runs: what it trains, its progress, and the current batch. Callbacks are given this."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ravine._line_of_user import level_of_user
from ravine._whole_numbers import count
from ravine.errors import OptionError
from ravine.train import _evaluate as evaluation
from ravine.train import _parallel as parallel
from ravine.train._display.base import Display
from ravine.train._evaluation_weights import evaluation_weights
from ravine.train._forward import ForwardPass
from ravine.train._interrupt import Interrupt
from ravine.train._mean_weights import Weight
from ravine.train._metrics import Measure
from ravine.train._names_of_others import OF_FIT, AnswersNearest
from ravine.train._recorder import Recorder


@dataclass
class FitState:
    """The progress of a fit: all that a checkpoint stores of it.

    Attributes:
        epochs: how many epochs this fit has.
        epoch: the number of the one that runs, from 1; 0 before the first.
        batch: how many batches of this epoch are done.
        step: how many steps the optimizer has made in this fit.
        seconds: how long this epoch has been trained.
        stop_reason: why the fit ends before its last epoch; empty where it does not.
    """

    epochs: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    stop_reason: str = ""

    def state_dict(self) -> dict[str, Any]:
        """All of it, in plain values."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the state that gave ``state``."""
        for field in fields(self):
            setattr(self, field.name, state[field.name])


class Fit(AnswersNearest):
    """What callbacks read, and what they may change.

    Attributes:
        forward, loss_func, metrics: how outputs, loss and metrics are computed.
        train, valid: the batches; ``valid`` may be None.
        optimizer, recorder, display: what steps, what is measured, what is shown.
        folder: where files are written; None for nowhere.
        state: the progress of the fit.
        inputs, targets: of the current batch; ``before_batch`` may replace them.
        outputs: of the model, for these inputs. After the fit all three are None.
        loss: the batch's loss, detached; with several processes that of the whole batch.
        backward_loss: what ``backward`` is called on; ``after_loss`` may replace it.
        loss_weight: what the loss is the mean over, such as its rows or the sum of its class weights; None where it is
            not known, or no ``GradientAccumulation`` asks for it.
        step_skipped: whether a callback skipped the last step.
        epoch_ends: whether this is the epoch's last batch.
        row: the last epoch's row of the table, by column.
        batches_per_step: how many batches ``GradientAccumulation`` makes one step of; None without it.
        loss_is_scaled: whether the loss is scaled for float16, so that gradients may overflow on purpose.
        quiet: whether the user has asked that nothing is shown.
        interrupt: whether Ctrl-C was pressed, or the same was asked for otherwise: the fit ends after this batch, and can go on.
        broadcast: the shapes of outputs and targets of the first batch, if the loss broadcasts them against each other.
    """

    _of_others = OF_FIT

    def __init__(
        self,
        forward: ForwardPass,
        loss_func: Measure,
        metrics: dict[str, Measure],
        train: Iterable[Any],
        valid: Iterable[Any] | None,
        optimizer: torch.optim.Optimizer,
        recorder: Recorder,
        display: Display,
        *,
        epochs: int,
        folder: Path | None = None,
    ) -> None:
        self.forward, self.loss_func, self.metrics = forward, loss_func, metrics
        self.train, self.valid = train, valid
        self.optimizer, self.recorder, self.display, self.folder = optimizer, recorder, display, folder
        self.state = FitState(epochs=epochs)
        self.inputs: Any = None
        self.targets: Any = None
        self.outputs: Any = None
        self.loss = self.backward_loss = torch.tensor(float("nan"))
        self.loss_weight: Weight = None
        self.step_skipped = self.epoch_ends = False
        self.row: dict[str, Any] = {}
        self._added: list[str] = []
        self._shown: list[str] = []
        self._held: list[str] | None = None
        self.batches_per_step: int | None = None
        self.loss_is_scaled = False
        self.quiet = False
        self.interrupt = Interrupt()
        self.broadcast: tuple[tuple[int, ...], ...] = ()

    def __repr__(self) -> str:
        state = self.state
        return (
            f"Fit(epoch {state.epoch} of {state.epochs}, {count(state.batch, 'batch', 'batches')}, step {state.step})"
        )

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        return self.forward.model

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are; batches are moved there."""
        return self.forward.device

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes for all that train together."""
        return parallel.is_main()

    @property
    def batches(self) -> int | None:
        """How many batches an epoch has; None if that is not known."""
        return length(self.train)

    @property
    def progress(self) -> float:
        """The fraction of this fit's batches that are done, from 0 to 1; schedules over a run depend on it.

        Raises:
            OptionError: the number of batches is not known.
        """
        batches = self.batches
        if batches is None:
            raise OptionError(
                "A schedule over the whole run needs to know its length, but the training data has no len(). "
                "Say it: Learner(..., steps_per_epoch=500). Or use a schedule by steps or epochs."
            )
        return (self.state.epoch - 1 + self.state.batch / batches) / self.state.epochs

    @property
    def columns(self) -> list[str]:
        """The columns of the table of epochs."""
        measured = [evaluation.LOSS, *self.metrics] if self.valid is not None else []
        return ["epoch", "train_loss", *measured, *self._added, "time"]

    def evaluate(self, data: Iterable[Any]) -> dict[str, float]:
        """The mean loss (``valid_loss``) and metrics of the model over all rows of ``data``.

        An accuracy that nobody asked for is a metric no longer once it cannot be had.
        """
        with evaluation_weights(self.optimizer):
            results = evaluation.evaluate(self.forward, {evaluation.LOSS: self.loss_func, **self.metrics}, data)
        self.metrics = {name: metric for name, metric in self.metrics.items() if name in results}
        return results

    def stop(self, reason: str) -> None:
        """End the fit after this batch, or this epoch if its batches are done; the reason is shown and recorded."""
        self.state.stop_reason = reason or f"epoch {self.state.epoch}: stopped"

    def release_batch(self) -> None:
        """Let go of the last batch and its graph, once the fit has ended: they may take much of a GPU's memory."""
        self.inputs = self.targets = self.outputs = None
        self.backward_loss = self.loss

    def say(self, sentence: str) -> None:
        """Show a sentence between the rows of the table, and record it."""
        self.recorder.note(sentence)
        if self._held is None:
            self.display.say(sentence)
        else:
            self._held.append(sentence)

    def warn(self, sentence: str) -> None:
        """Say what makes the training worthless; where nothing is shown (``quiet=True``) it is a warning."""
        self.say(sentence)
        if self.quiet and self.is_main:
            warnings.warn(sentence, stacklevel=level_of_user())

    def hold_sentences(self) -> None:
        """Show what is said from now on below the row of this epoch."""
        self._held = []

    def begin_table(self) -> None:
        """Show the head of the table of epochs."""
        self._shown = self.columns
        first = len(self.recorder)
        self.display.follow(lambda start: self.recorder.losses_from(first + start), self.state.batch)
        self.display.begin(self._shown, self.state.epochs, self.state.epoch + (self.state.batch == 0))

    def show_row(self) -> None:
        """Show the epoch's row, with the head again where columns have come or gone, and what was said meanwhile."""
        self._added += [name for name in self.row if name not in self.columns]
        if self.columns != self._shown:
            self._shown = self.columns
            self.display.columns(self._shown)
        self.display.row([self.row.get(column, float("nan")) for column in self.columns])
        held, self._held = self._held or [], None
        for sentence in held:
            self.display.say(sentence)


def length(loader: Any) -> int | None:
    """How many batches there are; None if that is not known."""
    try:
        return len(loader)
    except TypeError:  # an IterableDataset's DataLoader has __len__, which raises
        return None
