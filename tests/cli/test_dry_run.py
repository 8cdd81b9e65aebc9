"""``ravine compare --dry-run`` refuses what the command itself refuses, in the same words, and makes nothing."""

import shlex
import sys
from pathlib import Path

import pytest

import ravine
from ravine.cli import main
from ravine.comparison._study.cost import TrainingSeconds
from ravine.comparison._study.trial_runner import TrialRunner

SMALL = "breast-cancer --points 2 --seeds 2 --steps 4 --jobs 1 -o sgd -o adam "


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ravine.comparison._study.trial_runner.stacked_task", lambda task: None)
    monkeypatch.setattr("ravine.comparison._run_study.measure_seconds", lambda *_: {})
    monkeypatch.setattr("ravine.comparison._report.report_files.figure_pngs", lambda data: iter(()))

    def run(words):
        monkeypatch.setattr(sys, "argv", ["ravine", "compare", *shlex.split(words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--study no/name", "'no/name' cannot be a name"),
        ("--study mine --points 3", "declared differently: points: 2 in the study, 3 now"),
        ("--study mine --storage other.journal", "ravine-out/mine has a study of its own"),
        ("--storage nowhere/study.journal", "there is no folder nowhere"),
        ("--storage foo://server", "'foo://server' is not a storage"),
        ("--out files", "The folder files is not empty"),
        ("--out files/thesis.txt", "it is not a folder"),
    ],
)
def test_what_is_refused_is_refused_without_training_too(call, monkeypatch, words, text):
    assert call(SMALL + "--study mine")[0] == 0
    Path("files").mkdir()
    Path("files/thesis.txt").write_text("All of my work")
    monkeypatch.setattr(TrialRunner, "run", None)
    before = sorted(Path().rglob("*"))
    dry = call(SMALL + words + " --dry-run")
    assert sorted(Path().rglob("*")) == before
    assert dry[:2] == (2, "")
    assert text in dry[2]
    assert call(SMALL + words) == dry


def test_a_study_that_could_begin_or_go_on_is_estimated_and_nothing_is_made(call, monkeypatch):
    assert call(SMALL)[0] == 0
    monkeypatch.setattr(TrialRunner, "run", None)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    for words in (
        "",
        "--study compare-breast-cancer",
        "--seeds 3 --out ravine-out/compare-breast-cancer",
        "--out new",
        "--study new --storage new.journal",
        "rosenbrock --study both",
    ):
        code, out, _ = call(f"{SMALL}{words} --dry-run")
        assert code == 0
        assert "To the end, at " in out
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    assert not list(Path().rglob("new*"))


def test_seconds_are_one_or_few_and_jobs_are_bounded_by_processors(call, monkeypatch):
    monkeypatch.setattr("ravine.comparison._study.cost.processors", lambda: 2)
    for seconds, said in ((0.0, "less than a second"), (0.15, "1 second"), (0.3, "2 seconds")):
        monkeypatch.setattr(
            "ravine.comparison._study.cost.measured_share", lambda *_, s=seconds: TrainingSeconds(s, 0.0, 0.0)
        )
        out = call(f"{SMALL} --jobs 1000 --dry-run")[1]
        assert f", {said} of training with 1,000 jobs on 2 processors" in out


def test_a_settled_study_is_said_to_get_no_seeds(call, monkeypatch):
    monkeypatch.setattr("ravine.comparison._earlier_study.settled", lambda spec, results: True)
    ravine.compare("breast-cancer", ["sgd", "adam"], points=2, seeds=2, steps=4, jobs=1, study="mine", quiet=True)
    code, out, err = call(SMALL.replace("--seeds 2", "--seeds 3") + "--study mine --dry-run")
    assert code == 0
    assert "mine is settled after 2 seeds, so no seeds are added" in err
    assert "To the end, at 2 seeds: " in out
