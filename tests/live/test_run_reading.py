"""What the page knows of a training is what its files say, at any moment, whatever happens to them."""

import math
import os
import shutil

import numpy as np
import pytest
from live_runs import NOW, Writer, falling

from ravine._live.run_parts import run_parts
from ravine._live.run_reading import RunReading
from ravine._live.series import MOST, changes_drawn, thinned_losses
from ravine.diagnose import diagnose
from ravine.tasks import find


class Clock:
    def __init__(self, at=NOW):
        self.at = at

    def __call__(self):
        return self.at


def reading(folder, clock=None):
    return RunReading(folder, *([clock] if clock else []))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from ravine.optim import RMSprop

    folder = tmp_path_factory.mktemp("runs") / "digits"
    learn = find("digits").learner(RMSprop, folder=folder, quiet=True)
    learn.fit_one_cycle(3, 4e-3)
    return folder, learn


def test_a_whole_run_is_shown_as_it_was(trained):
    folder, learn = trained
    run = reading(folder).poll()
    np.testing.assert_array_equal(run.losses, learn.recorder.losses)
    assert run.smooth_loss == learn.recorder.smooth_loss
    assert list(run.epochs) == learn.recorder.epochs
    assert run.state.word == "done"
    assert run.state.message.startswith("Done: 3 epochs in ")
    assert run.diagnosis.headline == diagnose(folder).headline
    parts = run_parts(run)
    assert list(parts["hypers"]) == ["lr", "alpha"]
    assert parts["epochs"]["columns"] == ["epoch", "train_loss", "valid_loss", "accuracy", "time"]
    assert len(parts["epochs"]["rows"]) == 3
    assert len(parts["norms"]["names"]) == len({n.rpartition(".")[0] for n, _ in learn.model.named_parameters()})


def test_norms_of_a_layer_are_those_of_its_parameters(trained):
    folder, learn = trained
    history, layers = learn.optimizer.watch.history, reading(folder).poll().layers
    both = [i for i, name in enumerate(history.names) if name.rpartition(".")[0] == layers.names[-1]]
    np.testing.assert_allclose(layers.grad_norm[-1], np.sqrt((history.grad_norm[:, both] ** 2).sum(axis=1)), rtol=1e-12)
    assert layers.edges[0] == 1
    assert layers.edges[-1] == len(learn.recorder) + 1


def test_what_runs_says_how_far_it_is_and_how_long_it_takes(tmp_path):
    writer = Writer(tmp_path / "run", epochs=10, batches=100, at=NOW - 50)
    writer.write(falling(100))
    writer.end_epoch(train_loss=1.0, valid_loss=0.9)
    writer.write(falling(100, 1.0))
    clock = Clock(NOW)
    follower = reading(tmp_path / "run", clock)
    os.utime(tmp_path / "run" / "metrics.jsonl", (NOW, NOW))
    state = follower.poll().state
    assert state.word == "running"
    assert state.progress == pytest.approx(0.2)
    assert state.left == pytest.approx(200)  # 200 steps took 50 seconds
    assert state.message == "Training: epoch 2 of 10, about 3 minutes left"
    clock.at += 29
    assert follower.poll() is None
    clock.at += 20
    silent = follower.poll().state
    assert silent.word == "silent"
    assert silent.message.startswith("No news for 49 seconds: ")


@pytest.mark.parametrize(
    ("how", "text", "word", "message", "detail"),
    [
        ("done", "", "done", "Done: 1 epoch in 500 ms; lowest valid_loss 0.9 after epoch 1", ""),
        (
            "stopped",
            "no better",
            "done",
            "Ended early: 1 epoch in 500 ms; lowest valid_loss 0.9 after epoch 1",
            "no better",
        ),
        ("interrupted", "", "stopped", "Stopped by hand after 100 steps; lowest valid_loss 0.9 after epoch 1", ""),
        ("failed", "OutOfMemoryError: no", "failed", "Failed after 100 steps", "OutOfMemoryError: no"),
    ],
)
def test_how_it_ended_is_said(how, text, word, message, detail, tmp_path):
    writer = Writer(tmp_path / "run")
    writer.write(falling(100))
    writer.end_epoch(train_loss=1.0, valid_loss=0.9)
    writer.end(how, text)
    state = reading(tmp_path / "run").poll().state
    assert (state.word, state.message, state.detail) == (word, message, detail)


def test_a_folder_of_an_older_version_is_done_when_it_has_its_epochs(tmp_path):
    """Nothing in it says how long the fit was, nor that it ended."""
    writer = Writer(tmp_path / "run")
    writer.write(falling(100))
    writer.end_epoch(train_loss=1.0, valid_loss=0.9)
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    (tmp_path / "run" / "config.json").write_text('{"task": "digits", "epochs": 1, "steps_per_epoch": 100}')
    assert reading(tmp_path / "run").poll().state.word == "done"
    (tmp_path / "run" / "config.json").write_text('{"task": "digits", "epochs": 4, "steps_per_epoch": 100}')
    state = reading(tmp_path / "run").poll().state
    assert (state.word, state.progress) == ("running", 0.25)


def test_evidence_that_an_earlier_run_left_is_not_of_this_one(trained, tmp_path):
    folder, _ = trained
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    os.utime(tmp_path / "run" / "watch.safetensors", (NOW, NOW))
    Writer(tmp_path / "run", at=NOW + 100).write([2.0, 1.9])
    assert reading(tmp_path / "run").poll().layers is None


def test_before_the_first_step_it_waits(tmp_path):
    follower = reading(tmp_path / "later")
    assert follower.poll().state.word == "waiting"
    assert follower.poll() is None
    Writer(tmp_path / "later").write(falling(10))
    assert follower.poll().state.word == "running"


def test_a_torn_last_line_is_waited_for(tmp_path):
    writer = Writer(tmp_path / "run")
    writer.write([2.0, 1.9])
    follower = reading(tmp_path / "run")
    assert len(follower.poll().losses) == 2
    path = tmp_path / "run" / "metrics.jsonl"
    before = path.read_bytes()
    writer.write([1.8])
    whole = path.read_bytes()
    path.write_bytes(whole[: (len(before) + len(whole)) // 2])
    torn = follower.poll()
    assert torn is None or len(torn.losses) == 2
    path.write_bytes(whole)
    assert follower.poll().losses.tolist() == [2.0, 1.9, 1.8]


def test_a_folder_that_is_deleted_leaves_what_was_read(tmp_path):
    Writer(tmp_path / "run").write([2.0, 1.9])
    follower = reading(tmp_path / "run")
    follower.poll()
    shutil.rmtree(tmp_path / "run")
    run = follower.poll()
    assert run.state.word == "gone"
    assert run.losses.tolist() == [2.0, 1.9]
    assert follower.poll() is None


def test_a_run_that_begins_anew_is_shown_from_its_start(tmp_path):
    Writer(tmp_path / "run").write([2.0, 1.9, 1.8])
    follower = reading(tmp_path / "run")
    follower.poll()
    shutil.rmtree(tmp_path / "run")
    Writer(tmp_path / "run").write([5.0])
    run = follower.poll()
    assert run.losses.tolist() == [5.0]
    assert run.state.word == "running"


def test_a_damaged_file_says_so_and_keeps_what_was_read(tmp_path):
    writer = Writer(tmp_path / "run")
    writer.write([2.0])
    follower = reading(tmp_path / "run")
    follower.poll()
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"kind":"steps"}\n')
    run = follower.poll()
    assert run.state.word == "damaged"
    assert "line 3" in run.state.message
    assert run.losses.tolist() == [2.0]


def test_the_diagnosis_sees_the_losses_of_this_moment(tmp_path):
    writer = Writer(tmp_path / "run")
    writer.write([2.0, 2.1, math.nan])
    run = reading(tmp_path / "run").poll()
    assert "not finite" in run.diagnosis[0].title
    assert run_parts(run)["loss"]["lost"] == 3


def test_a_diagnosis_takes_a_small_part_of_the_time(tmp_path):
    writer = Writer(tmp_path / "run")
    ticks = iter(range(0, 10_000, 10))  # each look at the clock, and each diagnosis, takes 10 seconds
    follower = RunReading(tmp_path / "run", clock=lambda: float(next(ticks)))
    diagnosed = 0
    for _ in range(100):
        writer.write([1.0])
        before = follower._diagnosis
        follower.poll()
        diagnosed += follower._diagnosis is not before
    assert diagnosed == 1


# --- thinned ----------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_steps_become_few_and_keep_their_spike():
    losses = falling(100_000)
    losses[54_321] = 9.0
    thin = thinned_losses(losses)
    assert len(thin["x"]) <= MOST
    assert max(thin["high"]) == 9.0
    assert min(thin["low"]) == pytest.approx(losses.min(), rel=1e-5)
    assert thin["x"][-1] == 100_000
    assert thin["lost"] is None


def test_few_steps_are_all_there():
    thin = thinned_losses(np.array([3.0, math.nan, 1.0]))
    assert thin["x"] == [1, 2, 3]
    assert thin["low"] == thin["high"] == [3.0, None, 1.0]
    assert thin["lost"] == 2
    assert thinned_losses(np.zeros(0))["x"] == []


def test_a_schedule_of_every_step_becomes_few_corners():
    drawn = changes_drawn([(step, 1.0 / (step + 1)) for step in range(100_000)], 100_000)
    assert len(drawn["x"]) <= MOST + 1
    assert drawn["x"][0] == 1
    assert (drawn["x"][-1], drawn["y"][-1]) == (100_000, 1e-5)
