"""A run's file tells how long each fit will be, and how it ended; and a run stops where its folder asks for that."""

import ast
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from forked import PIPE, TRAINS_TOGETHER, Forked
from torch.nn.functional import cross_entropy

from ravine._files.json_lines import read
from ravine.errors import TrainingError
from ravine.optim import RMSprop
from ravine.train import Batches, Callback, EarlyStopping, Learner, Recorder
from ravine.train._stop_request import STOP, request_stop


def learner(folder, **options):
    torch.manual_seed(2)
    inputs, targets = torch.randn(30, 5), torch.randint(0, 3, (30,))
    model = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    data = (Batches(inputs, targets, 8), Batches(inputs, targets, 30))
    return Learner(model, data, cross_entropy, RMSprop, folder=folder, quiet=True, **options)


class At(Callback):
    """Does something after so many batches."""

    def __init__(self, batch, what):
        self.batch, self.what, self.seen = batch, what, 0

    def after_batch(self, fit):
        self.seen += 1
        if self.seen == self.batch:
            self.what()


def raising(error):
    def what():
        raise error

    return what


def test_a_fit_says_how_long_it_is_and_that_it_is_done(tmp_path):
    learn = learner(tmp_path)
    learn.fit(2, 0.01)
    learn.fit(1, 0.01)
    first, second = Recorder.load(tmp_path).fits
    assert (first["step"], first["epochs"], first["batches"], first["epoch"], first["batch"]) == (0, 2, 4, 0, 0)
    assert first["optimizer"] == "RMSprop"
    assert first["end"] == {"step": 8, "how": "done", "text": ""}
    assert (second["step"], second["epochs"], second["end"]["step"]) == (8, 1, 12)
    assert learn.recorder.fits == [first, second]
    assert [line["kind"] for line in read(tmp_path / "metrics.jsonl")][:2] == ["fit", "steps"]


@pytest.mark.parametrize(
    ("error", "how", "text"),
    [
        (KeyboardInterrupt(), "interrupted", ""),
        (TrainingError("too bad\nreally"), "failed", "TrainingError: too bad"),
        (ZeroDivisionError("by zero"), "failed", "ZeroDivisionError: by zero"),
    ],
)
def test_how_it_ended(error, how, text, tmp_path):
    with pytest.raises(type(error)):
        learner(tmp_path).fit(2, 0.01, callbacks=[At(3, raising(error))])
    (fit,) = Recorder.load(tmp_path).fits
    assert fit["end"] == {"step": 3, "how": how, "text": text}


def test_why_it_was_stopped(tmp_path):
    learner(tmp_path).fit(50, 10.0, callbacks=[EarlyStopping(patience=1)])
    (fit,) = Recorder.load(tmp_path).fits
    assert fit["end"]["how"] == "stopped"
    assert "valid_loss" in fit["end"]["text"]


def test_a_fit_without_a_step_leaves_no_file(tmp_path):
    class Fails(Callback):
        def after_loss(self, fit):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        learner(tmp_path).fit(1, 0.01, callbacks=[Fails()])
    assert not (tmp_path / "metrics.jsonl").exists()
    learner(tmp_path).fit(1, 0.01)  # so the folder is still free
    assert len(Recorder.load(tmp_path).fits) == 1


def test_a_resumed_run_says_where_it_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        learner(tmp_path).fit(3, 0.01, callbacks=[At(6, raising(KeyboardInterrupt()))], checkpoint_every=1)
    learner(tmp_path).fit(3, 0.01, callbacks=[At(0, None)], checkpoint_every=1, resume=True)
    *_, last = Recorder.load(tmp_path).fits
    assert (last["step"], last["epoch"], last["batch"], last["end"]["how"]) == (5, 2, 1, "done")


def test_a_file_in_the_folder_stops_as_ctrl_c_does(tmp_path):
    learn = learner(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(10**6, 0.01, callbacks=[At(3, lambda: request_stop(tmp_path))], checkpoint_every="epoch")
    assert (tmp_path / "checkpoint.safetensors").exists()
    assert not (tmp_path / STOP).exists()
    assert Recorder.load(tmp_path).fits[-1]["end"]["how"] == "interrupted"
    assert learn.state.epoch < 10**6


def test_it_does_so_where_signals_are_ignored_and_in_other_threads(tmp_path):
    """As in what a shell started in the background."""
    learn, ended = learner(tmp_path), []

    def fit():
        try:
            learn.fit(10**6, 0.01, callbacks=[At(3, lambda: request_stop(tmp_path))])
        except KeyboardInterrupt:
            ended.append(learn.state.epoch)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        fit()
    finally:
        signal.signal(signal.SIGINT, before)
    thread = threading.Thread(target=fit)
    thread.start()
    thread.join(60)
    assert len(ended) == 2
    assert [one["end"]["how"] for one in Recorder.load(tmp_path).fits] == ["interrupted"] * 2


def test_what_was_asked_of_an_earlier_fit_does_not_stop_this_one(tmp_path):
    request_stop(tmp_path)
    learner(tmp_path).fit(1, 0.01)
    assert Recorder.load(tmp_path).fits[-1]["end"]["how"] == "done"


ONE_OF_TWO = """
import sys
import torch.distributed as dist
from test_fit_lines import At, learner, request_stop
from ravine.train import _parallel as parallel
from ravine.train._interrupt import StoppedTogether

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
learn = learner(folder)
asks = [At(5, lambda: request_stop(learn.folder))] if rank == 0 else []
try:
    learn.fit(10**6, 0.01, callbacks=asks, checkpoint_every="epoch")
except StoppedTogether:
    print(parallel.all_gather((learn.state.epoch, learn.state.batch)))
dist.destroy_process_group()
"""


def test_of_two_processes_that_train_together_both_stop_after_the_same_batch(tmp_path):
    env = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    here = Path(__file__).parent
    env["PYTHONPATH"] = os.pathsep.join([str(here), str(here.parent), *filter(None, [env.get("PYTHONPATH")])])
    env["OMP_NUM_THREADS"] = "1"
    both = [
        Forked(["-c", ONE_OF_TWO, str(rank), tmp_path], after=TRAINS_TOGETHER, env=env, stdout=PIPE, text=True)
        for rank in range(2)
    ]
    try:
        first, second = (process.communicate(timeout=60)[0] for process in both)
    finally:
        for process in both:
            process.kill()
            process.wait()
    stopped = ast.literal_eval(first)
    assert first == second
    assert stopped[0] == stopped[1]
    assert (tmp_path / "checkpoint.safetensors").exists()
    assert Recorder.load(tmp_path).fits[-1]["end"]["how"] == "interrupted"
