"""Impossible options of callbacks, errors that callbacks raise, and callbacks that work together."""

import contextlib
import math

import pytest
import torch
from callback_runs import SGD, Start, concatenated, data, model, parameters
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim.lr_scheduler import StepLR

from ravine import optim
from ravine.errors import OptionError
from ravine.train import (
    Batches,
    BestCheckpoint,
    Callback,
    EarlyStopping,
    GradientAccumulation,
    GradientClipping,
    Learner,
    MixedPrecision,
    StopOnNaN,
    TensorBoard,
    TorchScheduler,
)

nan = math.nan


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradientAccumulation(0), r"GradientAccumulation\(0\): give a whole number of batches, at least 1"),
        (lambda: GradientAccumulation(1.5), "whole number"),
        (lambda: GradientAccumulation(True), "whole number"),
        (lambda: GradientClipping(0), r"GradientClipping\(0\): give the largest norm, a number above 0"),
        (lambda: GradientClipping(nan), "a number above 0"),
        (lambda: GradientClipping("1"), "a number above 0"),
        (lambda: MixedPrecision(torch.float32), "the dtype is torch.bfloat16 or torch.float16"),
        (lambda: EarlyStopping(0), "patience 0 is not a number of epochs, at least 1"),
        (lambda: EarlyStopping(True), "patience True"),
        (lambda: EarlyStopping(2, min_delta=nan), "min_delta nan is not a number, 0 or above"),
        (lambda: EarlyStopping(2, min_delta=-1), "min_delta -1"),
        (lambda: EarlyStopping(2, mode="least"), "EarlyStopping: mode 'least' is neither 'min' nor 'max'"),
        (lambda: BestCheckpoint(mode="most"), "BestCheckpoint: mode 'most'"),
        (lambda: TensorBoard(every=0), "every 0 is not a number of steps"),
    ],
)
def test_impossible_options(make, message):
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize("make", [EarlyStopping, BestCheckpoint])
def test_a_column_that_will_not_be_there_is_said_before_training(make):
    learn = Learner(model(), (data(4), None), cross_entropy, SGD, (), quiet=True)
    for monitor, message in (("valid_loss", "There is no validation data"), ("train_los", "Did you mean 'train_loss'")):
        with pytest.raises(OptionError, match=f"{make.__name__} watches '{monitor}', which is not a column.*{message}"):
            learn.fit(1, callbacks=[make(monitor=monitor)])
    assert torch.equal(parameters(learn), parameters(Start))
    assert len(learn.recorder) == 0
    learn.fit(1, callbacks=[make(monitor="train_loss")])


def test_two_accumulations_are_refused():
    learn = Learner(model(), (data(4), None), cross_entropy, SGD, (), quiet=True)
    with pytest.raises(OptionError, match="two GradientAccumulation"):
        learn.fit(1, callbacks=[GradientAccumulation(2), GradientAccumulation(3)])


@pytest.mark.parametrize(
    "hook", ["before_fit", "before_epoch", "after_loss", "after_step", "after_batch", "after_epoch"]
)
def test_a_callback_that_raises_loses_nothing(hook, tmp_path):
    ended = []

    class Broken(Callback):
        pass

    def fail(self, fit):
        if hook in ("before_fit", "before_epoch") or fit.state.epoch == 2:
            raise ZeroDivisionError("by the user")

    setattr(Broken, hook, fail)

    class After(Callback):
        def after_fit(self, fit):
            ended.append(True)
            raise ValueError("in the end, too")

    learn = Learner(model(), (data(4, 4), data(8)), cross_entropy, SGD, (), folder=tmp_path / "run", quiet=True)
    with pytest.raises(ValueError, match="in the end, too") as caught:
        learn.fit(3, callbacks=[Broken(), After()])
    assert isinstance(caught.value.__context__, ZeroDivisionError)
    assert ended == [True]
    epochs = {"before_fit": 0, "before_epoch": 0, "after_epoch": 2}.get(hook, 1)
    batches = {"before_fit": 0, "before_epoch": 0, "after_loss": 2, "after_step": 2, "after_batch": 3}.get(hook, 4)
    assert len(learn.recorder.epochs) == epochs
    assert len(learn.recorder.losses) == batches
    with contextlib.suppress(FileNotFoundError):
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        assert sum('"kind":"epoch"' in line for line in lines) == epochs
    learn.fit(1)
    assert len(learn.recorder.losses) == batches + 2


def test_the_display_ends_when_a_callback_raises(monkeypatch):
    from ravine.train import _learner as module
    from ravine.train._display import Display

    said = []

    class Spy(Display):
        def begin(self, columns, epochs, first=1):
            said.append("begin")

        def end(self):
            said.append("end")

    class Broken(Callback):
        def after_batch(self, fit):
            raise ZeroDivisionError

    monkeypatch.setattr(module, "display_for", lambda quiet: Spy())
    learn = Learner(model(), (data(4), None), cross_entropy, SGD, ())
    with pytest.raises(ZeroDivisionError):
        learn.fit(1, callbacks=[Broken()])
    assert said == ["begin", "end"]


def test_several_callbacks_on_real_batches_work_together(tmp_path):
    inputs, targets = concatenated(data(64, dtype=torch.float32))
    batches = Batches(inputs, targets, 16)
    learn = Learner(
        model(torch.float32),
        (batches, Batches(inputs, targets, 64, shuffle=False)),
        cross_entropy,
        optim.RMSprop,
        callbacks=[BestCheckpoint(), GradientClipping(1.0), MixedPrecision(), GradientAccumulation(2), StopOnNaN()],
        folder=tmp_path / "run",
        quiet=True,
    )
    learn.fit(3, 1e-2, TorchScheduler(StepLR, 4), callbacks=[EarlyStopping(2)])
    losses = learn.recorder.column("valid_loss")
    assert learn.validate()["valid_loss"] == pytest.approx(losses.min(), rel=1e-6)
    assert losses.min() < mse_loss(torch.ones(1), torch.zeros(1)) * 1.2
