"""What a Task and its Data refuse, in whose terms."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from ravine.comparison import compare
from ravine.errors import OptionError
from ravine.tasks import Data, Task

DATA = Data(torch.ones(6, 2), torch.ones(6, 1))
GIVEN = {"model": lambda: nn.Linear(2, 1), "train": DATA, "test": DATA, "loss": functional.mse_loss, "batch_size": 4}


def test_the_rest_has_defaults():
    task = Task(**GIVEN)
    assert (task.name, task.epochs, task.quick_epochs, task.metrics, task.surface) == ("task", 5, 1, {}, None)
    assert task.steps_per_epoch == 2


def test_what_is_missing_is_named():
    with pytest.raises(OptionError, match=r"also needs model, train, test, loss, batch_size\."):
        Task()
    with pytest.raises(OptionError, match=r"also needs loss\."):
        Task(**{**GIVEN, "loss": None})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model", nn.Linear(2, 1), "model is an instance of Linear; .*model=lambda: Net"),
        ("model", 3, "model is 3; it must be a function"),
        ("loss", "mse", "loss is 'mse'; it must be a function"),
        ("train", (DATA.inputs, DATA.targets), r"train is a tuple; it must be Data\(inputs, targets\)"),
        ("test", DATA.inputs, "test is a Tensor"),
        ("batch_size", 0, "batch_size is 0; .*at least 1"),
        ("batch_size", 2.0, r"batch_size is 2\.0"),
        ("epochs", True, "epochs is True"),
        ("quick_epochs", -1, "quick_epochs is -1"),
        ("metrics", [functional.mse_loss], "metrics is a list; it must map names"),
        ("metrics", {"right": 3}, "metric 'right' is 3"),
        ("metrics", {"valid_loss": functional.mse_loss}, "cannot have the name 'valid_loss'"),
        ("surface", "flat", "surface is a str"),
        ("name", 3, "name 3"),
    ],
)
def test_a_field_that_cannot_be_is_named(field, value, message):
    with pytest.raises(OptionError, match=message):
        Task(**{**GIVEN, field: value})


@given(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", fullmatch=True))
def test_names_that_are_safe_as_folders_are_taken(name):
    assert dataclasses.replace(Task(**GIVEN), name=name).name == name


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "a\\b", "a b", "a\n", "é", "x" * 65, "<b>", "a\0"])
def test_other_names_are_refused(name):
    with pytest.raises(OptionError, match="cannot have the name"):
        Task(**{**GIVEN, "name": name})


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (np.array(["a", "b"]), torch.ones(2), "Data: An array of dtype <U1 has no numbers"),
        (torch.ones(3), [1, 2, 3], r"targets are a list of 3; .*torch\.as_tensor"),
        (torch.ones(0, 2), torch.ones(0), "Data: There are no rows"),
        (torch.ones(3), torch.tensor(1.0), "targets are one number"),
        (torch.ones(3, 2), torch.ones(2), "3 rows of inputs, but 2 of targets"),
    ],
)
def test_data_that_do_not_fit_are_refused(inputs, targets, message):
    with pytest.raises(OptionError, match=message):
        Data(inputs, targets)


def test_rows_without_numbers_are_rows():
    assert len(Data(torch.empty(7, 0), torch.empty(7, 0))) == 7


def test_the_same_model_each_time_is_refused():
    """``lambda: net`` would go on with trained weights; a copy of them, or of what is frozen, would not."""
    net, shared = nn.Linear(2, 1), nn.Linear(2, 2)
    task = Task(**{**GIVEN, "model": lambda: net})
    task.start(0)
    with pytest.raises(OptionError, match=r"the same weights each time .*model=lambda: copy\.deepcopy\(net\)"):
        dataclasses.replace(task, epochs=2).start(1)
    head = Task(**{**GIVEN, "model": lambda: nn.Sequential(shared, nn.Linear(2, 1))})
    kept = head.start(0)
    with pytest.raises(OptionError, match=r"share 0\.weight, 0\.bias, so a second training"):
        head.start(0)
    shared.requires_grad_(False)
    assert head.start(0)[0] is kept[0]
    copied = Task(**{**GIVEN, "model": lambda: copy.deepcopy(net)})
    assert torch.equal(copied.start(0).weight, copied.start(0).weight)


def test_a_comparison_refuses_the_same_model_each_time(tmp_path):
    net = nn.Linear(2, 1)
    task = Task(**{**GIVEN, "model": lambda: net})
    with pytest.raises(OptionError, match="the same weights each time"):
        compare(task, ["sgd", "adam"], steps=4, seeds=2, points=1, out=tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()
