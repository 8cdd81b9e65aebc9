"""From what a user asks for to a spec that says all of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ravine.comparison._study.declare import PRESETS, declare
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.errors import OptionError
from ravine.optim import _registry as registry
from ravine.optim._search_space import DECADES, default_space
from ravine.optim._spec import parse, parse_all, special_cases
from ravine.optim.search import Range
from ravine.tasks import Data, Task, find

TASK = find("breast-cancer")


def test_every_optimizer_has_a_space_of_at_most_four_decades():
    for name in registry.names():
        space = default_space(parse(name))
        rate = space.get("lr") or space["d_coef"]  # Prodigy finds its rate, up to this factor
        assert rate.high / rate.low <= 10**DECADES * (1 + 1e-9)


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
    assert (quick.points, quick.looks) == (PRESETS["quick"].points, PRESETS["quick"].looks) == (8, (8, 11, 14, 17, 20))
    assert [config.label for config in quick.optimizers] == ["sgd", "rmsprop:alpha=0.9"]
    own = declare(
        TASK,
        "breast-cancer",
        parse_all(["sgd"]),
        points=3,
        seeds=2,
        steps=7,
        schedule="cosine",
        margin="1%",
        study_seed=5,
    )
    assert (own.points, own.looks, own.steps, own.schedule) == (3, (2,), 7, "cosine")
    assert (own.margin, own.seed, own.ratio) == ("1%", 5, False)
    assert own.versions.keys() == {"ravine", "torch"}
    assert StudySpec.from_json(own.to_json()).hash == own.hash
    standard = declare(TASK, "breast-cancer", parse_all(["sgd"]))
    rows = round(len(TASK.train) * 0.8)
    assert standard.steps == TASK.epochs * -(-rows // TASK.batch_size)


@pytest.mark.parametrize(
    ("options", "looks"),
    [
        ({}, (10,)),
        ({"preset": "quick"}, (8, 11, 14, 17, 20)),
        ({"preset": "full"}, (20,)),
        ({"preset": "settle"}, (8, 11, 14, 17, 20, 27, 36, 48, 64, 85, 100)),
        ({"preset": "settle", "until": "settled"}, (8, 11, 14, 17, 20, 27, 36, 48, 64, 85, 100)),
        ({"preset": "quick", "until": "settled"}, (8, 11, 14, 17, 20, 27, 36, 48, 60)),
        ({"preset": "quick", "seeds": 7}, (7,)),
        ({"until": "settled"}, (8, 11, 14, 17, 20, 27, 36, 48, 60)),
        ({"until": "settled", "preset": "full", "at_most": 40}, (8, 11, 14, 17, 20, 27, 36, 40)),
        ({"at_most": 33}, (8, 11, 14, 17, 20, 27, 33)),
        ({"at_most": 3}, (3,)),
        (
            {"until": "settled", "at_most": 1000},
            (8, 11, 14, 17, 20, 27, 36, 48, 64, 85, 113, 151, 201, 268, 357, 476, 635, 847, 1000),
        ),
    ],
)
def test_when_a_study_is_looked_at(options, looks):
    spec = declare(TASK, "breast-cancer", parse_all(["sgd", "adam"]), **options)
    assert (spec.looks, spec.seeds) == (looks, looks[-1])


@pytest.mark.parametrize(
    ("options", "common", "own"),
    [
        ({}, "", ""),
        ({"preset": "quick"}, "", ""),
        ({"preset": "settle"}, "warmup-cosine:0.1", ""),
        ({"preset": "settle", "schedule": "linear"}, "linear", ""),
        ({"preset": "settle", "schedule": "constant"}, "constant", ""),
        ({"preset": "settle", "schedule": {"adam": "cosine"}}, "", "cosine"),
    ],
)
def test_a_preset_has_a_schedule_where_none_is_named(options, common, own):
    spec = declare(TASK, "breast-cancer", parse_all(["sgd", "adam"]), **options)
    assert (spec.schedule, spec.optimizers[1].schedule) == (common, own)
    assert spec.optimizers[0].schedule == ""


@pytest.mark.parametrize(
    ("points", "budgets"), [(1, (1,)), (2, (1, 2)), (4, (1, 2, 4)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))]
)
def test_the_best_of_the_first_1_2_4_points_and_of_all_is_trained_afresh(points, budgets):
    assert declare(TASK, "breast-cancer", parse_all(["sgd"]), points=points).budgets == budgets


@pytest.mark.parametrize("rows", [100, 1000])
@pytest.mark.parametrize("steps", [20, 50, 100, 1000, 10_000])
def test_evaluations_take_about_a_fifth_of_the_time(rows, steps):
    """Forward and backward together take about three times what forward takes. Never fewer than at half and at the end."""
    data = Data(torch.zeros(rows, 1), torch.zeros(rows, 1))
    task = Task("mine", lambda: nn.Linear(1, 1), data, data, nn.functional.mse_loss, batch_size=8)
    spec = declare(task, "mine", parse_all(["sgd"]), steps=steps)
    evaluated, trained = spec.evaluations * 0.2 * rows, 3 * 8 * steps
    assert 2 <= spec.evaluations <= 20
    assert spec.evaluations == 2 or evaluated / (trained + evaluated) <= 0.2
    assert spec.evaluations == 20 or (evaluated + 0.2 * rows) / trained > 0.2, "and no fewer than that allows"


def test_a_function_costs_nothing_to_evaluate_and_is_compared_by_ratios():
    spec = declare(find("rosenbrock"), "rosenbrock", parse_all(["sgd"]), steps=20)
    assert (spec.evaluations, spec.ratio) == (20, True)


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
        ({"seeds": -1}, "seeds = -1: optimizers are compared on at least 2 seeds"),
        ({"seeds": 0}, "seeds = 0: optimizers are compared on at least 2 seeds"),
        ({"seeds": 1001}, "seeds = 1001: give a whole number from 2 to 1,000"),
        ({"steps": 0}, "steps = 0"),
        ({"seeds": 1}, "seeds = 1: optimizers are compared on at least 2 seeds"),
        ({"at_most": 1}, "at_most = 1: optimizers are compared on at least 2 seeds"),
        ({"seeds": 5, "at_most": 10}, "give one of them"),
        ({"seeds": 5, "until": "settled"}, "give one of them"),
        ({"until": "bored"}, "until = 'bored'"),
        ({"margin": "much"}, "margin = 'much'"),
        ({"study_seed": -1}, "study_seed = -1"),
        ({"study_seed": True}, "study_seed = True"),
        ({"schedule": "cosin"}, "cosine"),
    ],
)
def test_what_cannot_be_declared(options, text):
    with pytest.raises(OptionError, match=text):
        declare(TASK, "breast-cancer", parse_all(["sgd", "adam"]), **options)
    with pytest.raises(OptionError, match="seeds = 0: give a whole number from 1 to"):
        declare(TASK, "breast-cancer", parse_all(["sgd"]), seeds=0)
    with pytest.raises(OptionError, match="Did you mean 'adam'"):
        declare(TASK, "breast-cancer", parse_all(["adm"]))


def test_one_optimizer_written_in_two_ways_is_one():
    for pair in (
        ["adam:betas=(0.9, 0.99)", "adam:betas=[.9, .990]"],
        ["rmsprop:lr=1e-3,eps=1e-8", "rmsprop:eps=0.00000001,lr=0.001"],
        ["adam:lr=0.1", "adam:lr=0.1,clip_norm=None"],
    ):
        with pytest.raises(OptionError, match="are the same optimizer with the same options"):
            declare(TASK, "breast-cancer", parse_all(pair))
    assert declare(TASK, "breast-cancer", parse_all(["adam:betas=(0.9, 0.99)", "adam:betas=(0.9, 0.98)"]))
