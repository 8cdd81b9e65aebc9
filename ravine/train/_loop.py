"""The training loop: epochs, batches, and the five moments of a batch, with hooks between them.

What happens at the hooks is done by callbacks (_callback.py), what is measured is in the recorder (_recorder.py), and
what is shown is the display's (_display/). All of them read one Fit (_fit.py), which the loop moves on.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from torch import Tensor

from ravine.errors import OptionError
from ravine.train import _broadcasting as broadcasting
from ravine.train import _left_over_row as left_over_row
from ravine.train import _loss_errors as loss_errors
from ravine.train import _parallel as parallel
from ravine.train import _stepping as stepping
from ravine.train import _untrained as untrained
from ravine.train._callback import Callback, Hooks
from ravine.train._data_content import nonfinite
from ravine.train._data_order import DataOrder
from ravine.train._evaluation_weights import hold_weights
from ravine.train._fit import Fit
from ravine.train._forward import call, checked_loss, pair, row_count
from ravine.train._interrupt import Interrupt
from ravine.train._mean_weights import SUMS, Weight, adds_up, weighed
from ravine.train._training_mode import TrainingMode


class Loop:
    """Trains one fit.

    Args:
        fit: what is trained.
        callbacks: what is called around it.
        order: gives the batches of each epoch, and counts the epochs over all fits.
        clock: seconds since some moment.

    Attributes:
        running: whether the fit has begun and not ended.
    """

    def __init__(
        self, fit: Fit, callbacks: Sequence[Callback], order: DataOrder, clock: Callable[[], float] = perf_counter
    ) -> None:
        self.fit, self.callbacks, self.order = fit, list(callbacks), order
        self.running = False
        order.epoch_start = None
        self._hooks, self._clock = Hooks(self.callbacks), clock
        self._device = fit.device
        self._mode = TrainingMode(fit.model)
        self._first = len(fit.recorder)
        self._untrained: set[str] = set()
        self._step: stepping.Step = fit.optimizer.step

    def __repr__(self) -> str:
        return f"Loop({self.fit!r}{', running' if self.running else ''})"

    def begin(self) -> None:
        """Let callbacks prepare, and find out who makes the steps."""
        self.running = True
        for hook in self._hooks.before_fit:
            hook(self.fit)
        self._mode = TrainingMode(self.fit.model)
        left_over_row.check(self.fit.forward, self.fit.train)
        self._step = stepping.step_of(self.callbacks, self.fit) or self._own_step()
        hold_weights(self.fit.optimizer, True)

    def run(self, interrupt: Interrupt) -> None:
        """Epochs until all are done, a callback stops the fit, or Ctrl-C is pressed."""
        fit, state = self.fit, self.fit.state
        while not interrupt.pressed and (state.batch or (state.epoch < state.epochs and not state.stop_reason)):
            self._mode.set()  # before the hooks, which may put modules to evaluation mode
            if state.batch == 0:
                state.epoch += 1
                state.seconds = 0.0
                for hook in self._hooks.before_epoch:
                    hook(fit)
                untrained.warn_of_parameters(fit.model, fit.loss_func, fit.optimizer, self._untrained)
            began = self._clock() - state.seconds
            fit.display.epoch_begins(state.epoch, fit.batches)
            if not (state.batch and state.stop_reason):  # else a stopped run is resumed before its epoch's end
                self._train_epoch(interrupt, began)
            if interrupt.pressed:
                return
            self._end_epoch(began)

    def by_batch(self) -> Iterator[None]:
        """Begin, and train on one more batch each time this is asked, epoch after epoch, without end."""
        state = self.fit.state
        self.begin()
        self._mode.set()
        while True:
            state.epoch, state.batch = state.epoch + 1, 0
            for batch in self.order.batches(self.fit.train, 0):
                self._train_batch(batch, self._clock())
                yield
            if not state.batch:
                raise OptionError("The training data gave no batch. Is it empty?")
            self.order.epochs += 1

    def say_if_lost(self) -> None:
        """Say so if the loss ended as NaN or infinity, unless the fit was stopped with a reason."""
        fit, losses = self.fit, self.fit.recorder.losses
        if not len(losses) or fit.state.stop_reason:
            return
        if math.isfinite(losses[-1]):
            validated = fit.row.get("valid_loss", 0.0)
            if not math.isfinite(validated) and (in_data := nonfinite(fit.valid)):
                fit.warn(f"valid_loss is {validated}: the validation data have NaN or infinity in the {in_data}")
            return
        finite = np.flatnonzero(np.isfinite(losses))
        first = int(finite[-1]) + 2 if len(finite) else 1
        if in_data := nonfinite(fit.train):
            fit.warn(
                f"the loss is {losses[-1]} since step {first:,}: the training data have NaN or infinity in the {in_data}. Fill or "
                "remove them: another learning rate does not help"
            )
            return
        fit.say(
            f"the loss is {losses[-1]} since step {first:,}: the model has learned nothing since. Lower the learning rate, or "
            "find the module it came from with fit(find_nonfinite=True)"
        )

    def finish(self) -> None:
        """However the fit ended: nothing that was measured is lost, and the terminal is as it was."""
        self.running = False
        hooks = [functools.partial(hook, self.fit) for hook in self._hooks.after_fit]
        _in_any_case([self.fit.release_batch, self.fit.display.end, self.fit.recorder.write, *hooks])

    # --- an epoch ------------------------------------------------------------------------------------------------

    def _train_epoch(self, interrupt: Interrupt, began: float) -> None:
        """One epoch of training, from the batch after ``state.batch`` on."""
        fit, state = self.fit, self.fit.state
        hold_weights(fit.optimizer, True)
        self._device = fit.device  # to ask the model takes longer than the rest of what stands around a batch
        moment = self._clock()
        for batch in self._fetched(interrupt):
            self._train_batch(batch, moment)
            state.seconds = self._clock() - began
            for hook in self._hooks.after_batch:
                hook(fit)
            if fit.display.wants():
                fit.display.progress(state.batch, fit.recorder.smooth_loss, stepping.rate_of(fit.optimizer))
            if interrupt.pressed or state.stop_reason:
                return
            moment = self._clock()
        if state.batch == 0:
            raise OptionError("The training data gave no batch. Is it empty, or drop_last larger than what is there?")
        if interrupt.pressed:
            return
        if fit.step_skipped:  # data without a length ends by surprise
            fit.epoch_ends = True
            self._take_step()

    def _fetched(self, interrupt: Interrupt) -> Iterator[Any]:
        """The rest of this epoch's batches. A DataLoader's workers may end at Ctrl-C, too: that is not a failure."""
        first = self.fit.state.batch
        try:
            yield from self.order.batches(self.fit.train, first)
        except RuntimeError as error:
            if not interrupt.pressed:
                raise
            if self.fit.state.batch == 0:  # an order was drawn, but no step was made that could be kept
                raise KeyboardInterrupt from error

    def _end_epoch(self, began: float) -> None:
        """Validate, show and record the row, and let callbacks act on it."""
        fit, state = self.fit, self.fit.state
        hold_weights(fit.optimizer, False)
        fit.row = {"epoch": state.epoch, "train_loss": fit.recorder.mean_loss(state.batch)}
        failed: Exception | None = None
        if fit.valid is not None:
            fit.display.validating()
            try:
                fit.row |= fit.evaluate(fit.valid)
            except Exception as error:  # the epoch is trained: it is recorded before this is raised
                failed = error
        fit.row["time"] = self._clock() - began
        self.order.epochs += 1
        state.batch = 0
        fit.recorder.epoch(fit.row)
        fit.hold_sentences()
        try:
            for hook in self._hooks.after_epoch if failed is None else ():
                hook(fit)
                fit.recorder.amend(fit.row)  # before the next one, which may write a checkpoint
        finally:
            fit.show_row()
        if failed is not None:
            raise failed

    # --- a batch -------------------------------------------------------------------------------------------------

    def _train_batch(self, batch: Any, began: float) -> None:
        """One batch: data, forward, backward, step."""
        fit, clock = self.fit, self._clock
        if not fit.step_skipped:
            stepping.zero_grad(fit.optimizer)
        fit.inputs, fit.targets = pair(batch, self._device)
        for hook in self._hooks.before_batch:
            hook(fit)
        fetched = clock()
        self._forward()
        forwarded = clock()
        if len(fit.recorder) == self._first and fit.is_main:
            fit.broadcast = broadcasting.shapes_of(fit.loss_func, fit.outputs, fit.targets)
            if fit.broadcast:
                fit.warn(f"{broadcasting.sentence(*fit.broadcast)} {broadcasting.ADVICE}")
            if adds_up(fit.loss_func):
                fit.say(SUMS)
        if len(fit.recorder) == self._first and parallel.size() == 1:
            untrained.warn_of_leaves(fit.backward_loss, fit.model, fit.optimizer, (fit.inputs, fit.targets))
        try:
            fit.backward_loss.backward()
        except (RuntimeError, ValueError) as error:
            self._explain(error)
            raise
        backed = clock()
        fit.epoch_ends = fit.state.batch + 1 == fit.batches
        self._take_step()
        fit.state.batch += 1
        fit.recorder.batch(fit.loss, (began, fetched, forwarded, backed, clock()), row_count(fit.targets))

    def _forward(self) -> None:
        """Outputs and loss of the batch, and what callbacks make of it."""
        fit = self.fit
        with fit.forward.context():
            fit.outputs = call(fit.forward.training_model, fit.inputs, row_count(fit.targets))
            try:
                loss, fit.loss_weight = self._loss()
            except Exception as error:
                self._explain(error)
                raise
        loss = checked_loss(loss)
        fit.backward_loss, fit.loss = loss, loss.detach()
        if parallel.size() > 1:
            fit.backward_loss, fit.loss, asked = parallel.global_loss(
                loss, fit.outputs, row_count(fit.targets), fit.interrupt.asked
            )
            fit.interrupt.pressed |= asked
        for hook in self._hooks.after_loss:
            hook(fit)

    def _loss(self) -> tuple[Any, Weight]:
        """The loss, and what it is the mean over, where that is asked for and known."""
        fit = self.fit
        if fit.batches_per_step is None or parallel.size() > 1:  # processes are weighed by their rows
            return fit.loss_func(fit.outputs, fit.targets), None
        return weighed(fit.loss_func, fit.outputs, fit.targets)

    def _explain(self, error: Exception) -> None:
        """Raise what is wrong between outputs, targets and loss in the user's terms, if that is known."""
        fit = self.fit
        if (explained := loss_errors.of_loss(error, fit.loss_func, fit.outputs, fit.targets)) is not None:
            raise explained from error

    def _take_step(self) -> None:
        """The optimizer's step, unless a callback skips it or the stepper leaves it out."""
        fit = self.fit
        fit.recorder.hypers(fit.optimizer)
        fit.step_skipped = any(hook(fit) is False for hook in self._hooks.before_step)
        if not fit.step_skipped and self._step() is not False:
            fit.state.step += 1
            for hook in self._hooks.after_step:
                hook(fit)

    def _own_step(self) -> stepping.Step:
        """The optimizer's own step; one like LBFGS gets the closure it asks for, which evaluates the batch again."""
        fit = self.fit
        if not stepping.needs_closure(fit.optimizer):
            return fit.optimizer.step

        def closure() -> Tensor:
            before = fit.loss  # what is recorded is the loss that the step began with
            fit.optimizer.zero_grad()
            self._forward()
            fit.backward_loss.backward()
            fit.loss = before
            return fit.backward_loss.detach()

        return functools.partial(fit.optimizer.step, closure)


def _in_any_case(last_first: list[Callable[[], Any]]) -> None:
    """Call all of them, whatever one of them raises; the error that came first stays to be seen above later ones."""
    if last_first:
        try:
            last_first.pop()()
        finally:
            _in_any_case(last_first)
