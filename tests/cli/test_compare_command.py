"""``ravine compare`` from the outside: what it prints, writes, refuses and returns."""

import os
import signal
import sys
import time

import pytest
from click.testing import CliRunner
from forked import COMPARES, PIPE, Forked

from ravine.cli import _compare as compare
from ravine.cli import main
from ravine.comparison._study import trial_runner
from ravine.comparison._study.cost import TrainingSeconds
from ravine.comparison._study.trial_runner import TrialRunner

SMALL = ("--points", "3", "--seeds", "2", "--steps", "8", "--jobs", "1")


@pytest.fixture
def ravine(tmp_path, monkeypatch, capsys):
    """Run the command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments, command="compare"):
        monkeypatch.setattr(sys, "argv", ["ravine", command, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return call


def test_a_comparison_and_everything_it_leaves(ravine, tmp_path):
    code, out, err = ravine("breast-cancer", "-o", "sgd", "-o", "torch-rmsprop:alpha=0.9", *SMALL)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "best" in lines[0], "the verdict"
    assert max(len(line) for line in lines[3:10]) <= 80
    assert "breast-cancer: 2 optimizers" in lines[2]
    table = "\n".join(lines[1:12])
    assert "%" in table
    assert table.count("of 2") == 2
    folder = tmp_path / "ravine-out" / "compare-breast-cancer"
    written = {path.name for path in folder.iterdir()}
    assert {"study.journal", "report.html", "report.md", "results.json", "results.csv", "curves.png"} <= written
    wrote, last = lines[-2:]
    assert set(wrote.removesuffix(" to ravine-out/compare-breast-cancer")[6:].split(", ")) == written - {
        "study.journal"
    }
    assert last == "Open ravine-out/compare-breast-cancer/report.html"
    assert (folder / "report.html").read_text().count("torch-rmsprop:alpha=0.9") > 1


def test_a_training_of_the_report_can_be_run_again(simply, ravine):
    assert ravine("breast-cancer", "-o", "sgd", *SMALL, "--study", "mine")[0] == 0
    journal = "ravine-out/mine/study.journal"
    from ravine.comparison._study.store import Store
    from ravine.comparison._study.study_record import StudyRecord

    store = Store("mine", journal)
    record = StudyRecord(store.spec(), store.results())
    trial, result = record.trials[-1]
    again = ("--study", "mine", "--storage", journal, "--rerun")
    code, out, _ = ravine(*again, trial.key(record.spec), command="worker")
    assert code == 0
    assert "seed 3" in out
    assert f"validation loss {result.score!r}, the same to the last digit" in out
    code, _, err = ravine(*again, "0123", command="worker")
    assert code == 2
    assert "no training '0123'" in err


def test_ctrl_c_of_a_worker_says_how_to_go_on(simply, ravine, monkeypatch):
    from ravine.cli import _worker

    def stopped(*_):
        raise KeyboardInterrupt

    assert ravine("breast-cancer", "-o", "sgd", *SMALL, "--study", "mine")[0] == 0
    arguments = ("--study", "mine", "--storage", "ravine-out/mine/study.journal")
    with monkeypatch.context() as patch:
        patch.setattr(_worker, "work", stopped)
        code, out, err = ravine(*arguments, command="worker")
    assert (code, out) == (130, "")
    assert err == f"ravine: Interrupted.\nFinished trials are saved. Go on: ravine worker {' '.join(arguments)}\n"
    from ravine.comparison import load_study

    progress = load_study("mine").record.progress
    said = ravine(*arguments, command="worker")[1].splitlines()
    assert said[0] == progress.sentence, "the count of the report, not that of a stage"
    assert said[1].endswith("is complete.")


def test_a_rerun_that_differs_says_so(simply, ravine, monkeypatch):
    import dataclasses

    assert ravine("breast-cancer", "-o", "sgd", *SMALL, "--study", "mine")[0] == 0
    from ravine.comparison._study.store import Store
    from ravine.comparison._study.study_record import StudyRecord

    store = Store("mine", "ravine-out/mine/study.journal")
    record = StudyRecord(store.spec(), store.results())
    key = record.trials[0][0].key(record.spec)
    run = TrialRunner.run
    monkeypatch.setattr(TrialRunner, "run", lambda *given: [dataclasses.replace(r, score=1.5) for r in run(*given)])
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    out = ravine("--study", "mine", "--storage", "ravine-out/mine/study.journal", "--rerun", key, command="worker")[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert "validation loss 1.5, but " in out


def test_ctrl_c_says_how_to_go_on(simply, ravine, monkeypatch):
    calls, run = [], trial_runner.run

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(*arguments)

    monkeypatch.setattr(trial_runner, "run", stopped)
    code, out, err = ravine("breast-cancer", "-o", "sgd", *SMALL)
    assert (code, out) == (130, "")
    assert err.splitlines()[0] == "ravine: Interrupted."
    assert "1 training finished and saved. Resume: ravine compare breast-cancer -o sgd" in err
    words = err.splitlines()[1].partition("Resume: ravine compare ")[2].split()
    monkeypatch.setattr(trial_runner, "run", run)
    assert ravine(*words)[0] == 0


@pytest.mark.slow  # a command with worker processes, each of which imports torch
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_real_ctrl_c_while_it_trains(tmp_path, jobs):
    arguments = ["rosenbrock", "-o", "sgd", "-o", "adam", "--study", "mine", "--jobs", jobs, "--steps", "200"]
    command = ["-m", "ravine", "compare", *arguments]
    with Forked(command, after=COMPARES, cwd=tmp_path, stderr=PIPE, text=True, session=True) as process:
        journal = tmp_path / "ravine-out" / "mine" / "study.journal"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and (not journal.exists() or b"ravine result" not in journal.read_bytes()):
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all processes in front
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "finished and saved. Resume: ravine compare rosenbrock" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["diggits"], "Did you mean 'digits'?"),
        (["ravine", "-o", "adam,sgd"], "give each by itself, -o adam -o sgd."),
        (["adam"], "it is an optimizer, and each has an -o of its own: -o adam."),
        (["ravine", "-o", "rmsporp"], "Did you mean 'rmsprop'?"),
        (["ravine", "-o", "rmsprop:alhpa=0.9"], "Did you mean 'alpha'?"),
        (["ravine", "-o", "torch-rmsprop:alpha=-1"], "torch-rmsprop:alpha=-1: Invalid alpha value"),
        (["ravine", "--points", "0"], "points = 0"),
        (["ravine", "--preset", "quik"], "Did you mean 'quick'"),
        (["ravine", "--data", "."], "reads no files"),
        (["ravine", "--storage", "postgresql://me:secret@127.0.0.1:1/none"], "cannot be reached"),
        (["ravine", "--storage", "nowhere/study.journal", "--study", "a"], "nowhere/study.journal cannot be used"),
        (["mnist", "--data", "nowhere"], "The data folder nowhere does not exist. To get the data"),
        (["ravine", "--study", "../up"], "cannot be a name"),
        (["ravine", "--sed", "1"], "--seed"),
    ],
)
def test_a_mistake_is_told_with_exit_code_2(ravine, tmp_path, arguments, text):
    code, out, err = ravine(*arguments)
    assert (code, out) == (2, "")
    assert text in err
    assert "secret" not in err
    assert "Traceback" not in err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_space_file_decides_where_is_looked(simply, ravine, tmp_path):
    (tmp_path / "space.toml").write_text(
        "[sgd]\nlr = { low = 0.1, high = 0.2 }\n[adam]\nbeta2 = { low = 0.9, high = 0.99 }\n"
    )
    code, _, _ = ravine("breast-cancer", "-o", "sgd", "-o", "adam", *SMALL, "--space", "space.toml")
    assert code == 0
    assert "beta2" in (tmp_path / "ravine-out" / "compare-breast-cancer" / "report.md").read_text()
    for line, text in [
        ("[sgd]\nlr = { low = 1, high = 0.2 }", "must be below"),
        ("[sgd]\nlr = { low = 1e-6, high = 1.0 }", "more than 4 powers of ten"),
        ("[sgd]\n", r"[sgd] is empty"),
        ("[sgd]\nalpha = { low = 0.1, high = 0.2 }", "sgd has no 'alpha' to search"),
        ("[sdg]\nlr = { low = 0.1, high = 0.2 }", "Did you mean 'sgd'"),
        ("[sgd", "is not TOML"),
    ]:
        (tmp_path / "space.toml").write_text(line)
        code, _, err = ravine("breast-cancer", "-o", "sgd", *SMALL, "--space", "space.toml")
        assert code == 2
        assert text in err
    (tmp_path / "space.toml").write_text('["sgd:lr=0.1"]\nlr = { low = 0.1, high = 0.2 }\n')
    assert "is both set and searched" in ravine("ravine", "-o", "sgd:lr=0.1", "--space", "space.toml")[2]


def test_a_full_disk_is_told_and_what_is_done_is_kept(simply, ravine, monkeypatch, tmp_path):
    from ravine.comparison._study import store
    from ravine.comparison._study import study_journal as journal

    monkeypatch.setattr(store, "STALE", 0.5)  # the trial that failed is taken up again after so long
    sync, calls = os.fsync, []

    def full(descriptor):
        calls.append(1)
        if len(calls) > 30:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(journal.os, "fsync", full)
    code, _, err = ravine("breast-cancer", "-o", "sgd", *SMALL, "--study", "mine")
    assert code == 2
    assert "study.journal cannot be used: No space left on device" in err
    assert "Resume: ravine compare breast-cancer" in err
    monkeypatch.setattr(journal.os, "fsync", sync)
    assert ravine("breast-cancer", "-o", "sgd", *SMALL, "--study", "mine")[0] == 0


def test_help_names_the_tasks_and_presets():
    result = CliRunner().invoke(compare.command, ["--help"])
    assert result.exit_code == 0
    told = " ".join(result.output.split())
    for word in (
        "digits",
        "fashion-mnist",
        "--optimizer",
        "quick, 8 points and 8 to 20 seeds, until all is settled",
        "--storage",
    ):
        assert word in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "To the end, at 100 seeds"),
        (("digits",), "To the end, at 10 seeds"),
        (("digits", "--preset", "settle"), "To the end, at 100 seeds"),
        (("--seeds", "3"), "To the end, at 3 seeds"),
        (("--at-most", "30"), "To the end, at 30 seeds"),
        (("--preset", "quick"), "To the end, at 20 seeds"),
        (("-o", "adam"), "To the end, at 10 seeds"),
        (("--study", "mine"), "To the end, at 100 seeds"),
    ],
)
def test_without_a_task_it_goes_on_until_all_is_settled(ravine, arguments, said, monkeypatch):
    # Of what the dry run says, the seeds are asked for; trainings that are timed take seconds.
    monkeypatch.setattr("ravine.comparison._study.cost.measured_share", lambda *_: TrainingSeconds(1e-4, 1e-4, 1e-4))
    code, out, _ = ravine(*arguments, "--dry-run", "--jobs", "1")
    assert code == 0
    assert said in out
