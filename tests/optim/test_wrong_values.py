"""Wrong values of hyperparameters, when an optimizer is made and in a run: nothing is written, and the error says what to write."""

import inspect
import math
import re
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from ravine.errors import OptionError, ParameterError
from ravine.optim import SGD, Adam, Optimizer, RMSprop, pieces
from ravine.optim import _registry as registry


def matrix():
    return torch.nn.Parameter(torch.ones(3, 3))


def numbers_of_all():
    """Every option of every optimizer that is a number or several, with its default."""
    classes = {registry.lookup(name).cls for name in registry.names()}
    for cls in sorted(classes, key=lambda c: c.__name__):
        for name, p in inspect.signature(cls).parameters.items():
            several = isinstance(p.default, tuple) and all(isinstance(v, float) for v in p.default)
            if type(p.default) in (int, float) or several:
                yield cls, name, p.default


@pytest.mark.parametrize("how", ["argument", "group"])
def test_a_number_in_quotes_is_answered_with_the_number(how):
    rows = list(numbers_of_all())
    assert len(rows) > 150
    for cls, name, default in rows:
        quoted = tuple(map(str, default)) if isinstance(default, tuple) else str(default)
        written = f"({', '.join(quoted)})" if isinstance(default, tuple) else quoted.replace("inf", "math.inf")
        with pytest.raises(OptionError) as raised:
            cls([matrix()], **{name: quoted}) if how == "argument" else cls([{"params": [matrix()], name: quoted}])
        text = str(raised.value)
        assert f"{name}" in text
        assert "(parameter group 0)" in text
        assert text.endswith(f"Take the quotes away: {name}={written}"), text
        value = eval(text.rpartition(f"{name}=")[2], {"math": math})
        cls([matrix()], **{name: value})


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ({"lr": " 1e-3 "}, "Take the quotes away: lr=1e-3"),
        ({"betas": "(0.9, 0.99)"}, "Take the quotes away: betas=(0.9, 0.99)"),
        ({"betas": ("0.9", 0.99)}, "Take the quotes away: betas=(0.9, 0.99)"),
        ({"betas": 0.8}, "Write: betas=(0.8, 0.999)"),
        ({"betas": None}, "Write: betas=(0.9, 0.999)"),
        ({"amsgrad": "False"}, "Take the quotes away: amsgrad=False"),
        ({"fused": "True"}, "Take the quotes away: fused=True"),
        ({"clip_norm": "1.0"}, "Take the quotes away: clip_norm=1.0"),
        ({"lookahead": "(5, 0.5)"}, "Take the quotes away: lookahead=(5, 0.5)"),
        ({"lr": [0.1]}, "Write: lr=0.1"),
        ({"lr": Fraction(1, 8)}, "Write: lr=0.125"),
        ({"lr": Decimal("0.1")}, "Write: lr=0.1"),
        ({"weight_decay": None}, "Write: weight_decay=0"),
        ({"maximize": None}, "Write: maximize=False"),
        ({"lr": "fast"}, "at least 0"),
        ({"lr": "-1"}, "at least 0"),
        ({"lr": "__import__('os')"}, "at least 0"),
        ({"betas": (0.9, 0.99, 0.999)}, "a tuple of 2 numbers"),
    ],
)
def test_what_to_write_is_said(options, written):
    with pytest.raises(OptionError) as raised:
        Adam([matrix()], **options)
    assert str(raised.value).endswith(written)


def test_a_hyperparameter_of_ones_own_formula_in_quotes():
    with pytest.raises(OptionError, match=r"Take the quotes away: lr=0\.1$"):
        Optimizer([matrix()], [pieces.descend], lr="0.1")


# --- in a run ------------------------------------------------------------------------------------------------------


def running(cls, **options):
    """An optimizer of two groups after two steps, and the parameters."""
    p, q = matrix(), matrix()
    optimizer = cls([{"params": [p]}, {"params": [q]}], **options)
    for _ in range(2):
        step(optimizer)
    return optimizer, (p, q)


def step(optimizer):
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.full_like(p, 0.5)
    optimizer.step()


@pytest.mark.parametrize(
    ("cls", "key", "value", "said"),
    [
        (RMSprop, "lr", "0.1", "lr='0.1' (parameter group 1): .* Take the quotes away: lr=0.1"),
        (RMSprop, "lr", math.nan, "lr=nan (parameter group 1): it must be a finite number of at least 0"),
        (RMSprop, "lr", torch.tensor([0.1, 0.2]), "lr=tensor.* (parameter group 1): it must be a finite number"),
        (RMSprop, "lr", None, "lr=None (parameter group 1): .* Write: lr=0.01"),
        (RMSprop, "weight_decay", None, "weight_decay=None (parameter group 1): .* Write: weight_decay=0"),
        (RMSprop, "centered", "no", "centered='no' (parameter group 1): it is a switch, True or False"),
        (RMSprop, "clip_norm", "1", "clip_norm='1' (parameter group 1): .* Take the quotes away: clip_norm=1"),
        (Adam, "betas", 0.9, "betas=0.9 (parameter group 1): it is a tuple of 2 numbers. Write: betas=(0.9, 0.999)"),
        (Adam, "betas", ("0.9", 0.99), "(parameter group 1): .* Take the quotes away: betas=(0.9, 0.99)"),
        (Adam, "betas", (0.9, math.nan), "betas[1]=nan (parameter group 1): it must be a finite number"),
    ],
)
def test_a_value_that_becomes_wrong_is_named_and_nothing_is_written(cls, key, value, said):
    optimizer, params = running(cls, lr=0.1)
    before = [p.detach().clone() for p in params]
    right = optimizer.param_groups[1].get(key)
    optimizer.param_groups[1][key] = value
    for _ in range(2):  # not only when it is first seen
        with pytest.raises(OptionError, match=re.escape(said).replace(r"\.\*", ".*")):
            step(optimizer)
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))
    optimizer.param_groups[1][key] = right
    step(optimizer)
    assert not any(torch.equal(p, b) for p, b in zip(params, before, strict=True))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", torch.tensor(0.2, dtype=torch.float64)),
        ("lr", np.float64(0.2)),
        ("betas", [0.8, 0.9]),
        ("betas", torch.tensor([0.8, 0.9], dtype=torch.float64)),
    ],
)
def test_a_number_in_another_form_that_is_one_is_used(key, value):
    plain = {"lr": 0.2, "betas": (0.8, 0.9)}[key]
    stepped = []
    for given in (plain, value):
        optimizer, (_, q) = running(Adam, lr=0.1)
        optimizer.param_groups[1][key] = given
        step(optimizer)
        stepped.append(q.detach().clone())
    assert torch.equal(*stepped)


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)], ids=["number", "tensor"])
@pytest.mark.parametrize("key", ["momentm", "Lr", "learning_rate", "wieght_decay", "clip_norms"])
def test_a_new_key_that_is_nearly_an_option_is_warned_of_once(key, lr):
    optimizer, _ = running(RMSprop, lr=lr, momentum=0.5)
    optimizer.param_groups[1][key] = 0.9
    with pytest.warns(UserWarning, match=rf"the key '{key}' \(parameter group 1\) .* Did you mean"):
        step(optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            step(optimizer)
            optimizer.param_groups[1]["lr"] = lr * 0.5


def test_a_key_of_ones_own_says_nothing_and_the_plan_is_kept():
    optimizer, _ = running(RMSprop, lr=0.1)
    plan = optimizer._plan
    optimizer.param_groups[0]["lr_scale"] = 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(optimizer)
    assert optimizer._plan is plan
    assert plan._reader.unchanged(optimizer.param_groups[0], plan.groups[0].snapshot)


@pytest.mark.parametrize("other", [None, iter([]), ["weight"], matrix()], ids=["None", "iterator", "text", "parameter"])
def test_something_else_in_the_place_of_the_parameters_is_named(other):
    optimizer, _ = running(RMSprop, lr=0.1)
    optimizer.param_groups[1]["params"] = other
    with pytest.raises(ParameterError, match=r"params \(parameter group 1\) is to be a list of tensors"):
        optimizer.step()


# --- on the optimizer itself ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda o: o.step(torch.tensor(1.0)), "given a Tensor: call loss.backward() and then step() without it"),
        (lambda o: o.step(3), "given an int: call step()"),
        (
            lambda o: o.add_param_group([matrix()]),
            "got a list of 1: add_param_group({'params': parameters, 'lr': 0.01})",
        ),
    ],
)
def test_something_else_than_is_taken_is_answered_with_the_call(act, said):
    optimizer = RMSprop([matrix()])
    with pytest.raises(TypeError, match=re.escape(said)):
        act(optimizer)
    assert len(optimizer.param_groups) == 1


def test_an_option_that_is_set_on_the_optimizer_is_warned_of():
    optimizer = Adam([matrix()])
    with pytest.warns(UserWarning, match=r"optimizer.lr = ... changes nothing: .* group\['lr'\] = ..."):
        optimizer.lr = 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.nonfinite = "skip"
        optimizer.found_inf = torch.tensor(0.0)
        optimizer.tag = 1


def test_nesterov_without_momentum_says_what_to_write():
    with pytest.raises(
        ValueError, match=r"it has momentum=0, dampening=0: write momentum=0.9, dampening=0, nesterov=True"
    ):
        SGD([matrix()], lr=0.1, nesterov=True)


@pytest.mark.parametrize(
    ("lr", "said"),
    [
        ([0.1, 0.01], r"A value for each group stands in the group: [{'params': ..., 'lr': 0.1}, ...]"),
        (lambda step: 0.1, "is set by a scheduler, such as torch.optim.lr_scheduler.LambdaLR"),
    ],
)
def test_several_rates_and_a_function_are_answered(lr, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        Adam([matrix()], lr=lr)


def test_a_text_or_the_result_of_a_piece_in_the_place_of_pieces():
    with pytest.raises(ValueError, match=r"write the functions themselves, \[piece, ...\]$"):
        Optimizer([matrix()], "param - lr * grad", lr=0.1)
    with pytest.raises(ValueError, match="Write a piece's name without brackets"):
        Optimizer([matrix()], [pieces.momentum(1.0, momentum=0.9)], lr=0.1)
