"""``ravine show``: every optimizer by name, and wrong input."""

import pytest
from click.testing import CliRunner

from ravine.cli.show import command
from ravine.errors import OptionError
from ravine.optim import registry


def show(*arguments):
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False).output


@pytest.mark.parametrize("name", registry.names())
def test_every_optimizer_shows_what_it_is(name):
    text = show(name)
    for part in ("Source: ", "Formula", "θₜ = ", "Hyperparameters", "lr", "State", "bytes moved per float32 element"):
        assert part in text
    assert registry.lookup(name).cls.reference in text or "a dialect of RMSprop" in text


def test_bytes_and_states_are_those_of_the_program():
    assert "square_avg (starts at 0): 4 bytes per float32 parameter" in show("rmsprop")
    assert "20 bytes moved per float32 element and step" in show("rmsprop")
    assert "28 bytes moved" in show("adam")
    assert "none: 0 bytes" in show("sgd")
    assert "square_avg (starts at 1)" in show("rmsprop-tensorflow")


def test_options_change_the_formula_and_the_kernel_is_shown():
    text = show("rmsprop", "--set", "centered=True", "--set", "momentum=0.9", "--kernel")
    assert "grad_avgₜ²" in text
    assert "def kernel(task):" in text
    assert "new_momentum_buffer = " in text
    assert "def numbers(" in text


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["rmspropp"], "Did you mean 'rmsprop'"),
        (["rmsprop", "--set", "centred=True"], "unknown option 'centred'. Did you mean 'centered'"),
        (["rmsprop", "--set", "centered"], "write KEY=VALUE"),
        (["rmsprop", "--set", "alpha=x"], "'x' is not a number"),
        (["rmsprop", "--set", "alpha=-1"], "alpha=-1 .*at least 0"),
    ],
)
def test_wrong_input(arguments, match):
    with pytest.raises(OptionError, match=match):
        show(*arguments)
