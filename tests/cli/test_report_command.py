"""``ravine report``: a study drawn again from its storage, complete or not, on results that are made up."""

import errno
import json
import math
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ravine
from ravine.cli import main
from ravine.comparison import judge_files, load_study
from ravine.comparison._report import report_files
from ravine.comparison._study import study_journal
from ravine.comparison._study.stages import stage
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import TrialResult
from ravine.comparison._study.trial_runner import TrialRunner
from ravine.errors import DataError, OptionError
from ravine.optim.search import Range

SPEC = StudySpec(
    "digits",
    tuple(OptimizerConfig(name, {"lr": Range(1e-4, 1.0)}, name) for name in ("sgd", "adam")),
    steps=100,
    points=4,
    looks=(4,),
    expansions=0,
)


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run ``ravine report`` in an empty folder, without drawing pictures: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(report_files, "figure_pngs", lambda data: iter(()))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ravine", "report", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def made_up(trial):
    """A loss that is best at a rate of 0.02, and lower for adam; noise by seed."""
    noise = np.random.default_rng([trial.seed, len(trial.label)]).normal(0, 0.01)
    level = (0.2 if trial.label == "adam" else 0.5) + 0.1 * abs(math.log10(trial.point["lr"] / 0.02)) + noise
    losses = tuple(float(level + math.exp(-s / 20)) for s in range(0, 101, 5))
    metrics = {"accuracy": 1 - level / 10} if trial.kind == "final" else {}
    return TrialResult(losses[-1], tuple(range(0, 101, 5)), losses, False, metrics, {}, 1e-3)


TUNING = len(SPEC.optimizers) * SPEC.seeds * SPEC.points  # trainings


def all_trainings(spec=SPEC):
    """How many trainings a study takes."""
    done = {}
    while (now := stage(spec, done)).name != "done":
        done |= {trial.key(spec): made_up(trial) for trial in now.trials}
    return len(done)


def fill(where, trainings, spec=SPEC, name="mine"):
    """A study in a storage of which so many trainings are done."""
    if "://" not in str(where):
        Path(where).parent.mkdir(parents=True, exist_ok=True)
    store = Store(name, where)
    store.create(spec)
    for _ in range(trainings):
        trial, claim = store.claim(stage(spec, store.results()).trials, spec)
        claim.finish(made_up(trial))
    store.close()


def test_a_report_is_drawn_again_to_the_last_byte(call, monkeypatch):
    small = {"preset": "quick", "points": 3, "seeds": 2, "steps": 8, "jobs": 1, "quiet": True}
    first = ravine.compare("breast-cancer", ["sgd", "adam"], **small, study="mine")
    before = {path.name: path.read_bytes() for path in first.write()}
    for name in before:
        Path("ravine-out/mine", name).unlink()
    monkeypatch.setattr(TrialRunner, "run", None)  # were it called, that would be an error
    code, out, err = call("mine")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == first.judgement.sentence, "the verdict comes first"
    title = " ".join(out.split("breast-cancer: ")[1].split())  # it may be two lines
    assert title.startswith("2 optimizers, ")
    assert "2 seeds, 8 steps; sorted by the difference to the best of the others" in title
    assert {path.name: path.read_bytes() for path in Path("ravine-out/mine").iterdir() if path.name in before} == before
    assert call("mine", "--out", "elsewhere")[0] == 0
    assert Path("elsewhere/results.json").read_bytes() == before["results.json"]
    assert not Path("elsewhere/study.journal").exists()


@pytest.mark.parametrize("done", [0, 5, TUNING, TUNING + 3])
def test_a_study_that_cannot_be_judged_yet(call, done):
    fill("ravine-out/mine/study.journal", done)
    code, out, err = call("mine")
    assert code == 1
    assert out.splitlines()[0].startswith(f"{done} of about ")
    assert "Nothing can be judged yet. A judgement needs 2 seeds that every optimizer has finished; there" in err
    assert {path.name for path in Path("ravine-out/mine").iterdir()} == {"study.journal", "results.json", "results.csv"}
    tree = json.loads(Path("ravine-out/mine/results.json").read_text())
    assert tree["judgement"] is None
    assert tree["progress"]["done"] == len(tree["trainings"]) == done
    with pytest.raises(OptionError, match="Nothing can be judged yet"):
        load_study("mine").judgement  # noqa: B018


@pytest.mark.parametrize(("out", "storage"), [("moved", []), ("redrawn", ["--storage", "moved/study.journal"])])
def test_the_line_that_resumes_a_study_leads_to_where_it_is_now(call, capsys, monkeypatch, out, storage):
    small = {"preset": "quick", "points": 2, "seeds": 2, "steps": 4, "jobs": 1, "quiet": True}
    ravine.compare("breast-cancer", ["sgd", "adam"], **small, study="mine")
    Path("ravine-out/mine").rename("moved")
    lines = Path("moved/study.journal").read_bytes().splitlines(keepends=True)
    begun = [number for number, line in enumerate(lines) if b'"op_code":4' in line][2]
    Path("moved/study.journal").write_bytes(b"".join(lines[:begun]))  # as if it had been stopped there
    code, _, err = call("mine", "--out", out, *storage)
    assert code == 1
    words = shlex.split(err.split("resume it: ")[1])
    assert words[:2] == ["ravine", "compare"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
    assert Path(out, "report.html").is_file()
    assert not Path("ravine-out/mine").exists(), "no other study was begun"


def test_a_study_that_still_runs_is_judged_by_what_is_finished(call):
    fill("ravine-out/mine/study.journal", all_trainings() - 3)
    finished = load_study("mine").record.finished_seeds
    assert 2 <= finished < 4
    code, out, err = call("mine")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith(f"{all_trainings() - 3} of about ")
    assert f"What is shown is of the first {finished} seeds." in " ".join(out.split())
    tree = json.loads(Path("ravine-out/mine/results.json").read_text())
    for one in tree["judgement"]["compared"]:
        assert one["looks"] == [finished]
        assert {standing["runs"] for standing in one["standings"]} == {finished}
    kinds = [warning["kind"] for warning in tree["warnings"]]
    assert kinds[0] == "unfinished"
    assert f" of {finished} " in out
    assert f" of {finished + 1} " not in out, "a run that has no partner yet does not count"
    assert "The study is not complete" in Path("ravine-out/mine/report.md").read_text()
    assert "The study is not complete" in Path("ravine-out/mine/report.html").read_text()
    fill("ravine-out/mine/study.journal", 3)
    code, out, _ = call("mine")
    assert code == 0
    assert "not complete" not in out


def test_a_study_in_a_database(call):
    fill("sqlite:///studies.db", all_trainings())
    code, out, _ = call("mine", "--storage", "sqlite:///studies.db")
    assert code == 0
    assert out.endswith("\nOpen ravine-out/mine/report.html\n")
    assert "It has mine." in call("yours", "--storage", "sqlite:///studies.db")[2]


def test_a_study_that_is_not_there(call, tmp_path):
    code, out, err = call("mine")
    assert (code, out) == (2, "")
    assert "There is no study 'mine' in the folder ravine-out. There are none." in err
    fill("ravine-out/mine/study.journal", 0)
    assert "There is no study 'mien' in the folder ravine-out. Did you mean 'mine'?" in call("mien")[2]
    assert "'no/name' cannot be a name" in call("no/name")[2]
    journal = "ravine-out/mine/study.journal"
    assert f"There is no study 'yours' in {journal}. It has mine." in call("yours", "--storage", journal)[2]
    for storage in ("nowhere.journal", "sqlite:///nowhere.db"):
        code, _, err = call("mine", "--storage", storage)
        assert code == 2
        assert "There is no file nowhere" in err
    assert not list(tmp_path.glob("nowhere*")), "nothing is made where there is nothing"
    with pytest.raises(DataError, match="There is no file nowhere"):
        load_study("mine", storage="nowhere.journal")


@pytest.mark.parametrize(
    "given", ["ravine-out/mine", "ravine-out/mine/", "ravine-out/mine/study.journal", "./ravine-out/mine"]
)
def test_the_folder_of_a_study_is_as_good_as_its_name(call, given):
    fill("ravine-out/mine/study.journal", all_trainings())
    code, out, _ = call(given)
    assert code == 0
    assert out.endswith("\nOpen ravine-out/mine/report.html\n")
    assert call(given, "--out", "elsewhere")[1].endswith("\nOpen elsewhere/report.html\n")


def test_a_study_is_found_by_the_name_of_its_folder_which_the_list_shows(call):
    """From Python a study may be called otherwise; where a journal has several, the name is that of one of them."""
    fill("ravine-out/folder/study.journal", all_trainings())
    assert call("folder")[1].endswith("\nOpen ravine-out/folder/report.html\n")
    Path("mine").mkdir()  # another folder of a name does not hide that of the study
    fill("ravine-out/mine/study.journal", all_trainings())
    assert call("mine")[1].endswith("\nOpen ravine-out/mine/report.html\n")
    assert "There is no study 'yours' in ravine-out/mine/study.journal" in call("yours", "--out", "ravine-out/mine")[2]


@pytest.mark.parametrize(
    "given", ["ravine-out/mine", "ravine-out/mine/results.csv", "ravine-out/mine/results.json", "results.csv"]
)
def test_what_a_study_has_written_is_not_judged_as_logged_runs(call, given):
    fill("ravine-out/mine/study.journal", all_trainings())
    assert call("mine")[0] == 0
    Path("results.csv").write_bytes(Path("ravine-out/mine/results.csv").read_bytes())  # which says so itself
    study = "mine" if given == "results.csv" else "ravine-out/mine"
    with pytest.raises(DataError) as error:
        judge_files(given)
    assert (
        error.value.on_command_line
        == f"{given} is of a study that Ravine has made, and which it judges itself: ravine report {study}"
    )


def test_a_run_given_for_a_study_is_answered_with_what_shows_it(call):
    folder = Path("ravine-out/train-digits")
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").touch()
    for given in ("train-digits", "ravine-out/train-digits"):
        code, _, err = call(given)
        assert code == 2
        assert "ravine-out/train-digits is a run of one training, not a study. `ravine diagnose" in err
    Path("empty/one").mkdir(parents=True)
    assert "The folder empty/one has no study.journal" in call("empty/one")[2]


def test_a_damaged_journal_is_told_with_its_line(call):
    journal = Path("ravine-out/mine/study.journal")
    fill(journal, 4)
    lines = journal.read_bytes().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b"ravine result" in line)
    lines[at] = lines[at].replace(b'"score":0', b'"score":1', 1)
    journal.write_bytes(b"".join(lines))
    code, out, err = call("mine")
    assert (code, out) == (2, "")
    assert f"study.journal, line {at + 1}, is damaged: its checksum" in err
    assert "Traceback" not in err


def test_a_journal_that_can_only_be_read_is_enough(call, monkeypatch):
    journal = Path("ravine-out/mine/study.journal")
    fill(journal, all_trainings())
    before = journal.read_bytes()

    def only_to_read(path, mode="r", **options):
        if mode != "rb":
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return open(path, mode, **options)

    def makes_nothing(target, path):
        raise OSError(errno.EROFS, "Read-only file system", path)

    monkeypatch.setattr(study_journal, "open", only_to_read, raising=False)
    monkeypatch.setattr(study_journal.os, "symlink", makes_nothing)  # the lock
    code, _, err = call("mine", "--out", "elsewhere")
    assert (code, err) == (0, "")
    assert Path("elsewhere/report.html").is_file()
    assert {path.name for path in journal.parent.iterdir()} == {"study.journal"}
    assert journal.read_bytes() == before
    with pytest.raises(DataError, match=r"study\.journal cannot be used: Read-only file system"):
        Store("mine", journal).create(replace(SPEC, looks=(5,)))


def test_a_report_that_cannot_be_written_says_how_to_put_it_elsewhere(call, monkeypatch):
    fill("ravine-out/mine/study.journal", all_trainings())

    def makes_nothing(**options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("ravine._files.tempfile.TemporaryFile", makes_nothing)
    code, out, err = call("mine")
    assert code == 2
    assert "best" in out.splitlines()[0], "what it shows is said all the same"
    assert "The folder ravine-out/mine cannot be written: Read-only file system. Name another (--out)." in err


def test_own_code_that_is_gone_costs_its_formula_and_no_number(call, tmp_path):
    arms = (*SPEC.optimizers[:1], OptimizerConfig("rule.py:Mine", {"lr": Range(1e-4, 1.0)}, "rule.py:Mine"))
    versions = {"torch": "0.0", "rule.py": "0123456789abcdef"}
    spec = StudySpec("digits", arms, steps=100, points=2, looks=(2,), expansions=0, versions=versions)
    fill("ravine-out/mine/study.journal", all_trainings(spec), spec)
    (tmp_path / "rule.py").write_text("raise SystemError('another file')")
    code, out, _ = call("mine")
    assert code == 0
    assert "rule.py:Mine" in out
    assert set(load_study("mine").record.optimizers) == {"sgd"}


def test_a_report_is_not_written_over_that_of_another_study(call):
    for name, trainings in (("mine", all_trainings()), ("yours", 5)):
        fill(f"ravine-out/{name}/study.journal", trainings, name=name)
        call(name)
    fill("other.journal", all_trainings())
    before = Path("ravine-out/mine/results.json").read_bytes()
    for words in (
        ("yours", "--out", "ravine-out/mine", "--storage", "ravine-out/yours/study.journal"),
        ("mine", "--storage", "other.journal"),
    ):
        code, _, err = call(*words)
        assert code == 2
        assert "ravine-out/mine has a study of its own, in study.journal" in err
        assert "(--out)" in err
    assert Path("ravine-out/mine/results.json").read_bytes() == before
