"""Curves from Optuna's studies, in databases and journal files."""

import math
import sqlite3
import warnings

import optuna
import pytest

from ravine.comparison import judge_files
from ravine.comparison._curves import read_curves
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.errors import DataError
from ravine.optim.search import Range

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def storage_of(where):
    if "://" in where:
        return where
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(where))


def study(where, name="tuning", directions=("minimize",)):
    return optuna.create_study(storage=storage_of(where), study_name=name, directions=list(directions))


def plain(curves):
    return {(c.optimizer, c.run): (c.steps.tolist(), c.values.tolist(), c.diverged_at) for c in curves}


def told(trial):
    """An objective that reports a curve, names its optimizer as a parameter and its seed as an attribute."""
    trial.suggest_categorical("optimizer", ["adam", "sgd"])
    trial.set_user_attr("seed", trial.number // 2)
    for step in (10, 20):
        trial.report(trial.number + step, step)
    return math.nan if trial.number == 3 else 1.0


@pytest.mark.parametrize(
    ("where", "path"),
    [("study.journal", "study.journal"), ("sqlite:///a.db", "sqlite:///a.db"), ("sqlite:///a.db", "a.db")],
)
def test_trials_with_curves(where, path):
    made = study(where)
    for optimizer in ("adam", "sgd", "adam", "sgd"):
        made.enqueue_trial({"optimizer": optimizer})
    made.optimize(told, n_trials=4)
    made.ask()  # runs still
    assert plain(read_curves([path])) == {
        ("adam", "0"): ([10, 20], [10, 20], None),
        ("sgd", "0"): ([10, 20], [11, 21], None),
        ("adam", "1"): ([10, 20], [12, 22], None),
        ("sgd", "1"): ([10, 20], [13, 23], 21),
    }, "a trial that failed for NaN has diverged"
    assert [c.run for c in read_curves([path], columns={"run": "optimizer", "optimizer": "seed"})][:2] == [
        "adam",
        "sgd",
    ]
    with pytest.raises(DataError, match=r"trial 0 has neither a user attribute nor a parameter 'nothing' for the run"):
        read_curves([path], columns={"run": "nothing"})


def test_trials_without_curves_and_without_names_go_by_study_and_number():
    for name, loss in (("adam", 0.5), ("sgd", 0.75)):
        study("a.journal", name).optimize(lambda trial, loss=loss: loss + trial.number, n_trials=2)
    assert plain(read_curves(["a.journal"])) == {
        ("adam", "0"): ([1], [0.5], None),
        ("adam", "1"): ([1], [1.5], None),
        ("sgd", "0"): ([1], [0.75], None),
        ("sgd", "1"): ([1], [1.75], None),
    }


def test_trials_that_cannot_be_read():
    def pruned(trial):
        trial.report(1.0, 1)
        raise optuna.TrialPruned

    study("pruned.journal").optimize(pruned, n_trials=1)
    with pytest.raises(
        DataError, match=r"pruned.journal, study 'tuning', trial 0 was pruned, so how it would have ended"
    ):
        read_curves(["pruned.journal"])
    study("two.journal", directions=("minimize", "maximize")).optimize(lambda trial: (1.0, 2.0), n_trials=1)
    with pytest.raises(DataError, match=r"trial 0 has 2 objectives: only studies with one"):
        read_curves(["two.journal"])
    study("sqlite:///none.db")
    with pytest.raises(DataError, match="There are no values in none.db"):
        read_curves(["none.db"])


def test_storages_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"There is no file nowhere\.db"):
        read_curves(["sqlite:///nowhere.db"])
    assert not (tmp_path / "nowhere.db").exists()
    with sqlite3.connect("other.db") as other:
        other.execute("create table things (name text)")
    other.close()
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(DataError, match=r"other.db is an SQLite file, and not one of Optuna's"):
        read_curves(["other.db"])
    assert (tmp_path / "other.db").read_bytes() == before, "nothing is made in it"
    study("a.journal")
    with open("a.journal", "a", encoding="utf-8") as file:
        file.write("{}\n")
    with pytest.raises(DataError, match=r"a.journal, line \d+, is not a line of a journal"):
        read_curves(["a.journal"])


def test_a_study_of_a_comparison_has_a_report_of_its_own():
    spec = StudySpec("digits", (OptimizerConfig("sgd", {"lr": Range(1e-3, 1.0)}, "sgd"),), steps=10)
    Store("mine", "study.journal").create(spec)
    with pytest.raises(
        DataError, match=r"The study 'mine' in study.journal was made by ravine compare: ravine report mine"
    ):
        read_curves(["study.journal"])


@pytest.mark.parametrize("named", [False, True])
def test_trials_of_two_studies_are_runs_and_their_numbers_are_said_to_make_pairs(named):
    for name, level in (("adam", 1.0), ("sgd", 2.0)):

        def objective(trial, level=level):
            if named:
                trial.set_user_attr("run", 7 - trial.number)
            return level + trial.number / 10

        study("sqlite:///a.db", name).optimize(objective, n_trials=5)
    result = judge_files("a.db")
    assert result.paired
    assert result.curves.numbered == (() if named else ("adam", "sgd"))
    first = "Each trial of adam and sgd is a run that goes by its number, and the same number stands for the same seed."
    assert result.notes[0].startswith(first) != named
