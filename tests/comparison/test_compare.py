"""A whole comparison in one call: what it gives, how it goes on, and what it refuses before anything runs."""

import dataclasses
import json
import math
import re
import shlex

import pytest
import torch

import ravine
from ravine.comparison import _run_study as module
from ravine.comparison._run_study import resume_command
from ravine.comparison._study.declare import declare
from ravine.comparison._study.location import Location
from ravine.comparison._study.schedules import schedules_from_words
from ravine.comparison._study.store import Store
from ravine.comparison._study.trial_runner import TrialRunner
from ravine.errors import OptionError, RavineError, TrainingError
from ravine.optim._spec import parse_all
from ravine.tasks import find

SMALL = {"preset": "quick", "points": 3, "seeds": 2, "steps": 8, "jobs": 1, "quiet": True}
FAILING = """
import torch
from ravine.tasks import Data, Task

def loss(outputs, targets):
    if outputs.abs().max() > {limit}:
        raise ArithmeticError("too far")
    return ((outputs - targets) ** 2).mean()

def task():
    rows = Data(torch.linspace(-1, 1, 40)[:, None], torch.linspace(-1, 1, 40)[:, None])
    return Task(model=lambda: torch.nn.Linear(1, 1), train=rows, test=rows, loss=loss, batch_size=8)
"""


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def results(result):
    return json.dumps({k: {**o.to_tree(), "seconds": 0} for k, o in result.trial_results.items()}, sort_keys=True)


def test_a_comparison_is_one_call():
    result = ravine.compare("breast-cancer", ["sgd", "rmsprop"], **SMALL)
    table = result.trials()
    confirmed = table[table.kind == "final"]
    fresh = confirmed.groupby("optimizer").seed.apply(set)
    assert fresh["sgd"] == fresh["rmsprop"] == {1, 3}, "the same fresh seeds for both"
    tuned = table[table.kind == "tune"].groupby(["optimizer", "seed"]).size()
    assert tuned.nunique() == 1, "as many points for both, in each tuning"
    assert set(tuned.index.get_level_values("seed")) == {0, 2}
    assert confirmed.accuracy.between(0.3, 1).all()
    assert table[table.kind == "tune"].accuracy.isna().all(), "test data are not read while tuning"
    assert set(result.seconds) == {"sgd", "rmsprop"}
    assert all(0 < s.step < 1 and 0 < s.optimizer_fraction < 1 for s in result.seconds.values())
    assert result.judgement.sentence


def test_the_same_study_again_trains_nothing_and_another_spec_is_refused(monkeypatch):
    first = ravine.compare("breast-cancer", ["sgd"], **SMALL, study="mine")
    monkeypatch.setattr(TrialRunner, "run", None)  # were it called, that would be an error
    again = ravine.compare("breast-cancer", ["sgd"], **SMALL, study="mine")
    assert results(again) == results(first)
    assert again.seconds == first.seconds
    with pytest.raises(OptionError, match=r"points: 3 in the study, 4 now"):
        ravine.compare("breast-cancer", ["sgd"], **{**SMALL, "points": 4}, study="mine")


def test_more_seeds_go_on_where_the_study_ended():
    first = ravine.compare("breast-cancer", ["sgd", "rmsprop"], **SMALL, study="mine")
    more = ravine.compare("breast-cancer", ["sgd", "rmsprop"], **{**SMALL, "seeds": 3}, study="mine")
    assert more.spec.looks == (2, 3), "the look that was had is paid for"
    assert more.trial_results.keys() > first.trial_results.keys()
    assert all(more.trial_results[key].losses == result.losses for key, result in first.trial_results.items())
    assert {len(each.runs) for each in more.record.runs} == {3}
    again = ravine.compare("breast-cancer", ["sgd", "rmsprop"], **{**SMALL, "seeds": 3}, study="mine")
    assert again.spec == more.spec


def test_the_command_of_a_study_declares_the_same_study():
    result = ravine.compare(
        "breast-cancer", ["sgd", "torch-adam:eps=1e-6"], **SMALL, schedule="cosine", margin="1%", study_seed=3
    )
    words = shlex.split(result.origin.command)
    assert words[:3] == ["ravine", "compare", "breast-cancer"]
    from ravine.cli._compare import command as cli

    given = cli.make_context("compare", words[2:]).params
    optimizers, kept = (
        given.pop("optimizers"),
        {k: given[k] for k in ("points", "seeds", "steps", "schedule", "margin", "study_seed")},
    )
    kept["schedule"] = schedules_from_words(kept["schedule"])
    declared = declare(find("breast-cancer"), "breast-cancer", parse_all(optimizers), **kept)
    assert dataclasses.replace(declared, content=result.spec.content).hash == result.spec.hash
    assert given["study"] == "compare-breast-cancer"


def test_a_command_has_no_password(tmp_path):
    spec = declare(find("breast-cancer"), "breast-cancer", parse_all(["sgd"]))
    where = Location("study", "postgresql://me:secret@host/db", tmp_path)
    assert "secret" not in resume_command(spec, where)
    assert f"--out {tmp_path} --storage postgresql://me@host/db" in resume_command(spec, where)


def test_a_task_made_here_takes_part_but_cannot_be_shared():
    task = dataclasses.replace(find("breast-cancer"), name="mine")
    result = ravine.compare(task, ["sgd"], **SMALL, out="here")
    assert result.spec.task == "mine"
    assert result.record.stage.name == "done"
    assert result.origin.command == ""
    for options in ({"study": "mine"}, {"storage": "mine.journal"}, {"jobs": 2}):
        with pytest.raises(OptionError, match="give the path of a Python file"):
            ravine.compare(task, ["sgd"], **{**SMALL, **options})
    with pytest.raises(OptionError, match="has a study, which cannot be resumed with a task"):
        ravine.compare(task, ["sgd"], **SMALL, out="here")


def test_two_workers_give_what_one_gives(forked_workers, tmp_path):
    range_of = "{ low = 0.01, high = 0.1 }"
    (tmp_path / "space.toml").write_text(f"[adam]\nlr = {range_of}\nbeta1 = {range_of}\neps = {range_of}\n")
    options = {**SMALL, "space": "space.toml"}
    one = ravine.compare("breast-cancer", ["sgd", "adam"], **options)
    two = ravine.compare("breast-cancer", ["sgd", "adam"], **{**options, "jobs": 2})
    assert results(one) == results(two)


def test_a_task_that_raises_in_some_trainings_is_compared_all_the_same(tmp_path):
    (tmp_path / "some.py").write_text(FAILING.format(limit=1e3))
    result = ravine.compare("some.py", ["sgd"], **{**SMALL, "points": 8})
    failed = [o for o in result.trial_results.values() if o.error]
    assert 0 < len(failed) < len(result.trial_results)
    assert all("ArithmeticError: too far" in o.error for o in failed)


def test_a_task_that_always_raises_says_why(tmp_path, monkeypatch):
    (tmp_path / "all.py").write_text(FAILING.format(limit=0))
    with pytest.raises(TrainingError, match="too far"):
        ravine.compare("all.py", ["sgd"], **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["all.py"], "said before a folder was made"
    monkeypatch.setattr(module, "dry_run", lambda *_: None)
    with pytest.raises(
        TrainingError, match=r"\d+ of \d+ trainings failed, and no optimizer is left.*ArithmeticError: too far"
    ):
        ravine.compare("all.py", ["sgd"], **SMALL)


def test_errors_are_told_as_errors_and_not_only_as_divergence(tmp_path):
    (tmp_path / "some.py").write_text(FAILING.format(limit=1e3))
    result = ravine.compare("some.py", ["sgd"], **{**SMALL, "points": 8})
    (failed,) = [w for w in result.judgement.warnings if w.kind == "failed"]
    assert re.fullmatch(r"\d+ trainings? of sgd raised an error, .*ArithmeticError: too far", failed.sentence)


def test_a_metric_that_is_no_number_is_left_out_and_told():
    strange = {"strange": lambda outputs, targets: torch.tensor(math.nan)}
    task = dataclasses.replace(find("breast-cancer"), metrics=strange)
    judgement = ravine.compare(task, ["sgd", "adam"], **SMALL).judgement
    assert list(judgement.compared) == ["validation loss", "test loss"]
    assert "strange is not a number in 4 of 4 runs" in next(
        w.sentence for w in judgement.warnings if w.kind == "metric"
    )


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(monkeypatch):
    from ravine.comparison._study import trial_runner

    calls, run = [], trial_runner.run

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(*arguments)

    monkeypatch.setattr(trial_runner, "stacked_task", lambda task: None)  # one training after the other
    monkeypatch.setattr(trial_runner, "run", stopped)
    with pytest.raises(KeyboardInterrupt) as caught:
        ravine.compare("breast-cancer", ["sgd"], **SMALL)
    (note,) = caught.value.__notes__
    assert note.startswith("2 trainings finished and saved. Resume: ravine compare breast-cancer -o sgd")
    assert "--study compare-breast-cancer" in note
    store = Store("compare-breast-cancer", "ravine-out/compare-breast-cancer/study.journal")
    store.spec()
    assert len(store.results()) == 2
    monkeypatch.setattr(trial_runner, "run", run)
    assert ravine.compare("breast-cancer", ["sgd"], **SMALL, study="compare-breast-cancer").record.stage.name == "done"


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        (("diggits",), {}, "Did you mean 'digits'"),
        (("digits", ["rmsporp"]), {}, "Did you mean 'rmsprop'"),
        (("digits", []), {}, "nothing to compare"),
        (("digits", ["sgd", "sgd"]), {}, "given twice"),
        (("digits", ["sgd"]), {"jobs": 0}, "jobs = 0"),
        (("digits", ["sgd"]), {"points": 0}, "points = 0"),
        (("digits", ["sgd"]), {"points": 10**20}, "from 1 to 1,000"),
        (("digits", ["sgd"]), {"storage": ""}, "'' is not a storage"),
        (("digits", ["sgd"]), {"storage": "http://here"}, "'http://here' is not a storage: give postgresql://"),
        (("digits", ["sgd"]), {"steps": 0}, "steps = 0"),
        (("digits", ["sgd"]), {"steps": 1.5}, "steps = 1.5: give a whole number"),
        (("digits", ["sgd"]), {"points": "8"}, "points = '8': give a whole number"),
        (("digits", ["sgd"]), {"seeds": True}, "seeds = True: give a whole number"),
        (("digits", ["sgd"]), {"jobs": 1.5}, "jobs = 1.5: give a whole number, at least 1"),
        (("digits", ["sgd", "adam"]), {"seeds": 1}, "at least 2 seeds"),
        (
            ("digits", ["sgd", "adam"]),
            {"margin": "1 percent"},
            "margin = '1 percent': write a difference, such as 0.01, or a share, such as 1%",
        ),
        (("digits", ["sgd"]), {"schedule": "cosin"}, "Did you mean 'cosine'"),
        (("digits", ["sgd"]), {"preset": "ful"}, "Did you mean 'full'"),
        (("digits", ["sgd"]), {"space": "none.toml"}, "none.toml cannot be read"),
        (("digits", ["sgd"]), {"study": "a/b"}, "cannot be a name"),
        (("digits", ["rmsprop:alpha=-1"]), {}, "rmsprop:alpha=-1: "),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(tmp_path, arguments, options, text):
    with pytest.raises(RavineError, match=text) as caught:
        ravine.compare(*arguments, **{**SMALL, **options})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_things_in_it_is_refused(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match="is not empty, and has no study.journal to resume"):
        ravine.compare("breast-cancer", ["sgd"], **SMALL, out="here")
    ravine.compare("breast-cancer", ["sgd"], **SMALL, out="new")
    again = ravine.compare("breast-cancer", ["sgd"], **SMALL, out="new")
    assert again.folder is not None
    assert again.folder.name == "new"
    assert again.origin.command.endswith("--study compare-breast-cancer --out new")


def test_a_second_study_without_a_name_gets_a_folder_of_its_own():
    folders = [ravine.compare("breast-cancer", ["sgd"], **SMALL).folder for _ in range(2)]
    assert [str(f) for f in folders] == ["ravine-out/compare-breast-cancer", "ravine-out/compare-breast-cancer-2"]


def test_a_verdict_waits_for_the_first_look_and_an_extension_is_told():
    result = ravine.compare("breast-cancer", ["sgd", "rmsprop"], **{**SMALL, "seeds": 3}, study="mine")
    record = result.record
    early = {trial.key(record.spec): found for trial, found in record.trials if trial.seed < record.spec.tuning_seed(2)}
    judged = dataclasses.replace(record, results=early).judge()
    assert judged.sentence.startswith("There is no verdict before 3 seeds; 2 seeds are finished")
    for each in judged.compared.values():
        assert {s.verdict for s in each.with_best.standings} == {"may be the best"}
        assert not any(s.equivalent for s in each.with_best.standings)
        assert (each.with_best.settled, each.with_best.more) == (False, None)
    assert any("What is shown is of the first 2 seeds." in w.sentence for w in judged.warnings)
    more = ravine.compare("breast-cancer", ["sgd", "rmsprop"], **{**SMALL, "seeds": 4}, study="mine")
    assert more.spec.extended == 1
    assert "more likely than 5%" in next(w.sentence for w in more.judgement.warnings if w.kind == "extended")
    assert "--seeds 4" in more.origin.command
    again = ravine.compare("breast-cancer", ["sgd", "rmsprop"], **{**SMALL, "seeds": 3}, study="mine")
    assert again.spec == more.spec, "the call that made it resumes it"
