"""Optimizers that are named as Python has them: what they are called, what is trained, and what other processes need."""

import dataclasses
import functools
import html
import json
import sys
from functools import partial

import pytest
import torch

import ravine
from ravine.comparison import Result, complement, linear, log
from ravine.errors import DataError, OptionError
from ravine.optim import Adam, Optimizer, RMSprop
from ravine.optim._spec import parse
from ravine.optim._spec_objects import spec_of, specs_of
from ravine.optim.search import Range

#: One point of each space: five trials for each optimizer.
SMALL = {"preset": "quick", "points": 1, "seeds": 2, "steps": 8, "quiet": True}


class Plain(torch.optim.SGD):
    """A class of this module: another process can import it."""


def plain(params, lr=0.1, momentum=0.0):
    """A function of this module, with options."""
    return torch.optim.SGD(params, lr=lr, momentum=momentum)


def heavy(param, buffer=0.0, *, grad, lr, momentum):
    """A piece of a formula."""
    buffer = momentum * buffer + grad
    return param - lr * buffer, buffer


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study of two labelled optimizers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("finished"))
        options = {**SMALL, "points": 3}
        return ravine.compare("breast-cancer", {"<b>$x$": "sgd", "Adam": Adam}, **options, jobs=1)


def results(result):
    return json.dumps({k: {**r.to_tree(), "seconds": 0} for k, r in result.trial_results.items()}, sort_keys=True)


def scores(result, label):
    """The scores of an optimizer, by point, seed and kind."""
    return {(tuple(t.point.items()), t.seed, t.kind): r.score for t, r in result.record.trials if t.label == label}


def step(spec):
    """A parameter after a step of that optimizer."""
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    parameter.grad = torch.tensor([0.5, 1.0])
    spec.build([parameter]).step()
    return parameter.detach()


# --- what they are called -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (RMSprop, "rmsprop"),
        (torch.optim.Adam, "torch-adam"),
        (partial(RMSprop, alpha=0.9), "rmsprop:alpha=0.9"),
        (partial(torch.optim.Adam, betas=(0.8, 0.9), eps=1e-6), "torch-adam:betas=(0.8, 0.9),eps=1e-06"),
        (partial(partial(RMSprop, alpha=0.9), alpha=0.5, eps=1e-6), "rmsprop:alpha=0.5,eps=1e-06"),
        (Plain, f"{__name__}:Plain"),
        (partial(Plain, momentum=0.9), f"{__name__}:Plain:momentum=0.9"),
        (plain, f"{__name__}:plain"),
        ("adam:eps=1e-6", "adam:eps=1e-6"),
    ],
)
def test_an_optimizer_has_a_text_that_reads_as_the_same_one(value, text):
    spec = spec_of(value)
    assert spec.text == spec.label == text
    again = parse(spec.text)
    assert (again.factory, again.given, again.code) == (spec.factory, spec.given, spec.code)
    at = {"lr": 0.1}
    assert torch.equal(step(spec.at(at)), step(again.at(at)))


def test_what_no_other_process_can_find_has_no_text():
    class Local(torch.optim.SGD):
        pass

    made = [lambda params: torch.optim.SGD(params, lr=0.1), Local, partial(RMSprop, lr=torch.tensor(0.1))]
    assert [spec_of(value).text for value in made] == ["", "", ""]
    assert [spec_of(value).label for value in made[:2]] == ["<lambda>", "Local"]
    spec = spec_of(made[0], "mine")
    assert (spec.label, spec.text) == ("mine", "")
    assert torch.equal(step(spec), step(parse("torch-sgd:lr=0.1")))


def test_a_class_of_the_program_that_runs_has_no_text(monkeypatch):
    monkeypatch.setattr(Plain, "__module__", "__main__")
    assert spec_of(Plain).text == ""


def test_one_several_or_labelled():
    assert [s.label for s in specs_of("adam")] == ["adam"]
    assert [s.label for s in specs_of(RMSprop)] == ["rmsprop"]
    assert [s.label for s in specs_of(partial(RMSprop, alpha=0.9))] == ["rmsprop:alpha=0.9"]
    assert [s.label for s in specs_of(["adam", RMSprop, torch.optim.RMSprop])] == ["adam", "rmsprop", "torch-rmsprop"]
    labelled = specs_of({" RMSprop ": partial(RMSprop, alpha=0.9), "text": "adam:eps=1e-6"})
    assert [(s.label, s.text) for s in labelled] == [("RMSprop", "rmsprop:alpha=0.9"), ("text", "adam:eps=1e-6")]
    assert [s.label for s in specs_of(name for name in ("sgd", "adam"))] == ["sgd", "adam"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3 names no optimizer: give text such as"),
        (None, "None names no optimizer"),
        (torch.nn.Linear, "The class Linear is not derived from torch.optim.Optimizer"),
        (heavy, r"heavy is a piece of a formula. Put it in a file and name it 'my_rule.py:heavy'"),
        (partial(RMSprop, alhpa=0.9), "rmsprop has no option 'alhpa'. Did you mean 'alpha'"),
        (partial(RMSprop, [1]), r"partial\(RMSprop, \[1\]\): give options by their names"),
        ({3: "adam"}, "The label 3 is not text"),
        ({"": "adam"}, "The label '' is not text"),
        ({"a": 3}, "3 names no optimizer"),
        (["adam", Adam], "'adam' is given twice"),
        ("no.such.module:Rule", "There is no optimizer 'no.such.module'"),
        ("torch.optim:Adma", "The module torch.optim has no 'Adma'"),
        ("torch.optim:Adam:bets=1", "has no option 'bets'. Did you mean 'betas'"),
        ("math:pi", "pi in math is a float"),
    ],
)
def test_what_names_no_optimizer_says_what_does(value, text):
    with pytest.raises(OptionError, match=text):
        specs_of(value)


def test_an_optimizer_that_is_made_already_is_refused():
    made = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(OptionError, match=r"This Adam is made already.*partial\(Adam, lr=\.\.\.\)"):
        specs_of([made])


def test_a_function_that_makes_no_optimizer_says_so():
    with pytest.raises(OptionError, match="mine: .* returns None, not an optimizer"):
        spec_of(lambda params: None, "mine").build([torch.nn.Parameter(torch.zeros(1))])


def test_a_module_that_raises_is_told(tmp_path, monkeypatch):
    (tmp_path / "a_broken_rule.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataError, match="The module a_broken_rule cannot be imported: ZeroDivisionError"):
        parse("a_broken_rule:Rule")


# --- comparisons of them --------------------------------------------------------------------------------------------


def test_one_text_alone_is_one_optimizer():
    result = ravine.compare("breast-cancer", "adam", **SMALL, jobs=1)
    assert [config.label for config in result.spec.optimizers] == ["adam"]


def test_classes_train_as_their_texts_do():
    by_class = ravine.compare("breast-cancer", [RMSprop, torch.optim.Adam], **SMALL, jobs=1)
    by_text = ravine.compare("breast-cancer", ["rmsprop", "torch-adam"], **SMALL, jobs=1)
    assert by_class.spec == by_text.spec
    assert results(by_class) == results(by_text)
    assert by_class.origin.command.startswith("ravine compare breast-cancer -o rmsprop -o torch-adam")


def test_labels_and_spaces_of_a_dict_and_what_stays_fixed():
    space = {"RMSprop": {"lr": log(1e-3, 0.1), "eps": log(1e-9, 1e-5)}, "mine": {"momentum": linear(0.0, 0.9)}}
    result = ravine.compare(
        "breast-cancer",
        {"RMSprop": partial(RMSprop, alpha=0.9), "Adam": Adam, "mine": partial(plain, lr=0.05)},
        **SMALL,
        jobs=1,
        space=space,
    )
    assert [config.label for config in result.spec.optimizers] == ["RMSprop", "Adam", "mine"]
    assert [config.source for config in result.spec.optimizers] == [
        *("rmsprop:alpha=0.9", "adam"),
        f"{__name__}:plain:lr=0.05",
    ]
    assert dict(result.spec.config("RMSprop").space) == {"lr": Range(1e-3, 0.1), "eps": Range(1e-9, 1e-5)}
    points = [dict(t.point) for t, _ in result.record.trials if t.label == "mine"]
    assert all(set(point) == {"momentum"} and 0 <= point["momentum"] <= 0.9 for point in points)
    assert result.origin.command == "", "a command line has no labels"
    entries = {entry.label: entry for entry in result.report.optimizers}
    assert entries["RMSprop"].given == {"alpha": "0.9"}
    assert entries["RMSprop"].formula.lines
    assert "RMSprop" in result.judgement.sentence


def test_a_function_trains_as_its_optimizer_does():
    mine = ravine.compare("breast-cancer", {"mine": lambda params: RMSprop(params, lr=0.01)}, **SMALL)
    text = ravine.compare("breast-cancer", {"mine": "rmsprop:lr=0.01,alpha=0.99"}, **SMALL, jobs=1)
    kinds = [(0, "tune"), (2, "tune"), (1, "final"), (3, "final")]
    assert scores(mine, "mine") == scores(text, "mine")
    assert list(scores(mine, "mine")) == [((), seed, kind) for seed, kind in kinds], "nothing to tune"


def test_an_optimizer_with_a_label_is_still_known_by_its_kind(finished):
    assert [each.kind for each in finished.record.runs] == ["sgd", "adam"]


@pytest.mark.slow  # worker processes
def test_other_processes_find_classes_partials_and_functions_again(forked_workers):
    optimizers = {"class": Plain, "partial": partial(Plain, momentum=0.9), "function": plain, "ours": RMSprop}
    one = ravine.compare("breast-cancer", optimizers, **SMALL, jobs=1)
    two = ravine.compare("breast-cancer", optimizers, **SMALL, jobs=2)
    assert results(one) == results(two)


def test_what_only_this_process_has_runs_here_and_is_refused_elsewhere():
    mine = {"mine": lambda params: torch.optim.SGD(params, lr=0.1)}
    result = ravine.compare("breast-cancer", mine, **SMALL, out="here")
    assert result.record.stage.name == "done"
    for options in ({"jobs": 2}, {"study": "shared"}, {"storage": "shared.journal"}):
        with pytest.raises(OptionError, match=r"'mine' was made here .* put it in a file, and name it 'my_rule\.py:"):
            ravine.compare("breast-cancer", mine, **SMALL, **options)
    with pytest.raises(OptionError, match="The folder here has a study, which cannot be resumed"):
        ravine.compare("breast-cancer", mine, **SMALL, out="here")


def test_a_changed_module_is_another_study(tmp_path, monkeypatch):
    module = tmp_path / "a_rule_in_a_module.py"
    module.write_text("from torch.optim import SGD\nclass Rule(SGD):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import a_rule_in_a_module

    result = ravine.compare("breast-cancer", a_rule_in_a_module.Rule, **SMALL, jobs=1, study="mine")
    assert result.spec.versions["a_rule_in_a_module"].startswith("sha256:")
    module.write_text(module.read_text() + "# changed\n")
    with pytest.raises(OptionError, match=r"a_rule_in_a_module: sha256:\w+ in the study, sha256:\w+ now"):
        ravine.compare("breast-cancer", a_rule_in_a_module.Rule, **SMALL, jobs=1, study="mine")
    from ravine.comparison._study.code_versions import load_optimizers

    with pytest.raises(DataError, match="The module a_rule_in_a_module is not the one that the study was made with"):
        load_optimizers(result.spec)
    monkeypatch.delitem(sys.modules, "a_rule_in_a_module")
    module.unlink()
    with pytest.raises(DataError, match="needs the module a_rule_in_a_module, which cannot be imported here"):
        load_optimizers(result.spec)


@pytest.mark.parametrize(
    ("optimizers", "text"),
    [
        (["sgd:lr=0.1", "sgd:lr=.1"], r"'sgd:lr=0\.1' and 'sgd:lr=\.1' are the same optimizer"),
        (["adam", "adam:eps=1e-8"], "'adam' and 'adam:eps=1e-8' are the same optimizer"),
        ({"one": RMSprop, "two": "rmsprop"}, "'one' and 'two' are the same optimizer .* leave one out, or give"),
    ],
)
def test_two_labels_of_one_optimizer_are_refused(tmp_path, optimizers, text):
    with pytest.raises(OptionError, match=text):
        ravine.compare("breast-cancer", optimizers, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_one_optimizer_in_two_spaces_is_two():
    space = {"narrow": {"lr": log(0.01, 0.1)}}
    result = ravine.compare("breast-cancer", {"wide": "sgd", "narrow": "sgd"}, **SMALL, jobs=1, space=space)
    assert len(result.report.results) == 2


@pytest.mark.parametrize(
    ("space", "text"),
    [
        ({"RMSProp": {"lr": log(1e-3, 0.1)}}, r"space\['RMSProp'\]: 'RMSProp' is not among the optimizers. Did you mean 'RMSprop'"),
        ({"RMSprop": {}}, r"space\['RMSprop'\] is \{\}; give at least"),
        ({"RMSprop": {"lr": (1e-3, 0.1)}}, r"space\['RMSprop'\]\['lr'\] is \(0.001, 0.1\); write log\(1e-5, 0.1\)"),
        ({"RMSprop": {"lr": log(1e-6, 1.0)}}, r"space\['RMSprop'\]\['lr'\]: from 1e-06 to 1 is more than 4 powers of ten"),
        ({"RMSprop": {"alhpa": complement(0.9, 0.99)}}, "RMSprop has no 'alhpa' to search. Did you mean 'alpha'"),
        ({"RMSprop": {"eps": log(1e-9, 1e-6)}}, "RMSprop: eps is both set and searched; leave one out"),
        ("none.toml", "The space file none.toml cannot be read"),
    ],
)  # fmt: skip
def test_a_space_that_cannot_be_says_why(space, text):
    with pytest.raises(OptionError, match=text):
        ravine.compare("breast-cancer", {"RMSprop": partial(RMSprop, eps=1e-6)}, **SMALL, space=space)


def test_the_public_face():
    import ravine.comparison

    assert dir(ravine.comparison) == sorted(ravine.comparison.__all__)
    assert ravine.comparison.compare is ravine.compare
    assert Result.__module__.startswith("ravine.comparison")
    for name in ravine.comparison.__all__:
        assert getattr(ravine.comparison, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        ravine.comparison.nothing  # noqa: B018


def test_everything_a_user_can_hold_has_a_repr_of_one_line(finished):
    result = finished
    record, data = result.record, result.report
    trial, trial_result = record.trials[0]
    held = [result, record, data, result.judgement, result.spec, result.origin, trial, trial_result, record.stage]
    held += [record.runs[0], record.runs[0].runs[0], record.runs[0].trials[0], record.optimizers["Adam"], log(0.1, 1.0)]
    held += [
        result.judgement.losses,
        *result.judgement.losses.standings,
        *result.judgement.budget.values(),
        result.judgement.target,
    ]
    held += [*result.judgement.steps.values(), *result.judgement.selection_bias.values(), *data.curves.values()]
    held += [data.results[0], data.optimizers[0], record.stage.tunings[0], data.sensitivity["lr"], spec_of(RMSprop)]
    for thing in held:
        text = repr(thing)
        assert "\n" not in text
        assert len(text) < 200, text


def test_a_result_is_printed_as_its_table_with_the_verdict_first(monkeypatch, finished):
    monkeypatch.setenv("COLUMNS", "80")
    result = finished
    lines = str(result).splitlines()
    assert lines[0] == result.judgement.sentence
    table = "\n".join(lines[3 : lines.index(next(line for line in lines if line.startswith("The report also has")))])
    assert max(map(len, table.splitlines())) <= 80
    for row in result.report.results:
        assert row.label in table
    assert result.judgement.target.sentence in lines
    page = result._repr_html_()
    assert "&lt;b&gt;$x$" in page
    assert "<b>$x$" not in page
    assert page.count("<tr") == 3
    for row in result.report.differences["validation loss"].rows:
        assert f'aria-label="{row.interval_text}"' in page
        assert f"</svg>{row.interval_text}</td>" in page
    assert page.count('style="float:left') == 2  # all lines of no difference stand below each other
    assert "right of the line is worse" in page
    assert f"</style><p><strong>{html.escape(result.judgement.sentence)}</strong></p>" in page
    assert html.escape(result.judgement.target.sentence) in page


def test_a_study_that_is_not_complete_prints_in_one_line(finished):
    result = Result(dataclasses.replace(finished.record, results={}))
    text = "Result(breast-cancer: <b>$x$, Adam; 0 trials, Stage(tune, 0 of 12 trials done))"
    assert str(result) == repr(result) == text
    assert result._repr_html_() == html.escape(text)


def test_pandas_that_is_absent_is_told_how_to_install(monkeypatch, finished):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for table in (finished.trials, finished.curves, finished.differences):
        with pytest.raises(ImportError, match=r"pip install pandas"):
            table()


def test_wrapped_functions_keep_their_options():
    @functools.wraps(plain)
    def wrapped(*arguments, **options):
        return plain(*arguments, **options)

    assert spec_of(partial(wrapped, lr=0.3), "w").given == {"lr": 0.3}
    assert isinstance(spec_of(wrapped, "w").build([torch.nn.Parameter(torch.zeros(1))]), torch.optim.SGD)
    assert not issubclass(Plain, Optimizer)


def test_a_task_that_is_a_function_is_to_be_called():
    def my_task():
        return ravine.tasks.find("digits")

    with pytest.raises(OptionError, match=r"Call the function that makes it: my_task\(\)\.$"):
        ravine.compare(my_task, ["sgd", "adam"])
    with pytest.raises(OptionError, match="A task is its name, the path of a .py file with one, or a .*; got 7"):
        ravine.compare(["digits", 7], ["sgd", "adam"])
