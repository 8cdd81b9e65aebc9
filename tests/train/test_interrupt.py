"""Ctrl-C ends a training after its step, with everything kept, and leaves the program's own handling as it was."""

import os
import random
import signal
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import PIPE, Forked
from interrupted_runs import differences, everything, seed, stopped, whole
from torch.nn.functional import cross_entropy

from ravine._files.checkpoint import load
from ravine.errors import TrainingError
from ravine.train import Batches, Callback, GradientAccumulation, Learner, Recorder


@pytest.fixture(autouse=True)
def pythons_own_handler():
    """What a test finds under pytest, and must find again."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def press():
    signal.raise_signal(signal.SIGINT)


class Presses(Callback):
    """Presses Ctrl-C at the n-th call of a hook."""

    def __init__(self, hook, count=1, presses=1):
        self.left, self.presses = count, presses
        setattr(self, "_" + hook, self.called)

    def called(self):
        self.left -= 1
        for _ in range(self.presses if self.left == 0 else 0):
            press()

    def before_step(self, fit):
        getattr(self, "_before_step", int)()

    def after_batch(self, fit):
        getattr(self, "_after_batch", int)()

    def after_epoch(self, fit):
        getattr(self, "_after_epoch", int)()

    def metric(self, outputs, targets):
        getattr(self, "_metric", int)()
        return torch.zeros(())


def learner(presses, folder=None, net=None, callbacks=(), quiet=True):
    torch.manual_seed(0)
    data = Batches(torch.randn(30, 4), torch.randint(0, 3, (30,)), 8)
    return Learner(
        net or torch.nn.Linear(4, 3),
        (data, data),
        cross_entropy,
        metrics={"ticks": presses.metric},
        callbacks=[*callbacks, presses],
        folder=folder,
        quiet=quiet,
    )


@pytest.mark.parametrize(
    ("hook", "count", "batches", "rows"),
    [
        ("before_step", 1, 1, 0),
        ("before_step", 6, 6, 1),
        ("after_batch", 4, 4, 0),  # the epoch's last: its row comes with the rest
        ("metric", 3, 4, 1),  # the first call is a rehearsal; validation is finished, and no batch is trained on
        ("after_epoch", 1, 4, 1),
        ("after_epoch", 3, 12, 3),  # nothing was left to do
    ],
)
def test_the_step_is_finished_and_everything_kept(hook, count, batches, rows, tmp_path):
    presses = Presses(hook, count)
    learn = learner(presses, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3, 0.01, checkpoint_every=100, resume=True)
    assert (len(learn.recorder), len(learn.recorder.epochs)) == (batches, rows)
    assert learn.state.step == batches
    read = Recorder.load(tmp_path)
    assert read.losses.tolist() == learn.recorder.losses.tolist()
    assert read.epochs == learn.recorder.epochs
    kept = load(tmp_path / "checkpoint.safetensors")
    assert differences(dict(learn.model.state_dict()), kept["model"]) == []

    learn = learner(Presses("nothing"), tmp_path)
    learn.fit(3, 0.01, checkpoint_every=100, resume=True)
    expected = learner(Presses("nothing"))
    expected.fit(3, 0.01)
    assert differences(everything(expected)["model"], everything(learn)["model"]) == []
    assert learn.recorder.losses.tolist() == expected.recorder.losses.tolist()


def test_the_place_is_said_and_what_was_written(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        learner(Presses("before_step", 6), tmp_path, quiet=False).fit(3, 0.01, checkpoint_every=100)
    written = tmp_path / "checkpoint.safetensors"
    assert f"Interrupted in epoch 2 after 2 batches. Wrote {written}." in capsys.readouterr().out
    assert written.exists()


def test_a_step_that_is_held_back_is_not_written_and_not_said_to_be(tmp_path, capsys):
    learn = learner(Presses("after_batch", 3), tmp_path, callbacks=[GradientAccumulation(2)], quiet=False)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3, 0.01, checkpoint_every=100)
    assert not (tmp_path / "checkpoint.safetensors").exists()
    out = capsys.readouterr().out
    assert "Interrupted in epoch 1 after 3 batches." in out
    assert "Wrote" not in out


def test_a_second_ctrl_c_does_not_wait_for_the_step():
    class Hangs(torch.nn.Linear):
        def forward(self, inputs):
            if self.training:
                press()
                press()
                raise AssertionError("the second was not heard")
            return super().forward(inputs)

    learn = learner(Presses("nothing"), net=Hangs(4, 3))
    with pytest.raises(KeyboardInterrupt):
        learn.fit(1, 0.01)
    assert len(learn.recorder) == 0


class Workers(list):
    """Batches from processes that end at Ctrl-C, as those of a DataLoader that were spawned."""

    def __init__(self, batches, count, pressed=True):
        super().__init__(batches)
        self.left, self.pressed = count, pressed

    def __iter__(self):
        for batch in super().__iter__():
            if not self.left:
                if self.pressed:
                    press()
                raise RuntimeError("DataLoader worker (pid 5) exited unexpectedly")
            self.left -= 1
            yield batch


@pytest.mark.parametrize(("count", "kept"), [(0, False), (2, True), (4, False), (5, True)])
def test_workers_that_end_at_ctrl_c_are_no_failure(count, kept, tmp_path):
    learn = learner(Presses("nothing"), tmp_path)
    learn.train = Workers(learn.train, count)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(2, 0.01, checkpoint_every=100)
    assert len(learn.recorder) == count
    # at the beginning of an epoch there is no step to go on from
    assert (tmp_path / "checkpoint.safetensors").exists() == kept


def test_workers_that_end_without_ctrl_c_are_a_failure():
    learn = learner(Presses("nothing"))
    learn.train = Workers(learn.train, 2, pressed=False)
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        learn.fit(2, 0.01)


@pytest.mark.parametrize("error", [TrainingError, KeyError, SystemExit])
def test_the_handler_is_put_back_whatever_ends_a_fit(error):
    class Fails(Callback):
        def after_batch(self, fit):
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
            raise error

    with pytest.raises(error):
        learner(Presses("nothing"), callbacks=[Fails()]).fit(1, 0.01)
    learner(Presses("nothing")).fit(1, 0.01)


def test_a_program_with_a_handler_of_its_own_keeps_it():
    heard = []
    signal.signal(signal.SIGINT, lambda *_: heard.append(True))
    try:
        mine = signal.getsignal(signal.SIGINT)
        learn = learner(Presses("before_step", 2))
        learn.fit(2, 0.01)
        assert heard == [True]
        assert len(learn.recorder) == 8
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_outside_the_main_thread_a_fit_leaves_signals_alone():
    learn = learner(Presses("nothing"))
    handlers, errors = [], []

    class Looks(Callback):
        def after_batch(self, fit):
            handlers.append(signal.getsignal(signal.SIGINT))

    def work():
        try:
            learn.fit(2, 0.01, callbacks=[Looks()])
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []
    assert handlers == [signal.default_int_handler] * 8


PROGRAM = """
    import sys, time
    import torch
    from interrupted_runs import Clock, learner, seed

    torch.set_num_threads(1)
    name, folder = sys.argv[1:]

    class Slowly(Clock):
        def __repr__(self):
            return "Clock()"

        def before_batch(self, fit):
            print("trains", flush=True)
            time.sleep(0.01)

        def after_batch(self, fit):
            time.sleep(0.01)

    seed(0)
    learn, fit = learner(name, Slowly(), folder)
    try:
        fit(checkpoint_every=7, resume=True)
    except KeyboardInterrupt:
        sys.exit(77)
"""


@pytest.mark.slow  # three processes, one after the other
def test_a_real_ctrl_c_at_random_moments(tmp_path):
    """One run, pressed at three moments, each in a process of its own."""
    name = "global random order, Adam"
    expected, _ = whole(name)
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    chance, pressed = random.Random(1), 0  # whose first moment is early, before the end of the run on any machine
    for _ in range(3):
        with Forked([script, name, tmp_path / "run"], stdout=PIPE, env=environment, text=True) as process:
            try:
                assert process.stdout.readline() == "trains\n"
                time.sleep(chance.uniform(0, 0.1))
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=300)
            finally:
                process.kill()
        assert process.returncode in (0, 77)
        pressed += process.returncode == 77
        load(tmp_path / "run" / "checkpoint.safetensors")
        assert len(Recorder.load(tmp_path / "run")) > 0
    assert pressed >= 1
    seed(5)
    done, learn = stopped(name, tmp_path / "run", None, 7)
    assert done
    assert differences(expected, everything(learn)) == []
    np.testing.assert_array_equal(Recorder.load(tmp_path / "run").losses, learn.recorder.losses)
