"""The training loop: epochs, batches, and the five moments of a batch, with hooks between them.

What happens at the hooks is done by callbacks (callback.py), what was measured is in the recorder (recorder.py),
what is shown is the display's (display.py). A user calls the Learner, which is this loop with a front.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import nn

from ravine.diagnose._nonfinite.replay import call
from ravine.errors import OptionError
from ravine.train import _check as check
from ravine.train import _evaluate as evaluate
from ravine.train import _keeping as keeping
from ravine.train import _parallel as parallel
from ravine.train._batches import Batches
from ravine.train._callback import Callback, Hooks
from ravine.train._display import Display
from ravine.train._interrupt import Interrupt
from ravine.train._metrics import Measure
from ravine.train._recorder import Recorder

Stepper = Callable[[], Any]


class Loop:
    """Trains. A callback may read everything here without an underscore.

    Attributes:
        epochs, epoch: how many epochs this fit has, and the number of the one that runs, from 1.
        batch: how many batches of this epoch are done.
        step: how many steps of the optimizer this fit has made.
        inputs, targets, outputs: of the last batch.
        loss: its loss, detached; with several processes that of the joined batch.
        objective: what is differentiated.
        held: whether the last step was held back.
        epoch_ends: whether this is the epoch's last batch.
        row: the last epoch's row of the table, by column.
        units: by layer, how many units came into it and how many of them were idle, when the last epoch ended.
    """

    model: nn.Module
    loss_func: Measure
    metrics: dict[str, Measure]
    train: Iterable[Any]
    valid: Iterable[Any] | None
    callbacks: list[Callback]
    recorder: Recorder

    def __init__(self) -> None:
        self._call = parallel.joined(self.model)
        self._display: Display = Display()
        self.units: dict[str, tuple[int, int]] = {}
        self._trained_epochs = 0  # over all fits: the number of the data's order
        self._prepare_nothing()

    def _prepare_nothing(self) -> None:
        self.epochs, self.epoch, self.batch, self.step = 0, 0, 0, 0
        self.held = self.epoch_ends = False
        self.row: dict[str, Any] = {}
        self.inputs: Any = None
        self.targets: Any = None
        self.outputs: Any = None
        self.loss = self.objective = torch.tensor(float("nan"))
        self._why_stop = ""
        self._device = self.device
        self._seconds = 0.0
        self._epoch_start: dict[str, Any] | None = None
        self._active: list[Callback] = []
        self._hooks = Hooks([])
        self._contexts = contexts(self.callbacks)

    def _prepare(self, epochs: int, active: Sequence[Callback], display: Display) -> Stepper:
        """Begin a fit with these callbacks; gives the function that makes a step."""
        self._prepare_nothing()
        self.epochs = epochs
        self._active, self._hooks, self._display = list(active), Hooks(active), display
        self._contexts = contexts(active)
        for hook in self._hooks.before_fit:
            hook(self)
        return check.stepper(active, self) or check.plain_step(self)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What makes the steps."""
        raise NotImplementedError

    @property
    def main(self) -> bool:
        """Whether this process speaks and writes for all that train together."""
        return parallel.rank() == 0

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are; batches are taken there."""
        return next(self.model.parameters()).device

    @property
    def batches(self) -> int | None:
        """How many batches an epoch of training has; None where the data does not say."""
        return check.length(self.train)

    @property
    def progress(self) -> float:
        """The share of this fit's batches that are done, from 0 to 1; schedules over a run go by it.

        Raises:
            OptionError: the training data does not say how many batches it has.
        """
        if self.batches is None:
            raise OptionError(
                "A schedule over the whole run needs to know its length, but the training data has no len(). "
                "Use a schedule by steps or epochs, or data with a length."
            )
        return (self.epoch - 1 + self.batch / self.batches) / self.epochs

    def stop(self, reason: str) -> None:
        """End the fit after this batch, or this epoch if its batches are done; the reason is shown and recorded."""
        self._why_stop = reason or f"epoch {self.epoch}: stopped"

    def say(self, sentence: str) -> None:
        """Show a sentence between the rows of the table, and record it."""
        self.recorder.note(sentence)
        self._display.say(sentence)

    # --- the loop ------------------------------------------------------------------------------------------------

    def _run(self, step: Stepper, interrupt: Interrupt) -> None:
        """Epochs until all are done, a callback stops them, or Ctrl-C was pressed."""
        while not interrupt.pressed and (self.batch or (self.epoch < self.epochs and not self._why_stop)):
            if self.batch == 0:
                self.epoch += 1
                self._seconds = 0.0
                for hook in self._hooks.before_epoch:
                    hook(self)
            began = perf_counter() - self._seconds
            self._display.epoch_begins(self.epoch, self.batches)
            if not (self.batch and self._why_stop):  # else a run goes on that was stopped, but not to its epoch's end
                self._train_epoch(step, interrupt, began)
            if interrupt.pressed:
                return
            self._end_epoch(began)

    def _train_epoch(self, step: Stepper, interrupt: Interrupt, began: float) -> None:
        """One epoch of training, from the batch after ``self.batch`` on."""
        self.model.train()
        self._device = self.device  # to ask the model takes longer than the rest of what stands around a batch
        moment = perf_counter()
        for batch in self._fetched(interrupt):
            self._train_batch(batch, step, moment)
            self._seconds = perf_counter() - began
            for hook in self._hooks.after_batch:
                hook(self)
            if self._display.wants():
                self._display.progress(self.batch, self.recorder.smooth_loss, check.rate_of(self.optimizer))
            if interrupt.pressed or self._why_stop:
                return
            moment = perf_counter()
        if self.batch == 0:
            raise OptionError("The training data gave no batch. Is it empty, or drop_last larger than what is there?")
        if interrupt.pressed:
            return
        if self.held:  # data without a length ends by surprise
            self.epoch_ends = True
            self._take_step(step)

    def _train_batch(self, batch: Any, step: Stepper, began: float) -> None:
        """One batch: data, forward, backward, step."""
        hooks = self._hooks
        if not self.held:
            zero_grad(self.optimizer)
        self.inputs, self.targets = check.pair(batch, self._device)
        for hook in hooks.before_batch:
            hook(self)
        fetched = perf_counter()
        self._forward()
        forwarded = perf_counter()
        self.objective.backward()
        backed = perf_counter()
        self.epoch_ends = self.batch + 1 == self.batches
        self._take_step(step)
        self.batch += 1
        self.recorder.batch(self.loss, (began, fetched, forwarded, backed, perf_counter()))

    def _forward(self) -> None:
        """Outputs and loss of the batch, and what callbacks make of it."""
        with self._forward_context():
            self.outputs = call(self._call, self.inputs)
            loss = self.loss_func(self.outputs, self.targets)
        loss = check.loss(loss)
        self.objective, self.loss = loss, loss.detach()
        if parallel.size() > 1:
            self.objective, self.loss = parallel.joined_loss(loss, self.outputs, check.rows(self.targets))
        for hook in self._hooks.after_loss:
            hook(self)

    def _take_step(self, step: Stepper) -> None:
        """The optimizer's step, unless a callback holds it back or leaves it out."""
        self.recorder.hypers(self.optimizer)
        self.held = any(hook(self) is False for hook in self._hooks.before_step)
        if not self.held and step() is not False:
            self.step += 1
            for hook in self._hooks.after_step:
                hook(self)

    def _end_epoch(self, began: float) -> None:
        """Validate, show and record the row, and let callbacks act on it."""
        self.row = {"epoch": self.epoch, "train_loss": self.recorder.smooth_loss}
        failed: Exception | None = None
        if self.valid is not None:
            self._display.validating()
            try:
                self.row |= evaluate.evaluate(self, self.valid)
            except Exception as error:  # the epoch is trained: it is recorded before this is raised
                failed = error
        self.row["time"] = perf_counter() - began
        self._trained_epochs += 1
        self.batch = 0
        self.recorder.epoch(self.row)
        self._display.row([self.row.get(column, float("nan")) for column in self._columns()])
        if failed is not None:
            raise failed
        self._keep_evidence()
        for hook in self._hooks.after_epoch:
            hook(self)

    def _keep_evidence(self) -> None:
        """What the diagnosis needs of an epoch that ended."""
        raise NotImplementedError

    def _keep_last_evidence(self) -> None:
        """What it needs of a fit that ended, wherever."""
        raise NotImplementedError

    def _finish(self) -> None:
        """However a fit ended: nothing that was measured is lost, and the terminal is as it was."""
        self._contexts = contexts(self.callbacks)
        hooks = [functools.partial(hook, self) for hook in self._hooks.after_fit]
        _in_any_case([self._display.end, self._keep_last_evidence, self.recorder.write, *hooks])

    # --- parts of it ---------------------------------------------------------------------------------------------

    def _fetched(self, interrupt: Interrupt) -> Iterator[Any]:
        """The rest of this epoch's batches. A DataLoader's workers may end at Ctrl-C too: that is no failure."""
        try:
            yield from self._from(self.batch)
        except RuntimeError as error:
            if not interrupt.pressed:
                raise
            if self.batch == 0:  # random numbers were drawn for an order, but no step was made that could be kept
                raise KeyboardInterrupt from error

    def _from(self, batch: int) -> Iterator[Any]:
        """This epoch's batches of training, from number ``batch`` on."""
        if isinstance(self.train, Batches):
            return self.train.epoch(self._trained_epochs, batch, part=parallel.rank(), parts=parallel.size())
        if batch == 0:
            self._epoch_start = keeping.start_of(self.train)
        return keeping.batches_from(self.train, batch, self._epoch_start, self._trained_epochs)

    def _forward_context(self) -> contextlib.AbstractContextManager[Any]:
        """What a forward pass runs in: what the callbacks ask for."""
        if not self._contexts:
            return contextlib.nullcontext()
        stack = contextlib.ExitStack()
        learn: Any = self
        for callback in self._contexts:
            context = callback.forward_context(learn)
            if context is not None:
                stack.enter_context(context)
        return stack

    def outputs_for(self, inputs: Any) -> Any:
        """The model's outputs as in training, with what the callbacks ask for around it."""
        with self._forward_context():
            return call(self.model, inputs)

    def _columns(self) -> list[str]:
        valid = ["valid_loss", *self.metrics] if self.valid is not None else []
        return ["epoch", "train_loss", *valid, "time"]


def contexts(callbacks: Sequence[Callback]) -> list[Callback]:
    """Those that put something around a forward pass."""
    return [c for c in callbacks if type(c).forward_context is not Callback.forward_context]


def _in_any_case(last_first: list[Callable[[], Any]]) -> None:
    """Call all of them, whatever one of them raises; the error that came first stays to be seen above later ones."""
    if last_first:
        try:
            last_first.pop()()
        finally:
            _in_any_case(last_first)


def zero_grad(optimizer: torch.optim.Optimizer) -> None:
    """``optimizer.zero_grad()``; where that is torch's own, what it does without the profiling around it (10 us)."""
    if type(optimizer).zero_grad is not torch.optim.Optimizer.zero_grad:
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = None
