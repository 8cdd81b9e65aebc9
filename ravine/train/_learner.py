"""The Learner: a model, its data, a loss and an optimizer, and what a user does with them. The loop is in _loop.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ravine import _extensions as extensions
from ravine import _randomness as randomness
from ravine.errors import OptionError, TrainingError
from ravine.optim import RMSprop
from ravine.train import _argument_checks as check
from ravine.train import _evaluate as evaluation
from ravine.train import _parallel as parallel
from ravine.train import _rates as rates
from ravine.train import _stepping as stepping
from ravine.train._arguments_of_others import answers
from ravine.train._batches import Batches
from ravine.train._callback import Callback, forward_contexts
from ravine.train._checkpointer import Checkpointer
from ravine.train._data_order import DataOrder
from ravine.train._display import Display, display_for
from ravine.train._fit import Fit, FitState
from ravine.train._fit_lines import announced
from ravine.train._forward import ForwardPass
from ravine.train._interrupt import deferred
from ravine.train._learner_output import learner_html, learner_text
from ravine.train._loop import Loop
from ravine.train._lr_find.finder import find
from ravine.train._lr_find.lr_find_result import LRFind
from ravine.train._metrics import Measure, default_metrics, named
from ravine.train._names_of_others import OF_LEARNER, AnswersNearest
from ravine.train._predict import predict
from ravine.train._recorder import METRICS, Recorder
from ravine.train._schedules.by_text import as_callbacks
from ravine.train._schedules.hyper_schedule import HyperSchedule
from ravine.train._schedules.one_cycle import MOMS, OneCycle
from ravine.train._stop_request import StopRequest
from ravine.train._stream import Stream
from ravine.train._summary import summary_of
from ravine.train._training_state import TrainingState

Loader = Iterable[Any]
Schedule = Callback | str | None

_PREDICTED_ROWS = 1024  # of a tensor at once, where no validation data says how many


class Learner(AnswersNearest):
    """Trains a model and shows how it goes.

    Args:
        model: any module. A batch's inputs are its argument; a tuple of inputs becomes its arguments, a dict its
            named arguments.
        data: the batches to train on and those to validate on (or None): ``Batches``, DataLoaders, or anything
            that gives (inputs, targets) each time it is iterated over.
        loss: from the model's outputs and the targets to one number, their mean over the rows.
        opt_func: makes the optimizer from the parameters: a class of ``ravine.optim`` or ``torch.optim``, a
            ``functools.partial`` of one, or any function.
        metrics: functions like ``loss`` that are only shown, or such functions by name. None: the accuracy where
            the targets are class indices (int64, as for ``cross_entropy``) and the outputs have a number for each
            class, else nothing.
        callbacks: what else happens in every fit (see ``ravine.train.Callback``).
        folder: where ``metrics.jsonl`` and checkpoints are written; None writes nothing.
        quiet: show nothing.
        steps_per_epoch: how many batches an epoch has, for training data without a length: each epoch then takes the next
            so many, and where the data end they begin again. None: an epoch is all that the data give.

    Attributes:
        recorder: what was measured, over all fits.
        loop: the loop of the fit that runs, or of the last one; None before the first.
        order: the position in the orders of the data, over all fits.
        observers: passive callbacks of every fit that come with the library.

    Raises:
        OptionError: the model has no parameters, or the data, loss, optimizer, metrics or callbacks cannot be used.

    Example::

        learn = Learner(model, (Batches(x, y, 64), Batches(x_valid, y_valid, 1024, shuffle=False)), cross_entropy)
        learn.lr_find().plot("lr.png")
        learn.fit(5, lr=1e-3)
    """

    _of_others = OF_LEARNER

    @answers
    def __init__(
        self,
        model: nn.Module,
        data: tuple[Loader, Loader | None],
        loss: Measure,
        opt_func: Callable[..., torch.optim.Optimizer] = RMSprop,
        metrics: Mapping[str, Measure] | Sequence[Measure] | None = None,
        *,
        callbacks: Sequence[Callback] = (),
        folder: Path | str | None = None,
        quiet: bool = False,
        steps_per_epoch: int | None = None,
    ) -> None:
        check.model(model)
        self.model, self.loss_func, self.opt_func = model, check.loss(loss), check.opt_func(opt_func)
        self.train, self.valid = check.data(data)
        if steps_per_epoch is not None:
            self.train = Stream(self.train, steps_per_epoch)
        self.metrics = None if metrics is None else named(metrics)
        self.callbacks = check.callbacks(callbacks)
        self.folder = check.folder(folder)
        self.quiet = quiet or not parallel.is_main()
        self.recorder = Recorder(self.folder / METRICS if self.folder is not None and parallel.is_main() else None)
        self.order = DataOrder()
        self.loop: Loop | None = None
        self.observers: list[Callback] = [extensions.callback("evidence"), StopRequest()]
        self._training_model = parallel.data_parallel(model)
        self._optimizer: torch.optim.Optimizer | None = None

    def __repr__(self) -> str:
        return f"Learner({learner_text(self.model, self._optimizer, self.opt_func, self.recorder)})"

    def _repr_html_(self) -> str:
        text = learner_text(self.model, self._optimizer, self.opt_func, self.recorder)
        return learner_html(text, self.train, self.valid, self.loss_func, self.metrics, self.recorder)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer, made by ``opt_func`` when it is first needed; it stays the same in every fit."""
        return self._made_optimizer(None)

    def _made_optimizer(self, lr: rates.Rates | None) -> torch.optim.Optimizer:
        """The optimizer; made with this rate if it is made now, needs one, and ``opt_func`` has none."""
        if self._optimizer is None:
            self._optimizer = stepping.make_optimizer(self.opt_func, self.model, lr, self.loss_func)
        return self._optimizer

    @property
    def state(self) -> FitState:
        """The progress of the running fit, or of the last one: epoch, batch, step, and why it was stopped."""
        return FitState() if self.loop is None else self.loop.fit.state

    # --- training ------------------------------------------------------------------------------------------------

    @answers
    def fit(
        self,
        epochs: int,
        lr: float | Sequence[float] | None = None,
        schedule: Schedule = None,
        *,
        callbacks: Sequence[Callback] = (),
        checkpoint_every: int | str | None = None,
        resume: bool = False,
        find_nonfinite: bool = False,
    ) -> None:
        """Train for so many epochs.

        Args:
            epochs: at least 1.
            lr: the learning rate of all parameter groups, or a list with one for each; None leaves what the optimizer
                has, and says what that is.
            schedule: how hyperparameters change: one of ``ravine.train``'s schedules, or its text, such as
                ``"step:800,0.9"``, ``"plateau:5,0.7"`` or ``"cosine"``.
            callbacks: for this fit only, in addition to those of the Learner.
            checkpoint_every: write ``folder/checkpoint.safetensors`` after so many steps, or ``"epoch"`` for after
                every epoch. Ctrl-C then writes one, too.
            resume: continue from the folder's checkpoint, as if the run had never been stopped; without a
                checkpoint, begin. A run that is complete goes on if ``epochs`` is now more, where nothing in it
                depends on how long it is.
            find_nonfinite: end the fit at the first loss or gradient that is not finite, before that step, and say which
                module it came from (see ``ravine.diagnose.FindNonFinite``).

        Raises:
            OptionError: an argument has an impossible value, or the checkpoint is of another fit.
            StateError: the checkpoint is damaged or of another model or optimizer.
            TrainingError: the loss or a metric cannot be used; what was trained until then stays in the model.
            KeyboardInterrupt: Ctrl-C was pressed; the step was finished and what was measured is kept.
        """
        options = check.fit_options(epochs, lr, checkpoint_every, resume, find_nonfinite, self.folder)
        epochs = options.epochs
        check.trainable(self.model)
        schedules = list(as_callbacks(schedule, lr))
        self._made_optimizer(options.lr or _top_of(schedules))
        checkpointer = Checkpointer(self._training_state(), options)
        active = [
            *self.observers,
            *self.callbacks,
            *check.callbacks(callbacks),
            *schedules,
            *([extensions.callback("find_nonfinite")] if find_nonfinite else ()),
            *checkpointer.callbacks,
        ]
        self.loop = loop = self._new_loop(epochs, active, display_for(quiet=self.quiet))
        scheduled = any(isinstance(one, HyperSchedule) and "lr" in one.functions for one in schedules)
        remark = rates.begin_with(options.lr, self.optimizer, self.opt_func, scheduled, len(self.recorder) > 0)
        checkpointer.attach(loop)
        fit = loop.fit
        fit.quiet = self.quiet
        try:
            loop.begin()
            if resume and checkpointer.resume():
                return
            self._try_validation(fit)
            if remark:
                fit.display.say(remark)
            with announced(fit), deferred(parallel.size() == 1) as interrupt:
                fit.interrupt = interrupt
                fit.begin_table()
                loop.run(interrupt)
                if not interrupt.pressed:
                    loop.say_if_lost()
                    if summary := summary_of(fit, active):
                        fit.display.answer(summary)
                checkpointer.ended(interrupt.pressed)
        finally:
            loop.finish()

    @answers
    def fit_one_cycle(
        self,
        epochs: int,
        lr: float | Sequence[float] | None = None,
        *,
        div: float = 25.0,
        div_final: float = 1e5,
        pct_start: float = 0.25,
        moms: tuple[float, float, float] | None = MOMS,
        **options: Any,
    ) -> None:
        """Train with one cycle: the rate rises and falls along cosines while momentum falls and rises.

        Afterwards rate and momentum are what they were before it.

        Args:
            epochs: at least 1.
            lr: the highest learning rate, which must be given (fastai calls it ``lr_max``), or a list with one for each
                parameter group; ``lr_find`` suggests one.
            div: the rate begins at ``lr / div``.
            div_final: it ends at ``lr / div_final``.
            pct_start: the share of the run in which it rises.
            moms: momentum at the beginning, at the highest rate and at the end, for whichever the optimizer has:
                ``momentum`` (if it is on), the first of ``betas``, ``beta1``, ``mom``, or the coefficient of its running
                average (``alpha``, ``rho``); None leaves that alone. Given where there is none of these, it is an error.
            options: as for :meth:`fit`.

        Raises:
            OptionError: an argument has an impossible value, as in :meth:`fit`.

        Smith and Topin, Super-convergence (2018), with the cosines and defaults of fastai.
        """
        if lr is None:
            raise OptionError(
                f"fit_one_cycle needs the highest learning rate: fit_one_cycle({epochs!r}, lr=0.01). learn.lr_find() suggests one."
            )
        cycle = OneCycle(lr, div=div, div_final=div_final, pct_start=pct_start, moms=moms)
        self.fit(epochs, schedule=cycle, **options)

    @answers
    def lr_find(self, start: float = 1e-7, end: float = 10.0, steps: int = 100, orders: int = 3) -> LRFind:
        """Train a copy with a rate that rises at every step, and suggest a learning rate from its losses.

        Model, optimizer, data and random states are not changed.

        Args:
            start, end: the lowest and highest rate, a geometric sequence between.
            steps: how many rates; a sweep ends early where the loss diverges.
            orders: how many sweeps, each over the data in another order; their spread is the range of a suggestion.

        Returns:
            An ``LRFind``: ``.lr``, ``.suggestions`` by rule, ``.plot()``; printing it shows all of it.
        """
        check.trainable(self.model)
        self.recorder.lr_find = find(
            self.model,
            self._optimizer or stepping.make_optimizer(self.opt_func, self.model, start, self.loss_func),
            self.loss_func,
            self.train,
            self.callbacks,
            start=start,
            end=end,
            steps=steps,
            orders=orders,
            quiet=self.quiet,
        )
        return self.recorder.lr_find

    def dry_run(self) -> None:
        """Train on the first batch, to check that model, data, loss and optimizer fit together.

        It changes model and optimizer: use a Learner that is discarded afterwards.
        """
        self._made_optimizer(1e-3)
        next(self._new_loop(1, self.callbacks, Display()).by_batch())

    # --- evaluation ----------------------------------------------------------------------------------------------

    @answers
    def validate(self, data: Loader | None = None) -> dict[str, float]:
        """The mean loss (``valid_loss``) and metrics over all rows of ``data``, or of the validation data.

        Raises:
            OptionError: there is no such data, or no batch in it.
        """
        chosen = self._data_or_valid(data, "validate")
        self._move_loss()
        measures = {evaluation.LOSS: self.loss_func, **self._metrics_for(chosen)}
        return evaluation.evaluate(self._forward(), measures, chosen)

    @answers
    def predict(self, data: Any = None, *, stack: bool = True) -> Any:
        """The model's outputs for all rows of ``data``, or of the validation data, on the CPU.

        Args:
            data: batches, with targets or without; or inputs in memory: a tensor or array of shape (rows, ...), or a tuple
                or dict of them for a model of several inputs.
            stack: False gives a list with the outputs of each batch, of any form: those of padded texts differ in length.

        Raises:
            OptionError: there is no such data, or no batch in it.
            TrainingError: the outputs are not tensors of one shape, and ``stack`` is not False.
        """
        chosen = self._data_or_valid(data, "predict")
        rows = self.valid.batch_size if isinstance(self.valid, Batches) else _PREDICTED_ROWS
        return predict(self._forward(), chosen, rows, stack=stack)

    # --- files ---------------------------------------------------------------------------------------------------

    def save(self, path: Path | str) -> None:
        """Write model, optimizer, random states and what was recorded to one file, whole or not at all."""
        self._training_state().save(Path(path))

    def load(self, path: Path | str) -> None:
        """Continue from a file that :meth:`save` wrote.

        Raises:
            DataError: there is no such file, or it is damaged.
            StateError: it is of another model or optimizer; nothing was loaded.
        """
        self._training_state().load(Path(path))

    # --- parts of it ---------------------------------------------------------------------------------------------

    def _new_loop(self, epochs: int, callbacks: Sequence[Callback], display: Display) -> Loop:
        forward = ForwardPass(self.model, forward_contexts(callbacks), self._training_model)
        self._move_loss()
        fit = Fit(
            forward,
            self.loss_func,
            {} if self.valid is None else self._metrics_for(self.valid),
            self.train,
            self.valid,
            self.optimizer,
            self.recorder,
            display,
            epochs=epochs,
            folder=self.folder,
        )
        return Loop(fit, callbacks, self.order)

    def _training_state(self) -> TrainingState:
        return TrainingState(
            self.model, self.optimizer, self.recorder, self.order, self.train, self.valid, self.loss_func
        )

    def _forward(self) -> ForwardPass:
        """Inside a fit with what its callbacks ask for, else with what those of the Learner do."""
        callbacks = self.loop.callbacks if self.loop is not None and self.loop.running else self.callbacks
        return ForwardPass(self.model, forward_contexts(callbacks))

    def _move_loss(self) -> None:
        """A loss with weights of classes, or with parameters, goes where the model is."""
        if isinstance(self.loss_func, nn.Module):
            self.loss_func.to(next(self.model.parameters()).device)

    def _metrics_for(self, data: Loader) -> dict[str, Measure]:
        return default_metrics(data) if self.metrics is None else dict(self.metrics)

    def _data_or_valid(self, data: Any, method: str) -> Any:
        chosen = self.valid if data is None else data
        if chosen is None:
            raise OptionError(f"This Learner has no validation data; pass some: learn.{method}(data).")
        return chosen

    @staticmethod
    def _try_validation(fit: Fit) -> None:
        """A first batch of validation, so that a metric that cannot work is found before anything is trained."""
        if isinstance(fit.valid, Batches) and parallel.size() == 1:
            with randomness.isolated():
                try:
                    fit.evaluate([next(fit.valid.epoch(0))])
                except TrainingError:  # an AUC needs rows of both classes, which a batch may not have
                    fit.evaluate(fit.valid)


def _top_of(schedules: Sequence[Callback]) -> rates.Rates | None:
    """The highest rate of a one-cycle, which the optimizer is made with where nothing else gives it one."""
    return next((one.rates for one in schedules if isinstance(one, OneCycle)), None)
