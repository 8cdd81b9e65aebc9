"""Optimizers from a user's file in a comparison: named, searched, trained as torch's, and the same wherever they run."""

import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import ravine.cli
from ravine import tasks
from ravine.comparison._study.declare import declare
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import Trial, run
from ravine.comparison._study.trial_worker import work
from ravine.contour import _trajectories as trajectories
from ravine.errors import DataError, OptionError, TrainingError
from ravine.optim import _spec as specs
from ravine.optim._search_space import default_space
from ravine.optim._spec import parse, parse_all
from ravine.optim.search import Range
from ravine.tasks import _surfaces as surfaces
from ravine.tasks._dry_run import dry_run

RULES = """\
import torch
from ravine.optim import Adam, Hyper, Optimizer
from ravine.optim.search import complement, log

def heavy(param, buffer=0.0, *, grad, lr, momentum):
    buffer = momentum * buffer + grad
    return param - lr * buffer, buffer

def scaled(param, *, grad, rate):
    return param - rate * grad

def half(param, *, grad, lr=0.5):
    return param - lr * grad

half.hypers = {"lr": Hyper(search=log(0.1, 0.9))}

class Heavy(Optimizer):
    hypers = {"lr": Hyper(search=log(1e-3, 0.1)), "momentum": Hyper(search=log(0.1, 0.99))}
    def __init__(self, params, lr=0.1, momentum=0.9, **common):
        super().__init__(params, lr=lr, momentum=momentum, **common)
    @staticmethod
    def formula():
        return [heavy]

class Open(Optimizer):
    formula = staticmethod(lambda: [heavy])

class Slip(torch.optim.SGD):
    def step(self, closure=None):
        return undefined_name

class Wrong(Heavy):
    hypers = {"moment": Hyper(search=log(0.1, 0.9))}

class Wide(Heavy):
    hypers = {"lr": Hyper(search=log(1e-9, 1.0))}

class Text(Heavy):
    hypers = {"lr": "all"}

class Named(Adam):
    hypers = {"lr": Hyper(search=log(1e-3, 0.1)), "beta1": Hyper(search=complement(0.5, 0.99))}
    def __init__(self, params, lr=0.01, beta1=0.9, beta2=0.99):
        super().__init__(params, lr=lr, betas=(beta1, beta2))
"""
SLIP_LINE = 1 + RULES[: RULES.index("return undefined_name")].count("\n")
TASK = "breast-cancer"


@pytest.fixture(scope="module")
def task():
    return tasks.find(TASK)


@pytest.fixture
def rules(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rules.py").write_text(RULES)
    return Path("rules.py")


@pytest.mark.parametrize(
    "label", ["rules.py:heavy:momentum=0.9", "rules.py:Heavy", "rules.py:Open:momentum=0.9", "rules.py:Heavy:momentum=0.9"]
)  # fmt: skip
def test_a_trial_has_the_losses_of_torchs_sgd(rules, task, label):
    spec = declare(task, TASK, parse_all([label, "torch-sgd:momentum=0.9"]), points=1, seeds=2, steps=30)
    ours = run(spec, task, Trial(label, {"lr": 0.05}, 3, "final"), parse(label))
    torchs = run(spec, task, Trial("torch-sgd:momentum=0.9", {"lr": 0.05}, 3, "final"), parse("torch-sgd:momentum=0.9"))
    assert ours.losses == pytest.approx(torchs.losses, rel=1e-5)
    assert ours.losses[-1] < ours.losses[0]
    assert ours.metrics["test_loss"] == pytest.approx(torchs.metrics["test_loss"], rel=1e-5)


def test_beta1_and_beta2_may_be_hyperparameters_of_their_own(rules, task):
    label = "rules.py:Named"
    assert list(default_space(parse(label))) == ["lr", "beta1"]
    spec = declare(task, TASK, parse_all([label, "torch-adam"]), points=1, seeds=2, steps=30)
    point = {"lr": 0.02, "beta1": 0.6, "beta2": 0.8}
    ours, torchs = (run(spec, task, Trial(name, point, 3, "final"), parse(name)) for name in (label, "torch-adam"))
    assert ours.losses == pytest.approx(torchs.losses, rel=1e-5)
    assert ours.losses[-1] < ours.losses[0]


def test_the_label_stays_and_options_are_read(rules, task):
    found = specs.parse(" rules.py:Heavy:momentum=0.5 ", task.name)
    assert (found.label, found.name) == ("rules.py:Heavy:momentum=0.5", "rules.py:Heavy")
    assert found.options == {"momentum": 0.5}, "no rate of a task for a rule that nobody knows"
    assert not found.reference
    assert (found.given, found.code) == ({"momentum": 0.5}, "rules.py")
    assert specs.parse("rules.py:Heavy", task.name, 0.25).options == {"lr": 0.25}
    assert specs.parse("rmsprop").code == ""
    with pytest.raises(OptionError, match="adam has no option 'note'"):
        specs.parse("adam:note='a.py:b'")
    Path("adam-like.py").write_text(RULES.replace("Heavy", "Adam"))
    assert specs.parse("adam-like.py:Adam", task.name).options == {}
    with pytest.raises(OptionError, match="'rules.py:heavy' is given twice"):
        specs.parse_all(["rules.py:heavy", "rules.py:heavy"], task.name)


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("rules.py:Heavy:momentun=1", "rules.py:Heavy has no option 'momentun'. Did you mean 'momentum'"),
        ("rules.py:heavy:lr=0.1", "rules.py:heavy needs momentum: rules.py:heavy:lr=0.1,momentum=...$"),
        ("rules.py:heavy", "rules.py:heavy needs lr, momentum: rules.py:heavy:lr=...,momentum=...$"),
        ("rules.py:Heavy:lr=-1", r"^rules.py:Heavy:lr=-1: lr=-1 .*at least 0"),
        ("rules.py:Heavy:lr", "'lr' is not key=value"),
    ],
)
def test_options_that_cannot_be(rules, task, label, text):
    with pytest.raises(OptionError, match=text):
        specs.parse(label, task.name).build([torch.nn.Parameter(torch.ones(1))])


def test_a_rule_without_a_rate_is_given_none(rules, task):
    with pytest.raises(OptionError, match="rules.py:scaled has no learning rate, but one was given for all"):
        specs.parse("rules.py:scaled", task.name, 0.1)


def test_a_slip_in_a_step_is_told_with_its_line(rules, task):
    where = rf"undefined_name.* is not defined \(.*rules\.py, line {SLIP_LINE}\)$"
    slip = specs.parse("rules.py:Slip", task.name)
    with pytest.raises(TrainingError, match=f"A first step of rules.py:Slip on {TASK} fails: NameError: .*{where}"):
        dry_run(task, slip)
    with pytest.raises(OptionError, match=f"rules.py:Slip: its step fails: .*{where}"):
        trajectories.dry_run(slip, surfaces.find("ravine")[1], (0.1, 0.2))


# --- studies --------------------------------------------------------------------------------------------------------


def test_where_it_is_looked_for(rules):
    default = {"lr": Range(1e-4, 1.0)}
    assert default_space(parse("rules.py:Heavy")) == {"lr": Range(1e-3, 0.1), "momentum": Range(0.1, 0.99)}
    assert default_space(parse("rules.py:Heavy:momentum=0.9")) == {"lr": Range(1e-3, 0.1)}
    assert default_space(parse("rules.py:half")) == {"lr": Range(0.1, 0.9)}
    assert (
        default_space(parse("rules.py:heavy:momentum=0.9"))
        == default_space(parse("rules.py:Open:momentum=0.9"))
        == default
    )
    assert default_space(parse("rules.py:scaled")) == {}
    assert default_space(parse("rules.py:Slip")) == default


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("rules.py:Wrong", "`hypers` of rules.py:Wrong: there is no option 'moment'. Did you mean 'momentum'"),
        ("rules.py:Wide", "`hypers` of rules.py:Wide, lr: from 1e-09 to 1 is more than 4 powers of ten"),
        ("rules.py:Text", r"`hypers` of rules.py:Text: hypers of Text is \{'lr': 'all'\}; write \{"),
        ("rules.py:heavy", "rules.py:heavy needs momentum: "),
        ("rules.py:scaled", "rules.py:scaled needs rate: "),
        ("rules.py:Havy", "Did you mean 'Heavy'"),
    ],
)
def test_what_cannot_be_declared(rules, task, label, text):
    with pytest.raises(OptionError, match=text):
        declare(task, TASK, parse_all([label]))


def test_a_space_file_may_search_what_has_no_default(rules, task, tmp_path):
    space = tmp_path / "space.toml"
    space.write_text('["rules.py:scaled"]\nrate = { low = 0.01, high = 1.0 }\n')
    spec = declare(task, TASK, parse_all(["rules.py:scaled"]), space=space)
    assert spec.config("rules.py:scaled").space == {"rate": Range(0.01, 1.0)}


def test_another_content_is_another_spec(rules, task):
    def declared():
        return declare(task, TASK, parse_all(["rules.py:Heavy", "./rules.py:half", "sgd"]), points=2, seeds=2, steps=5)

    first = declared()
    assert {"rules.py", "./rules.py", "ravine", "torch"} == set(first.versions)
    assert declared().hash == first.hash
    assert StudySpec.from_json(first.to_json()).hash == first.hash
    rules.write_text(RULES + "# a remark\n")
    second = declared()
    assert second.hash != first.hash
    lines = second.differences(first)
    assert lines[1] == f"rules.py: {first.versions['rules.py']} in the study, {second.versions['rules.py']} now"
    assert len(lines) == 2
    assert second.differences(declare(task, TASK, parse_all(["sgd", "rules.py:Heavy"]), points=2, seeds=2, steps=5))[
        0
    ].startswith("./rules.py: none in the study, sha256:")


def study(task, named=TASK):
    spec = declare(task, named, parse_all(["rules.py:Heavy:momentum=0.9"]), points=2, seeds=2, steps=5)
    store = Store("study", "journal.log")
    store.create(spec)
    return store, spec


def test_a_study_runs_and_is_refused_where_the_file_is_another(rules, task):
    store, spec = study(task)
    rules.write_text(RULES.replace("param - lr", "param + lr"))
    with pytest.raises(
        DataError, match=r"^rules\.py is not the file .*sha256:\w+ here .*Bring that file back"
    ) as caught:
        work(store, spec, task)
    assert spec.versions["rules.py"] in str(caught.value)
    assert not store.results()
    with pytest.raises(OptionError, match="was declared differently: rules.py: sha256:"):
        study(task)
    rules.write_text(RULES)
    assert work(store, spec, task).name == "done"
    assert all(not o.error and math.isfinite(o.score) for o in store.results().values())


def test_a_worker_in_another_folder_says_where_to_start_it(rules, task, tmp_path, monkeypatch):
    store, spec = study(task)
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    with pytest.raises(DataError, match=r"needs rules\.py, which is not in .*else\. Start the worker in the folder"):
        work(store, spec, task)
    monkeypatch.chdir(tmp_path)
    assert work(store, spec, task).name == "done"


@pytest.mark.slow  # whole comparisons
def test_a_file_that_changes_while_trials_run_does_not_change_them(rules, task):
    expected_store, spec = study(task)
    work(expected_store, spec, task)
    expected_results = expected_store.results()
    Path("journal.log").unlink()
    store, spec = study(task)

    def spoil(*_):
        rules.write_text(RULES.replace("param - lr", "param + lr"))

    assert work(store, spec, task, spoil).name == "done"
    scores = [{**o.to_tree(), "seconds": 0} for o in store.results().values()]
    assert sorted(map(str, scores)) == sorted(str({**o.to_tree(), "seconds": 0}) for o in expected_results.values())


def test_the_command_refuses_before_it_runs_the_task(rules):
    Path("my_task.py").write_text(
        f"from ravine.tasks._cancer import task as _made\ndef task(): return _made({TASK!r})\n"
    )
    study(tasks.find("my_task.py"), "my_task.py")
    Path("my_task.py").write_text("raise SystemExit('run')\n")
    command = ravine.cli._ravine.get_command(None, "worker")
    result = CliRunner().invoke(command, ["--study", "study", "--storage", "journal.log"])
    assert isinstance(result.exception, DataError)
    assert str(result.exception).startswith("my_task.py is not the file that the study was made with")
