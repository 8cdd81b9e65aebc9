"""Attributes as fastai, Keras or Lightning have them: the error has a line to write here, and that line runs."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ravine import train
from ravine.errors import OptionError
from ravine.optim import RMSprop
from ravine.train import Batches, Callback, Learner, MixedPrecision, StopOnNaN
from ravine.train import _names_of_others as others
from ravine.train._callback import HOOKS

CASES = [
    (owner, line, [name for name, given in table.items() if given == line])
    for owner, table in (
        ("learn", others.OF_LEARNER),
        ("learn.recorder", others.OF_RECORDER),
        ("found", others.OF_LR_FIND),
        ("fit", others.OF_FIT),
    )
    for line in dict.fromkeys(table.values())
]


class MyCallback(Callback):
    """Keeps the fit that it was given."""

    def before_fit(self, fit):
        self.fit = fit


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What the lines may name: a Learner that has trained and searched, and its parts."""
    torch.manual_seed(0)
    inputs = torch.randn(256, 4)
    data = Batches(inputs, (inputs[:, 0] > 0).long(), 32)
    learn = Learner(
        nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)),
        (data, data),
        F.cross_entropy,
        RMSprop,
        folder=tmp_path_factory.mktemp("run"),
        quiet=True,
    )
    callback = MyCallback()
    learn.fit_one_cycle(1, 0.01, callbacks=[callback])
    found = learn.lr_find(1e-4, 10.0, steps=50)
    names = {"MyCallback": MyCallback, "StopOnNaN": StopOnNaN, "MixedPrecision": lambda: MixedPrecision(torch.bfloat16)}
    return {"learn": learn, "found": found, "fit": callback.fit, "data": data, **names}


@pytest.mark.parametrize(("owner", "line", "names"), CASES)
def test_the_line_that_the_error_gives_runs(trained, tmp_path, monkeypatch, owner, line, names):
    one = eval(owner, trained)
    for name in names:
        with pytest.raises(AttributeError) as caught:
            getattr(one, name)
        assert str(caught.value) == f"{type(one).__name__} has no {name}; write: {line}"
    monkeypatch.chdir(tmp_path)
    if ".load(" in line:
        trained["learn"].save("learner.safetensors")
    exec(line, dict(trained))


def test_a_slip_is_answered_with_the_nearest_name(trained):
    with pytest.raises(AttributeError, match=r"^Learner has no recoder\. Did you mean 'recorder'\?$"):
        _ = trained["learn"].recoder
    with pytest.raises(AttributeError, match=r"^Learner has no zzz\. Known: callbacks, "):
        _ = trained["learn"].zzz


def test_an_error_inside_a_property_is_not_hidden():
    def make(_):
        return torch.no_such_optimizer

    data = Batches(torch.zeros(8, 2), torch.zeros(8, dtype=torch.int64), 4)
    with pytest.raises(AttributeError, match="no_such_optimizer"):
        _ = Learner(nn.Linear(2, 2), (data, None), F.cross_entropy, make, quiet=True).optimizer


def test_copies_and_the_protocols_of_python_are_not_disturbed(trained):
    recorder = copy.deepcopy(trained["learn"].recorder)
    assert recorder.losses.tolist() == trained["learn"].recorder.losses.tolist()
    assert not hasattr(trained["learn"], "__array__")


def test_a_search_is_not_unpacked(trained):
    with pytest.raises(TypeError, match=r"found\.lr is the one to use"):
        _low, _steep = trained["found"]


@pytest.mark.parametrize("name", others.OF_PACKAGE)
def test_a_name_of_another_package_is_answered(name):
    if hasattr(train, name):
        pytest.fail(f"ravine.train has {name}")
    with pytest.raises(AttributeError) as caught:
        getattr(train, name)
    line = others.OF_PACKAGE[name]
    assert str(caught.value) == f"module 'ravine.train' has no attribute {name!r}; write: {line}"
    compile(
        line.partition("  #")[0].replace("class MyCallback(Callback)", "class MyCallback(Callback): ..."), "", "exec"
    )


@pytest.mark.parametrize(("theirs", "ours"), others.OF_HOOKS.items())
def test_a_hook_of_another_library_is_not_ignored(theirs, ours):
    with pytest.raises(OptionError, match=rf"'{theirs}'.*Write def {ours}\(self, fit\)"):
        type("Mine", (Callback,), {theirs: lambda self, *args: None})
    assert ours in HOOKS


def test_other_methods_and_values_are_the_users():
    type("Mine", (Callback,), {"on_improvement": lambda self: None, "on_log": True, "setup": lambda self: None})
