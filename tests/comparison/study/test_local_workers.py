"""Worker processes on this machine: what ends them, and what is said of it."""

import signal
import subprocess
import sys
import time

import pytest

from ravine.comparison._study import local_workers as local
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_spec import ArmSpec, Spec
from ravine.errors import TrainingError
from ravine.optim.search import Range

ARMS = (ArmSpec("sgd", {"lr": Range(1e-3, 10.0)}),)
SPEC = Spec("breast-cancer", ARMS, steps=40, points=6, again=1, widenings=0, seeds=2, evaluations=2)


def begun(folder, spec=SPEC):
    store = Store("study", folder / "study.journal")
    store.begin(spec)
    return store


def test_what_a_worker_says_last_is_told(tmp_path):
    store = begun(tmp_path, Spec("there-is-none", ARMS, steps=4))
    with pytest.raises(TrainingError, match="A worker ended: ravine: There is no task 'there-is-none'"):
        local.run(store, store.spec(), 1, lambda now, done: None)


@pytest.mark.slow
def test_a_killed_worker_is_missed_by_nobody_and_all_of_them_are(tmp_path, monkeypatch):
    store, killed, started = begun(tmp_path), [], []
    popen = local.subprocess.Popen

    def noted(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(local.subprocess, "Popen", noted)

    def kill_first(now, done):
        if not killed:
            started[0].send_signal(signal.SIGKILL)
            killed.append(started[0])

    assert local.run(store, SPEC, 2, kill_first).name == "done"

    other = Store("other", tmp_path / "study.journal")
    other.begin(SPEC)
    before = len(started)
    with pytest.raises(TrainingError, match="All workers were killed"):
        local.run(other, SPEC, 2, lambda now, done: [p.send_signal(signal.SIGKILL) for p in started[before:]])


def test_ctrl_c_ends_the_workers_and_gives_their_trials_back(tmp_path, monkeypatch):
    store, started, popen = begun(tmp_path), [], local.subprocess.Popen
    monkeypatch.setattr(local, "_END", 60.0)  # a busy machine is slow, too

    def noted(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(local.subprocess, "Popen", noted)

    def stop(now, done):
        if len(done) >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local.run(store, SPEC, 1, stop)
    (worker,) = started
    assert worker.returncode == 143
    states = [t.state.name for t in store._trials()]
    assert "RUNNING" not in states
    clock = time.monotonic()
    assert local.run(store, SPEC, 1, lambda now, done: None).name == "done"
    assert time.monotonic() - clock < 60, "nobody waits for a worker that is gone"


def test_workers_end_when_the_process_they_work_for_is_killed(tmp_path):
    begun(tmp_path, Spec("breast-cancer", ARMS, steps=400, points=200, seeds=2))
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\nfrom ravine.comparison._study import local_workers as local\nfrom ravine.comparison._study.store import Store\n"
        "store = Store('study', sys.argv[1])\n"
        "local.run(store, store.spec(), 1, lambda now, done: print(len(done), flush=True))\n"
    )
    command = [sys.executable, str(script), str(tmp_path / "study.journal")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    next(line for line in parent.stdout if int(line) > 0)
    parent.kill()
    parent.communicate()
    store = Store("study", tmp_path / "study.journal")
    store.spec()
    counts = []
    while len(counts) < 3 or counts[-3] != counts[-1]:
        time.sleep(1.0)
        counts.append(len(store.done()))
        assert len(counts) < 30, "the worker goes on alone"
    assert counts[-1] < 200


def test_a_password_stands_in_no_command_line(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        local.subprocess, "Popen", lambda command, **options: seen.append((command, options["env"])) or None
    )
    store = begun(tmp_path)
    store.where = "postgresql://me:secret@host/db"
    with pytest.raises(AttributeError):
        local.run(store, SPEC, 1, lambda now, done: None)
    ((command, environment),) = seen
    assert "secret" not in " ".join(command)
    assert environment["RAVINE_STORAGE"] == "postgresql://me:secret@host/db"


def test_workers_that_end_before_the_study_are_noticed(tmp_path, monkeypatch):
    popen = local.subprocess.Popen
    monkeypatch.setattr(
        local.subprocess, "Popen", lambda command, **options: popen([command[0], "-c", "pass"], **options)
    )
    with pytest.raises(TrainingError, match="All workers ended too early"):
        local.run(begun(tmp_path), SPEC, 2, lambda now, done: None)
