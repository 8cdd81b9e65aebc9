"""What is said at the end of a fit: its time, its best epoch, and where that is kept."""

import re

import pytest
import torch
from schedule_runs import data
from torch import nn
from torch.nn.functional import mse_loss

from ravine.optim import SGD
from ravine.train import BestCheckpoint, Learner


def last_line(capsys, epochs, valid=True, callbacks=(), folder=None):
    torch.manual_seed(0)
    learn = Learner(nn.Linear(2, 1), (data(), data(1, seed=1) if valid else None), mse_loss, SGD, (), folder=folder)
    learn.fit(epochs, 0.6, callbacks=callbacks)  # a rate so high that the last epoch is not the best
    return learn, capsys.readouterr().out.splitlines()[-1]


def test_the_best_epoch_is_the_one_with_the_lowest_loss(capsys):
    learn, line = last_line(capsys, 5)
    losses = learn.recorder.column("valid_loss")
    best = int(losses.argmin())
    assert re.fullmatch(r"5 epochs in .+; lowest valid_loss [\d.]+ after epoch \d", line)
    assert line.endswith(f"lowest valid_loss {losses[best]:.5f} after epoch {best + 1}")


def test_the_time_is_that_of_all_epochs(capsys):
    learn, line = last_line(capsys, 4, valid=False)
    total = learn.recorder.column("time").sum()
    shown = re.fullmatch(r"4 epochs in (\d+) ms", line)
    assert float(shown[1]) == pytest.approx(1000 * total, abs=0.51)


def test_it_says_where_the_best_is_kept(capsys, tmp_path):
    learn, line = last_line(capsys, 3, callbacks=[BestCheckpoint()], folder=tmp_path)
    assert line.endswith(f", kept in {tmp_path / 'best.safetensors'}")
    assert (tmp_path / "best.safetensors").exists()
    learn, line = last_line(capsys, 3, callbacks=[BestCheckpoint("train_loss")])
    best = learn.recorder.column("train_loss").min()
    assert line.endswith(f"lowest train_loss {best:.5f} after epoch {learn.recorder.column('train_loss').argmin() + 1}")


def test_after_one_epoch_the_table_says_it_all(capsys):
    assert "lowest" not in last_line(capsys, 1)[1]
