"""From what a user asks for to a spec that says all of it."""

from __future__ import annotations

import pytest

from ravine.comparison._study.declare import PRESETS, declare
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.errors import OptionError
from ravine.optim import _registry as registry
from ravine.optim._search_space import DECADES, default_space
from ravine.optim._spec import parse, parse_all, special_cases
from ravine.optim.search import Range
from ravine.tasks import find

TASK = find("breast-cancer")


def test_every_optimizer_has_a_space_of_at_most_four_decades():
    for name in registry.names():
        space = default_space(parse(name))
        assert "lr" in space
        assert space["lr"].high / space["lr"].low <= 10**DECADES * (1 + 1e-9)


def test_what_is_given_is_not_searched():
    assert default_space(parse("sgd:lr=0.1")) == {}
    assert default_space(parse("torch-rmsprop:alpha=0.9")) == {"lr": Range(1e-5, 0.1)}
    assert default_space(parse("adam:betas=(0.5, 0.6)")) == {"lr": Range(1e-5, 0.1)}
    assert default_space(parse("momentum:momentum=0.5")) == default_space(parse("sgd")) == {"lr": Range(1e-3, 10.0)}


@pytest.mark.parametrize(
    ("general", "special"), [("momentum", "sgd"), ("nesterov", "sgd"), ("adam", "rmsprop"), ("adamw", "rmsprop")]
)
def test_a_general_optimizer_can_become_its_special_case(general, special):
    assert special in special_cases()[general]
    space = default_space(parse(general))
    (factor,) = set(space) - {"lr"}
    assert space[factor].low == 0, "without momentum it is the special case"
    assert space["lr"] == default_space(parse(special))["lr"]


def test_a_space_has_one_order_however_it_is_written():
    lr, beta, eps = Range(1e-4, 1.0), Range(0.9, 0.99, "complement"), Range(1e-8, 1e-6)
    one, other = (
        OptimizerConfig("adam", {"eps": eps, "beta1": beta, "lr": lr}),
        OptimizerConfig("adam", {"lr": lr, "eps": eps, "beta1": beta}),
    )
    assert list(one.space) == list(other.space) == ["lr", "beta1", "eps"]


def test_a_preset_and_what_changes_it():
    quick = declare(TASK, "breast-cancer", parse_all(["sgd", "rmsprop:alpha=0.9"]), preset="quick")
    assert (quick.points, quick.seeds) == (PRESETS["quick"].points, PRESETS["quick"].seeds)
    assert [config.label for config in quick.optimizers] == ["sgd", "rmsprop:alpha=0.9"]
    own = declare(TASK, "breast-cancer", parse_all(["sgd"]), points=3, seeds=2, steps=7, schedule="cosine")
    assert (own.points, own.seeds, own.steps, own.schedule) == (3, 2, 7, "cosine")
    assert own.versions.keys() == {"ravine", "torch"}
    assert StudySpec.from_json(own.to_json()).hash == own.hash
    standard = declare(TASK, "breast-cancer", parse_all(["sgd"]))
    rows = round(len(TASK.train) * 0.8)
    assert standard.steps == TASK.epochs * -(-rows // TASK.batch_size)


def test_a_space_ends_where_the_hyperparameter_does():
    linear = Range(0.0, 0.1, "linear")
    optimizers = parse_all(["adamw", "torch-adamw"])
    spec = declare(
        TASK, "breast-cancer", optimizers, space={label: {"weight_decay": linear} for label in ("adamw", "torch-adamw")}
    )
    for config in spec.optimizers:
        assert not config.space["weight_decay"].open("low")
        assert config.space["weight_decay"].open("high")
    assert StudySpec.from_json(spec.to_json()) == spec
    with pytest.raises(
        OptionError, match="adamw: weight_decay from -1 to 1 is searched, but it must be a finite number of at l"
    ):
        declare(TASK, "breast-cancer", optimizers, space={"adamw": {"weight_decay": Range(-1, 1, "linear")}})


def test_a_study_without_such_ends_is_written_as_before():
    """Else no study of an older version could be resumed."""
    text = declare(TASK, "breast-cancer", parse_all(["sgd", "adam", "rmsprop"])).to_json()
    assert "least" not in text
    assert "most" not in text


def test_a_space_file_takes_the_place_of_the_usual_one(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text(
        '[sgd]\nlr = { low = 0.01, high = 1.0 }\n["rmsprop:alpha=0.9"]\neps = { low = 1e-9, high = 1e-5 }\n'
    )
    spec = declare(TASK, "breast-cancer", parse_all(["sgd", "rmsprop:alpha=0.9", "adam"]), space=file)
    assert spec.config("sgd").space == {"lr": Range(0.01, 1.0)}
    assert spec.config("rmsprop:alpha=0.9").space == {"eps": Range(1e-9, 1e-5)}
    assert spec.config("adam").space == default_space(parse("adam"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"preset": "quik"}, "Did you mean 'quick'"),
        ({"points": 0}, "points = 0"),
        ({"seeds": -1}, "seeds = -1"),
        ({"steps": 0}, "steps = 0"),
    ],
)
def test_what_cannot_be_declared(options, text):
    with pytest.raises(OptionError, match=text):
        declare(TASK, "breast-cancer", parse_all(["sgd"]), **options)
    with pytest.raises(OptionError, match="Did you mean 'adam'"):
        declare(TASK, "breast-cancer", parse_all(["adm"]))
