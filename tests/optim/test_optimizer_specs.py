"""Specifications of optimizers: what they mean, and what is said about those that mean nothing."""

import shlex
import types

import pytest
import torch

from ravine import tasks
from ravine.errors import OptionError
from ravine.optim import _spec as specs


@pytest.fixture(scope="module")
def task():
    return tasks.find("ravine")


def built(spec, task, lr=None):
    return specs.parse(spec, task.name, lr).build([torch.nn.Parameter(torch.ones(2))])


def test_options_are_python_literals(task):
    optimizer = built("torch-adam:betas=(0.8, 0.95),lr=1e-3,amsgrad=True,eps=1e-6", task)
    assert type(optimizer) is torch.optim.Adam
    expected = {"betas": (0.8, 0.95), "lr": 1e-3, "amsgrad": True, "eps": 1e-6}
    assert expected.items() <= optimizer.defaults.items()


def test_names_are_ours_or_torchs(task):
    ours = built("momentum:nesterov=True", task)
    assert type(ours).__module__.startswith("ravine.")
    assert (ours.defaults["momentum"], ours.defaults["nesterov"]) == (0.9, True)
    assert built("momentum:momentum=0.5", task).defaults["momentum"] == 0.5
    assert not specs.parse("rmsprop", task.name).reference
    assert specs.parse(" Torch-RMSprop ", task.name).reference
    for spec in specs.DEFAULTS:
        assert specs.parse(spec, task.name).label == spec


def test_the_learning_rate_is_the_specs_then_the_one_for_all_then_the_tasks_then_the_optimizers(task):
    def rate(spec, lr=None):
        return built(spec, task, lr).defaults["lr"]

    assert rate("sgd:lr=0.5", lr=0.25) == 0.5
    assert rate("sgd", lr=0.25) == 0.25
    assert rate("rmsprop") == rate("torch-rmsprop:alpha=0.9") == rate("rmsprop-keras") == 0.1
    assert rate("rmsprop-keras", lr=0.25) == 0.25
    assert rate("torch-lbfgs") == torch.optim.LBFGS([torch.nn.Parameter(torch.ones(1))]).defaults["lr"]


@pytest.mark.parametrize("name", tasks.names())
def test_every_default_candidate_has_a_rate_for_every_task(name):
    stub = types.SimpleNamespace(name=name)  # nothing else decides a rate, and most tasks read files
    for spec in specs.DEFAULTS:
        assert specs.parse(spec, stub.name).options["lr"] > 0


def test_words_of_a_few_options_need_no_quotes(task):
    for text in ("state_dtype=8bit,param_bits=24,nonfinite=skip", "state_dtype='8bit',param_bits=24,nonfinite='skip'"):
        options = specs.parse(f"adamw:{text}", task.name).options
        assert [options[n] for n in ("state_dtype", "param_bits", "nonfinite")] == ["8bit", 24, "skip"]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("rmsporp", "no optimizer 'rmsporp'. Did you mean 'rmsprop'"),
        ("torch-rmsporp", "Did you mean 'torch-rmsprop'"),
        ("", "no optimizer ''"),
        ("rmsprop:alhpa=0.9", "rmsprop has no option 'alhpa'. Did you mean 'alpha'"),
        ("torch-adam:beta=0.9", "torch-adam has no option 'beta'. Did you mean 'betas'"),
        ("adam:beta1=0.8", r"adam has no option 'beta1': give both, betas=\(0.8, 0.999\)\.$"),
        ("torch-adam:lr=0.1,beta2=0.9", r"give both, betas=\(0.9, 0.9\)\.$"),
        ("adam,sgd", "'adam,sgd' are 2 optimizers: give each by itself, \\['adam', 'sgd'\\]"),
        ("sgd:params=1", "no option 'params'"),
        ("adam:", "'adam:' has a colon and no option behind it: write 'adam', or 'adam:lr=0.01'"),
        ("adam:betas=0.9,0.99", r"several numbers of one option stand in \( \): 'adam:betas=\(0.9,0.99\)'\.$"),
        ("adam:lr=1e-3,betas=0.9, .99,eps=1", r"stand in \( \): 'adam:lr=1e-3,betas=\(0.9, .99\),eps=1'\.$"),
        ("rmsprop:0.9", "'0.9' is not key=value"),
        ("rmsprop:alpha", "'alpha' is not key=value"),
        ("rmsprop:alpha=", "is not key=value"),
        ("rmsprop:alpha=0.9)(eps=1", "is not key=value"),
        ("rmsprop:**{}", "is not key=value"),
        ("rmsprop:alpha=0.9,alpha=0.8", "alpha is given twice"),
        ("rmsprop:alpha=" + "(" * 300, "is not key=value"),
        ("rmsprop:alpha=print(1)", r"the value print\(1\) of alpha is not a number"),
        ("rmsprop:alpha=zero", "the value zero of alpha is not a number"),
    ],
)
def test_a_spec_without_a_meaning_says_why(task, spec, text):
    with pytest.raises(OptionError, match=text):
        specs.parse(spec, task.name)


def test_forgotten_brackets_are_written_with_the_quotes_that_a_shell_needs():
    with pytest.raises(OptionError) as error:
        specs.parse("adam:betas=0.9,0.99")
    written = error.value.on_command_line.rpartition(": ")[2].removesuffix(".")
    option, spec = shlex.split(written)
    assert option == "-o"
    assert specs.parse(spec).options["betas"] == (0.9, 0.99)


@pytest.mark.parametrize(
    "spec",
    [
        "rmsprop:alpha=-1",
        "torch-rmsprop:alpha=-1",
        "torch-adam:lr='a'",
        "torch-adam:betas=(0.9,)",
        "sgd:lr=-0.1",
        "torch-sgd:nesterov=True",
    ],
)
def test_an_impossible_value_is_one_line_that_names_the_optimizer(task, spec):
    with pytest.raises(OptionError) as caught:
        built(spec, task)
    assert str(caught.value).startswith(f"{spec}: ")
    assert "\n" not in str(caught.value)


def test_the_same_spec_twice_is_refused(task):
    with pytest.raises(OptionError, match="'adam' is given twice"):
        specs.parse_all(["adam", "sgd", " adam"], task.name)
    assert [c.label for c in specs.parse_all(["adam", "adam:lr=1"], task.name)] == ["adam", "adam:lr=1"]
