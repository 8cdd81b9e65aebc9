"""``ravine show``: every optimizer by name, and wrong input."""

import pytest
from click.testing import CliRunner

from ravine.cli._show import command
from ravine.errors import OptionError
from ravine.optim import _registry as registry


def show(*arguments):
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False).output


@pytest.mark.parametrize("name", registry.names())
def test_every_optimizer_shows_what_it_is(name):
    text = show(name)
    for part in ("Source: ", "Formula", "θₜ = ", "Hyperparameters", "lr", "State", "bytes moved per float32 element"):
        assert part in text
    named = registry.lookup(name)
    assert named.source in text or "a dialect of RMSprop" in text


def test_bytes_and_states_are_those_of_the_program():
    assert "square_avg (starts at 0): 4 bytes per float32 parameter" in show("rmsprop")
    assert "20 bytes moved per float32 element and step" in show("rmsprop")
    assert "28 bytes moved" in show("adam")
    assert "none: 0 bytes" in show("sgd")
    assert "square_avg (starts at 1)" in show("rmsprop-tensorflow")


def test_options_change_the_formula_and_the_kernel_is_shown():
    text = show("rmsprop:centered=True,momentum=0.9", "--kernel")
    assert "grad_avgₜ²" in text
    assert "def kernel(task):" in text
    assert "momentum_buffer__new = " in text
    assert "def numbers(" in text


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("rmspropp", "Did you mean 'rmsprop'"),
        ("rmsprop:centred=True", "has no option 'centred'. Did you mean 'centered'"),
        ("rmsprop:centered", "is not key=value"),
        ("rmsprop:alpha=x", "the value x of alpha is not a number"),
        ("rmsprop:alpha=-1", "alpha=-1 .*at least 0"),
        ("torch-adam", "it has no formula that could be shown"),
    ],
)
def test_wrong_input(name, match):
    with pytest.raises(OptionError, match=match):
        show(name)


OWN = """\
import torch
from ravine.optim import Adam

def heavy(param, buffer=0.0, *, grad, lr, momentum):
    buffer = momentum * buffer + grad
    return param - lr * buffer, buffer

class Mine(Adam):
    pass

class OfTorch(torch.optim.SGD):
    pass
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.py").write_text(OWN)


@pytest.mark.usefixtures("own")
def test_the_users_own_from_a_file():
    text = show("rules.py:heavy:momentum=0.5", "--kernel")
    for part in ("heavy  (rules.py)", "θₜ = θₜ₋₁ − lr · ", "buffer (starts at 0)", "def kernel(task):"):
        assert part in text
    assert show("rules.py:Mine").splitlines()[2:] == show("adam").splitlines()[2:]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("rules.py:heavy", "rules.py:heavy needs momentum: rules.py:heavy:momentum=...$"),
        ("rules.py:heavy:momentun=0.5", "has no option 'momentun'. Did you mean 'momentum'"),
        ("rules.py:OfTorch", "it has no formula that could be shown"),
        ("rules.py", "several optimizers: Mine, OfTorch"),
        ("rules.py:Min", "Did you mean 'Mine'"),
    ],
)
def test_what_of_a_file_cannot_be_shown(name, match):
    with pytest.raises(OptionError, match=match):
        show(name)
