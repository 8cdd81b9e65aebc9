"""Studies in a store: the same results from one worker or several, after a kill, and from a database."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from forked import COMPARES, PIPE, Forked, forked_worker

from ravine.comparison._study.heartbeats import heartbeats
from ravine.comparison._study.local_workers import run_workers
from ravine.comparison._study.stages import stage
from ravine.comparison._study.storage_errors import without_password
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_record import StudyRecord
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import Trial, TrialResult, run
from ravine.comparison._study.trial_worker import work
from ravine.errors import DataError, OptionError
from ravine.optim._spec import parse
from ravine.optim.search import Range
from ravine.tasks import find

ARMS = (
    OptimizerConfig("sgd", {"lr": Range(1e-3, 10.0)}, "sgd"),
    OptimizerConfig("rmsprop:alpha=0.9", {"lr": Range(1e-5, 0.1)}, "rmsprop:alpha=0.9"),
)
SPEC = StudySpec("rosenbrock", ARMS, steps=20, points=4, extra_points=2, expansions=1, looks=(2, 3), evaluations=4)
WITH_DATA = replace(SPEC, task="breast-cancer")  # reads what a training measures; the others have workers to start


def table(store, spec=SPEC):
    """All that a report is made of, but the seconds."""
    results = {k: {**o.to_tree(), "seconds": None} for k, o in store.results().items()}
    return json.dumps(results, sort_keys=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one worker makes of it."""
    store = Store("study", tmp_path_factory.mktemp("alone") / "journal.log")
    store.create(SPEC)
    work(store, SPEC, find(SPEC.task))
    return table(store)


WORKER = """
import sys
from ravine.comparison._study.store import Store
from ravine.comparison._study.trial_worker import work
from ravine.tasks import find
store = Store("study", sys.argv[1], heartbeat=0.2, stale=2.0, lock=3)
spec = store.spec()
print("ready", flush=True)
work(store, spec, find(spec.task), on_progress=lambda now, results: print(now.name, len(now.trials), flush=True))
store.close()
"""


def worker(where):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return Forked(["-c", WORKER, where], after=COMPARES, stdout=PIPE, text=True, env=environment)


def test_a_stopped_study_goes_on_where_it_was(alone, tmp_path, monkeypatch):
    monkeypatch.setattr("ravine.comparison._study.trial_runner.WIDTH", 7)  # a block is a part of a stage
    store = Store("study", tmp_path / "journal.log")
    store.create(SPEC)

    class Enough(Exception):
        pass

    def stop(now, results):
        if len(store.results()) >= 7:
            raise Enough

    with pytest.raises(Enough):
        work(store, SPEC, find(SPEC.task), on_progress=stop)
    again = Store("study", tmp_path / "journal.log")
    again.create(SPEC)
    assert len(again.results()) == 7
    work(again, SPEC, find(SPEC.task))
    assert table(again) == alone
    assert Counter(t.state.name for t in again._trials()) == {"COMPLETE": len(again.results())}, "nothing is done twice"


@pytest.mark.slow  # three worker processes
def test_three_workers_of_which_one_is_killed_give_the_same_table(alone, tmp_path):
    one_is_killed(str(tmp_path / "journal.log"), alone, 3)


def test_a_finished_study_goes_on_with_more_seeds(alone, tmp_path):
    path, task = tmp_path / "journal.log", find(SPEC.task)
    short = replace(SPEC, looks=(2,))
    store = Store("study", path)
    assert store.create(short) == short
    work(store, short, task)
    before = json.loads(table(store))
    again = Store("study", path)
    longer = again.create(replace(SPEC, looks=(3,)))
    assert longer == replace(SPEC, extended=1), "that it was looked at after 2 seeds stays known"
    work(again, longer, task)
    assert before.items() <= json.loads(table(again)).items(), "all trainings are used again"
    assert table(again) == alone
    assert Store("study", path).create(replace(SPEC, looks=(3,))) == longer, "the same again changes nothing"
    assert Store("study", path).create(short) == longer, "as it was declared at first"
    Store("whole", path).create(SPEC)
    with pytest.raises(OptionError, match=r"declared differently: seeds: 2 to 3 in the study, 2 now\. Name another"):
        Store("whole", path).create(short)
    assert Store("study", path).spec() == longer


def test_the_same_study_run_twice_and_by_workers_in_another_order_is_the_same(alone, tmp_path, monkeypatch):
    claim = Store.claim_block
    monkeypatch.setattr(
        Store, "claim_block", lambda self, trials, spec, choose: claim(self, list(trials)[::-1], spec, choose)
    )
    store = Store("study", tmp_path / "journal.log")
    store.create(SPEC)
    work(store, SPEC, find(SPEC.task))
    assert table(store) == alone
    first = min(store._trials(), key=lambda t: t.number)
    assert first.user_attrs["ravine key"] == stage(SPEC, {}).trials[-1].key(SPEC)


def one_is_killed(where, alone, number):
    store = Store("study", where)
    store.create(SPEC)
    workers = [worker(where) for _ in range(number)]
    try:
        assert workers[0].stdout is not None
        for line in workers[0].stdout:  # killed as soon as it looks for a trial
            if line.startswith("tune"):
                break
        workers[0].send_signal(signal.SIGKILL)
        for other in workers[1:]:
            other.communicate(timeout=120)
            assert other.returncode == 0
    finally:
        for one in workers:
            one.kill()
            one.communicate()
    assert stage(SPEC, store.results()).name == "done"
    assert table(store) == alone
    store.close()


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL server of this test's own."""
    pytest.importorskip("psycopg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = found[-1] if found else shutil.which("initdb")
    if initdb is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    bin_folder = Path(initdb).parent
    folder = Path(tempfile.mkdtemp(prefix="ravine-postgres-"))  # not pytest's, which others may not enter
    as_user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"
    subprocess.run(
        [*as_user, str(initdb), "-D", str(data), "-A", "trust", "-U", "ravine"], check=True, capture_output=True
    )
    options = f"-c listen_addresses='' -k {folder} -c fsync=off"
    control = [*as_user, str(bin_folder / "pg_ctl"), "-D", str(data), "-w"]
    server = Server(f"postgresql://ravine@/postgres?host={folder}", control, [options, str(folder / "log")])
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


class Server:
    """A database server that can be stopped and started."""

    def __init__(self, url, control, options):
        self.url, self.control, self.options = url, control, options

    def start(self):
        options, log = self.options
        subprocess.run([*self.control, "-o", options, "-l", log, "start"], check=True, capture_output=True)

    def stop(self):
        """As if it were killed: connections break, and the next start recovers."""
        subprocess.run([*self.control, "-m", "immediate", "stop"], check=False, capture_output=True)


@pytest.mark.slow  # a database server and two worker processes
def test_two_workers_on_postgresql_of_which_one_is_killed(alone, postgres):
    one_is_killed(postgres.url, alone, 2)


@pytest.mark.slow  # a database server and a worker process
def test_a_database_that_is_away_for_some_seconds_is_waited_for(alone, postgres, capsys):
    store = Store("away", postgres.url)
    store.create(SPEC)
    away = []

    def stop_and_start(now, results):
        if len(results) >= 5 and not away:
            postgres.stop()
            away.append(threading.Timer(2.0, postgres.start))
            away[0].start()

    try:
        last = run_workers(store, SPEC, 1, stop_and_start, start=forked_worker)
    finally:
        for timer in away:
            timer.join()
    assert last.name == "done"
    assert away
    assert table(store) == alone
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["ravine", "ravine"]
    assert "cannot be reached: " in said[0]
    assert "Trying again for 120 seconds" in said[0]
    assert " is back after " in said[1]
    store.close()


@pytest.mark.slow  # a database server
def test_a_database_that_stays_away_is_an_error_with_its_reason(postgres, capsys):
    store = Store("gone", postgres.url, limit=0.2)
    store.create(SPEC)
    postgres.stop()
    try:
        with pytest.raises(
            DataError, match=r"postgresql://ravine@/postgres\S+ cannot be reached: .*(terminat|connect)"
        ):
            store.results()
        with pytest.raises(DataError, match="cannot be reached: connection"):
            Store("gone", postgres.url)
    finally:
        postgres.start()
    assert store.results() == {}
    store.close()


@pytest.mark.slow  # a database server
def test_claims_survive_a_restart(postgres, capsys):
    now = [0.0]
    store, other = (Store("claims", postgres.url, clock=lambda: now[0]) for _ in range(2))
    store.create(SPEC)
    other.create(SPEC)
    trials = stage(SPEC, {}).trials[:1]
    claimed = store.claim(trials, SPEC)
    assert claimed is not None
    assert other.claim(trials, SPEC) is None
    postgres.stop()
    timer = threading.Timer(1.0, postgres.start)
    timer.start()
    now[0] = 60.0  # silent for longer than a worker may be
    try:
        assert other.claim(trials, SPEC) is None, "while the database was away nobody could show any life"
    finally:
        timer.join()
    now[0] = 74.0
    assert other.claim(trials, SPEC) is None, "14 seconds after it came back"
    now[0] = 76.0
    again = other.claim(trials, SPEC)
    assert again is not None
    for claim in (again[1], claimed[1], again[1]):  # one was given up; the other is kept twice, as after a lost answer
        claim.finish(TrialResult(score=1.0, diverged=False))
    assert [r.score for r in store.results().values()] == [1.0]
    store.close()
    other.close()


def test_a_study_of_another_spec_is_refused_and_left_as_it_is(tmp_path):
    store = Store("study", tmp_path / "journal.log")
    store.create(SPEC)
    other = StudySpec("rosenbrock", ARMS[:1], steps=30)
    with pytest.raises(OptionError, match="steps: 20 in the study, 30 now"):
        Store("study", tmp_path / "journal.log").create(other)
    assert Store("study", tmp_path / "journal.log").spec() == SPEC


def test_names_and_storages_that_cannot_be(tmp_path):
    with pytest.raises(OptionError, match="cannot be a name"):
        Store("../study", tmp_path / "journal.log")
    with pytest.raises(DataError, match="cannot be used"):
        Store("study", tmp_path / "none" / "journal.log").create(SPEC)
    store = Store("study", tmp_path / "journal.log")
    with pytest.raises(OptionError, match="There is no study 'study'"):
        store.spec()
    pytest.importorskip("psycopg")
    with pytest.raises(DataError, match="cannot be reached") as error:
        Store("study", "postgresql://me:secret@127.0.0.1:1/nothing").create(SPEC)
    assert "secret" not in str(error.value)
    assert without_password("postgresql://me:secret@host/db") == "postgresql://me@host/db"


def test_a_trial_whose_task_raises_is_a_failure_with_its_traceback(tmp_path, monkeypatch):
    spec = StudySpec("rosenbrock", ARMS[1:], steps=5, points=2, expansions=0, looks=(1,), evaluations=1)
    calls = []

    def sometimes(spec, task, trial, optimizer, ended):
        calls.append(trial)
        if len(calls) == 1:
            raise ZeroDivisionError("planted")
        return run(spec, task, trial, optimizer, ended)

    monkeypatch.setattr("ravine.comparison._study.trial_runner.stacked_task", lambda task: None)
    monkeypatch.setattr("ravine.comparison._study.trial_runner.run", sometimes)
    store = Store("study", tmp_path / "journal.log")
    store.create(spec)
    last = work(store, spec, find(spec.task))
    assert last.name == "done"
    failed = [o for o in store.results().values() if o.error]
    assert len(failed) == 1
    assert "ZeroDivisionError: planted" in failed[0].error
    (runs,) = StudyRecord(spec, store.results()).runs
    assert runs.runs[0].point != calls[0].point
    assert "raised an error" in StudyRecord(spec, store.results())._failures()[0].sentence


def test_a_training_is_a_pure_function_of_spec_point_and_seed():
    task, trial = find(WITH_DATA.task), Trial("sgd", {"lr": 0.3}, 5, "final")
    first, second = (
        run(WITH_DATA, task, trial, parse("sgd")).to_tree(),
        run(WITH_DATA, task, trial, parse("sgd")).to_tree(),
    )
    del first["seconds"], second["seconds"]
    assert first == second
    assert set(first["metrics"]) == {"test_loss", "accuracy"}
    assert first["steps"] == [0, 5, 10, 15, 20]
    assert TrialResult.from_tree(first | {"seconds": 1.0}).score == first["losses"][-1]


def test_test_data_are_not_read_while_tuning(monkeypatch):
    import dataclasses

    import torch

    task = find(WITH_DATA.task)
    poisoned = dataclasses.replace(
        task, test=dataclasses.replace(task.test, inputs=torch.full_like(task.test.inputs, 9e9))
    )
    trial = Trial("sgd", {"lr": 0.3}, 0, "tune")
    a, b = run(WITH_DATA, task, trial, parse("sgd")).to_tree(), run(WITH_DATA, poisoned, trial, parse("sgd")).to_tree()
    assert {**a, "seconds": 0} == {**b, "seconds": 0}
    assert a["metrics"] == {}


def test_a_run_that_diverges_says_so():
    result = run(SPEC, find("rosenbrock"), Trial("sgd", {"lr": 10.0}, 0, "final"), parse("sgd"))
    assert result.diverged
    assert result.score == float("inf")
    assert result.to_tree()["score"] is None
    assert TrialResult.from_tree(result.to_tree()).score == float("inf")


def test_a_worker_that_shows_no_life_loses_its_trial(tmp_path):
    now = [0.0]
    store, other = (Store("study", tmp_path / "journal.log", stale=15.0, clock=lambda: now[0]) for _ in range(2))
    store.create(SPEC)
    other.create(SPEC)
    trials = stage(SPEC, {}).trials
    first = store.claim(trials[:1], SPEC)
    assert first is not None
    assert other.claim(trials[:1], SPEC) is None
    now[0] = 14.0
    first[1].beat()
    assert other.claim(trials[:1], SPEC) is None
    now[0] = 28.0
    assert other.claim(trials[:1], SPEC) is None, "14 seconds after the heartbeat was seen"
    now[0] = 29.5
    taken = other.claim(trials[:1], SPEC)
    assert taken is not None
    taken[1].finish(TrialResult(score=1.0, diverged=False))
    first[1].finish(TrialResult(score=1.0, diverged=False))  # the one that was given up comes back: no harm
    assert [r.score for r in other.results().values()] == [1.0]


def test_heartbeats_come_from_a_thread_while_something_runs(tmp_path):
    store = Store("study", tmp_path / "journal.log", heartbeat=0.01)
    store.create(SPEC)
    claimed = store.claim(stage(SPEC, {}).trials, SPEC)
    assert claimed is not None
    beaten, beat = threading.Event(), claimed[1].beat
    claimed[1].beat = lambda: (beat(), beaten.set())
    with heartbeats([claimed[1]]):
        assert beaten.wait(60)
    (trial,) = store._trials()
    assert trial.user_attrs["ravine heartbeat"].startswith(f"{os.getpid()}.")


@pytest.mark.parametrize("task", ["rosenbrock", "breast-cancer"])
def test_a_worker_ends_a_trial_that_somebody_stops(tmp_path, task):
    arm = OptimizerConfig("sgd", {"lr": Range(1e-7, 1e-6)}, "sgd")  # none diverges
    spec = StudySpec(task, (arm,), steps=300_000, points=1, extra_points=0, expansions=0, looks=(1,), evaluations=1)
    store = Store("study", tmp_path / "journal.log", heartbeat=0.01)
    store.create(spec)
    over = threading.Event()

    def stop_all():
        other = Store("study", tmp_path / "journal.log")
        other.spec()
        while not over.wait(0.02):
            for trial in other.log():
                if trial.state == "running" and trial.heartbeat is not None:
                    other.stop(trial.number, "planted")

    thread = threading.Thread(target=stop_all)
    thread.start()
    try:
        assert work(store, spec, find(task)).name == "done"
    finally:
        over.set()
        thread.join()
    assert {result.error for result in store.results().values()} == {"planted"}


@pytest.mark.slow  # a database server
def test_a_comparison_in_a_database_is_that_in_a_file(postgres, tmp_path, monkeypatch):
    import ravine

    monkeypatch.chdir(tmp_path)
    options = {"preset": "quick", "points": 3, "seeds": 2, "steps": 8, "quiet": True}
    shared = ravine.compare("rosenbrock", ["sgd", "adam"], **options, jobs=1, study="both", storage=postgres.url)
    alone = ravine.compare("rosenbrock", ["sgd", "adam"], **options, jobs=1)
    numbers = [{key: {**o.to_tree(), "seconds": 0} for key, o in r.trial_results.items()} for r in (shared, alone)]
    assert numbers[0] == numbers[1]
    assert shared.judgement.sentence == alone.judgement.sentence
    assert not list(tmp_path.rglob("both/study.journal")), "the trials are in the database"


def test_a_block_of_trials_is_claimed_shown_alive_and_given_back_at_once(tmp_path):
    now = [0.0]
    store, other = (Store("study", tmp_path / "journal.log", stale=15.0, clock=lambda: now[0]) for _ in range(2))
    store.create(SPEC)
    other.create(SPEC)
    trials = stage(SPEC, {}).trials
    assert store.claim_block(trials, SPEC, lambda free: []) == []
    mine = store.claim_block(trials, SPEC, lambda free: free[1:4])
    assert [trial for trial, _ in mine] == list(trials[1:4])
    theirs = other.claim_block(trials, SPEC, lambda free: free[:4])
    assert [trial for trial, _ in theirs] == [trials[0], *trials[4:7]], "what is taken is not offered"
    now[0] = 14.0
    for _, claim in mine[:2]:
        claim.beat()
    assert other.claim_block(trials[1:4], SPEC, lambda free: free) == []
    now[0] = 16.0
    taken = other.claim_block(trials[1:4], SPEC, lambda free: free)
    assert [trial for trial, _ in taken] == [trials[3]], "the one that showed no life"
    for _, claim in mine[:2]:
        claim.release()
    again = other.claim_block(trials[1:4], SPEC, lambda free: free)
    assert [trial for trial, _ in again] == list(trials[1:3])


def test_of_two_who_claim_the_same_at_once_the_first_has_it(tmp_path, monkeypatch):
    store, other = (Store("study", tmp_path / "journal.log") for _ in range(2))
    store.create(SPEC)
    other.create(SPEC)
    trials = stage(SPEC, {}).trials
    theirs = []

    def slowly(free):  # the other one is quicker
        theirs.extend(other.claim_block(trials, SPEC, lambda free: free[2:5]))
        return free[:4]

    mine = store.claim_block(trials, SPEC, slowly)
    assert [trial for trial, _ in theirs] == list(trials[2:5])
    assert [trial for trial, _ in mine] == list(trials[:2])
