"""Worker processes on this machine: what ends them, and what is said of it.

Most workers are forked from a process that has torch. Two tests start them as Ravine does, which takes seconds each.
"""

import signal
import subprocess
import time

import pytest
from forked import COMPARES, PIPE, Forked, forked_worker

from ravine.comparison._study.local_workers import run_workers
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial_worker import work
from ravine.errors import TrainingError
from ravine.optim.search import Range
from ravine.tasks import find

CONFIGS = (OptimizerConfig("sgd", {"lr": Range(1e-3, 10.0)}, "sgd"),)
SPEC = StudySpec("rosenbrock", CONFIGS, steps=40, points=6, expansions=0, looks=(2,), evaluations=2)
GATED = """
import time
from pathlib import Path
import torch
from ravine.tasks import Data, Task

made = []

def model():
    made.append(1)
    while len(made) > 3 and Path("gate").exists():  # the third training waits until the gate is away
        time.sleep(0.01)
    made_now = torch.nn.Linear(1, 1)
    made_now.register_buffer("alone", torch.zeros(1))  # trainings run one by one; the first model shows that
    return made_now

def task():
    rows = Data(torch.linspace(-1, 1, 40)[:, None], torch.linspace(-1, 1, 40)[:, None])
    return Task(model=model, train=rows, test=rows, loss=torch.nn.functional.mse_loss, batch_size=8)
"""


def created(folder, spec=SPEC):
    store = Store("study", folder / "study.journal")
    store.create(spec)
    return store


def silent(now, results):
    """No progress."""


@pytest.fixture
def started():
    """Worker processes in the order they were started; calling it starts one."""

    class Started(list):
        def __call__(self, *arguments, **options):
            self.append(forked_worker(*arguments, **options))
            return self[-1]

    return Started()


@pytest.mark.slow  # a worker process
def test_what_a_worker_says_last_is_told(tmp_path):
    store = created(tmp_path, StudySpec("there-is-none", CONFIGS, steps=4))
    with pytest.raises(TrainingError, match="A worker ended: ravine: There is no task 'there-is-none'"):
        run_workers(store, store.spec(), 1, silent)


@pytest.mark.slow  # four worker processes
def test_a_killed_worker_is_missed_by_nobody_and_all_of_them_are(tmp_path, started):
    store = created(tmp_path)

    def kill_first(now, results):
        started[0].send_signal(signal.SIGKILL)

    assert run_workers(store, SPEC, 2, kill_first, start=started).name == "done"

    other = Store("other", tmp_path / "study.journal")
    other.create(SPEC)
    before = len(started)
    with pytest.raises(TrainingError, match="All workers were killed"):
        run_workers(
            other,
            SPEC,
            2,
            lambda now, results: [p.send_signal(signal.SIGKILL) for p in started[before:]],
            start=started,
        )


@pytest.mark.slow  # a worker process
def test_ctrl_c_ends_the_workers_and_gives_their_trials_back(tmp_path, monkeypatch, started):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gated.py").write_text(GATED)
    (tmp_path / "gate").touch()
    spec = StudySpec("gated.py", CONFIGS, steps=4, points=3, expansions=0, looks=(2,), evaluations=2)
    store = created(tmp_path, spec)

    def stop(now, results):
        if len(results) == 2 and any(t.state.name == "RUNNING" for t in store._trials()):  # it stands before the gate
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_workers(store, spec, 1, stop, start=started, patience=300.0)  # a busy machine is slow, too
    (worker,) = started
    assert worker.returncode == 128 + signal.SIGTERM
    assert [t.state.name for t in store._trials()] == ["COMPLETE", "COMPLETE", "PRUNED"], "its trial is free at once"
    (tmp_path / "gate").unlink()
    assert work(store, spec, find(spec.task)).name == "done"


@pytest.mark.slow  # two processes
def test_workers_end_when_the_process_they_work_for_is_killed(tmp_path):
    created(tmp_path, StudySpec("rosenbrock", CONFIGS, steps=400, points=200, looks=(2,)))
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\nfrom ravine.comparison._study.local_workers import run_workers\n"
        "from ravine.comparison._study.store import Store\n"
        "store = Store('study', sys.argv[1])\n"
        "run_workers(store, store.spec(), 1, lambda now, results: print(len(results), flush=True))\n"
    )
    with Forked([script, tmp_path / "study.journal"], after=COMPARES, stdout=PIPE, text=True) as parent:
        next(line for line in parent.stdout if int(line) > 0)
        parent.kill()
    store = Store("study", tmp_path / "study.journal")
    store.spec()
    counts = []
    while len(counts) < 3 or counts[-3] != counts[-1]:
        time.sleep(1.0)
        counts.append(len(store.results()))
        assert len(counts) < 30, "the worker goes on alone"
    assert counts[-1] < 200


def test_a_password_stands_in_no_command_line(tmp_path):
    commands = []

    class Unstartable(Exception):
        pass

    def refuse(command, *, env, **options):
        commands.append((command, env))
        raise Unstartable

    store = created(tmp_path)
    store.where = "postgresql://me:secret@host/db"
    with pytest.raises(Unstartable):
        run_workers(store, SPEC, 1, silent, start=refuse)
    ((command, environment),) = commands
    assert "secret" not in " ".join(command)
    assert environment["RAVINE_STORAGE"] == "postgresql://me:secret@host/db"


def test_workers_that_end_before_the_study_are_noticed(tmp_path):
    def idle(command, **options):
        return subprocess.Popen([command[0], "-c", "pass"], **options)

    with pytest.raises(TrainingError, match="All workers ended too early"):
        run_workers(created(tmp_path), SPEC, 2, silent, start=idle)
