"""What a callback adds to the epoch's row is shown, recorded and kept."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ravine.train import Batches, Callback, Learner, Recorder
from ravine.train import _learner as learner_module
from ravine.train._display.lines import Lines

INPUTS = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
DATA = Batches(INPUTS, (INPUTS[:, 0] > 0).long(), 8)


class Adds(Callback):
    def after_epoch(self, fit):
        fit.row["gap"] = torch.tensor(float(fit.state.epoch))
        fit.row["word"] = "good"
        fit.row["places"] = np.float32(0.5)
        fit.say("looked at the gap")


class Sees(Callback):
    order = 50

    def __init__(self):
        self.rows = []

    def after_epoch(self, fit):
        self.rows.append(dict(fit.recorder.epochs[-1]))


def fitted(monkeypatch, tmp_path, *callbacks, epochs=2):
    out = io.StringIO()
    monkeypatch.setattr(learner_module, "display_for", lambda **_: Lines(out))
    learn = Learner(
        nn.Linear(2, 2), (DATA, DATA), cross_entropy, metrics=[], callbacks=callbacks, folder=tmp_path / "run"
    )
    learn.fit(epochs, 1e-2, checkpoint_every="epoch")
    return learn, out.getvalue().splitlines()


def test_added_columns_are_shown_and_recorded(monkeypatch, tmp_path):
    sees = Sees()
    learn, lines = fitted(monkeypatch, tmp_path, Adds(), sees)
    assert lines[1].split() == ["epoch", "train_loss", "valid_loss", "gap", "word", "places", "time"]
    assert lines[2].split()[3:6] == ["1.0000", "good", "0.50000"]
    assert lines[3] == "looked at the gap"  # below the row of its epoch
    assert lines[4].split()[3] == "2.0000"
    for recorder in (learn.recorder, Recorder.load(tmp_path / "run")):
        assert recorder.column("gap").tolist() == [1.0, 2.0]
        assert [row["word"] for row in recorder.epochs] == ["good", "good"]
        assert [row["epoch"] for row in recorder.epochs] == [1, 2]
        assert [row["step"] for row in recorder.epochs] == [2, 4]
    assert [row["gap"] for row in sees.rows] == [1.0, 2.0]  # so a checkpoint has it, too
    again = Learner(nn.Linear(2, 2), (DATA, DATA), cross_entropy, metrics=[], quiet=True)
    again.load(tmp_path / "run" / "checkpoint.safetensors")
    assert again.recorder.column("places").tolist() == [0.5, 0.5]


def test_a_column_that_is_changed_or_comes_late(monkeypatch, tmp_path):
    class Late(Callback):
        def after_epoch(self, fit):
            fit.row["valid_loss"] = 7.0
            if fit.state.epoch == 2:
                fit.row["late"] = 3

    learn, _ = fitted(monkeypatch, tmp_path, Late(), epochs=3)
    for recorder in (learn.recorder, Recorder.load(tmp_path / "run")):
        assert recorder.column("valid_loss").tolist() == [7.0] * 3
        late = recorder.column("late").tolist()
        assert late[1] == 3
        assert math.isnan(late[0])
        assert math.isnan(late[2])


def test_the_row_is_shown_if_a_callback_fails(monkeypatch, tmp_path):
    class Fails(Callback):
        def after_epoch(self, fit):
            fit.row["half"] = 1
            raise ArithmeticError("no")

    out = io.StringIO()
    monkeypatch.setattr(learner_module, "display_for", lambda **_: Lines(out))
    learn = Learner(nn.Linear(2, 2), (DATA, None), cross_entropy, callbacks=[Fails()])
    with pytest.raises(ArithmeticError):
        learn.fit(1, 1e-2)
    assert out.getvalue().splitlines()[-1].split()[0] == "1"
