"""The textbook forms against the few lines that each book prints, in NumPy float64."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import run_forked

from ravine.errors import OptionError
from ravine.optim import _spec as specs

PATH = Path(__file__).parents[2] / "examples" / "textbook.py"


@pytest.fixture(scope="module")
def textbook():
    spec = importlib.util.spec_from_file_location("textbook", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Each takes the parameter, the gradient, a dict of what is kept (empty at first), the number of the step and lr.


def momentum(p, g, k, t, lr):
    v = 0.9 * k.get("v", 0) - lr * g
    k["v"] = v
    return p + v


def nesterov(p, g, k, t, lr):
    v = 0.9 * k.get("v", 0) - lr * g
    k["v"] = v
    return p + 0.9 * v - lr * g


def adagrad(p, g, k, t, lr):
    k["acc"] = k.get("acc", 0) + g**2
    return p - lr / np.sqrt(k["acc"] + 1e-6) * g


def adadelta(p, g, k, t, lr):
    k["acc"] = 0.95 * k.get("acc", 0) + (1 - 0.95) * g**2
    delta = g * np.sqrt(k.get("delta", 0) + 1e-6) / np.sqrt(k["acc"] + 1e-6)
    k["delta"] = 0.95 * k.get("delta", 0) + (1 - 0.95) * delta**2
    return p - lr * delta


def rmsprop(p, g, k, t, lr):
    k["acc"] = 0.9 * k.get("acc", 0) + (1 - 0.9) * g**2
    return p - lr * g / np.sqrt(k["acc"] + 1e-6)


def adam(p, g, k, t, lr, decay=1 - 1e-8):
    b1, b2 = 0.9, 0.999
    b1_t = b1 * decay ** (t - 1)
    k["m"] = b1_t * k.get("m", 0) + (1 - b1_t) * g
    k["v"] = b2 * k.get("v", 0) + (1 - b2) * g**2
    return p - lr * (k["m"] / (1 - b1**t)) / (np.sqrt(k["v"] / (1 - b2**t)) + 1e-6)


def fastai_rmsprop(p, g, k, t, lr):
    k["sqr_avg"] = k.get("sqr_avg", 0) * 0.99 + g**2 * (1 - 0.99)
    return p - lr * g / (np.sqrt(k["sqr_avg"]) + 1e-8)


LINES = {
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "rmsprop": rmsprop,
    "adam": adam,
    "fastai rmsprop": fastai_rmsprop,
}
each_path = pytest.mark.parametrize("fused", [False, True], ids=["eager", "fused"])


def assert_follows(optimizer, p, lines):
    """Fifteen steps with random gradients, some small, and another learning rate from the eighth on."""
    random = np.random.default_rng(0)
    golden, kept, lr = p.detach().numpy().copy(), {}, 0.02
    for t in range(1, 16):
        lr = 0.02 if t < 8 else 0.005
        optimizer.param_groups[0]["lr"] = lr
        g = random.normal(size=golden.shape) * 10.0 ** random.integers(-5, 1, size=golden.shape)
        p.grad = torch.from_numpy(g.copy())
        optimizer.step()
        golden = lines(golden, g, kept, t, lr)
        assert np.abs(p.detach().numpy() - golden).max() <= 1e-12 * np.abs(golden).max(), f"step {t}"


def test_every_form_is_tested(textbook):
    assert set(textbook.TEXTBOOK) == set(LINES)


@each_path
@pytest.mark.parametrize("name", LINES)
def test_the_lines_of_the_book(textbook, name, fused):
    p = torch.nn.Parameter(torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    assert_follows(textbook.make(name, [p], fused=fused), p, LINES[name])


@each_path
@pytest.mark.parametrize("name", [name for name in LINES if name != "fastai rmsprop"])
def test_the_books_six_rules_by_their_names(name, fused):
    """As the command line has them: -o momentum-theano-book."""
    p = torch.nn.Parameter(torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    spec = specs.parse(f"{name}-theano-book:fused={fused}", lr=0.02)
    assert_follows(spec.build([p]), p, LINES[name])


def test_the_books_adam_is_not_to_be_had_with_amsgrad():
    with pytest.raises(OptionError, match="leave one out"):
        specs.parse("adam-theano-book:amsgrad=True", lr=0.02).build([torch.zeros(1, requires_grad=True)])


@each_path
def test_adams_beta1_falls(textbook, fused):
    """A decay that can be seen within a few steps: 1 - 1e-8 moves the 8th digit only."""
    p = torch.nn.Parameter(torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    optimizer = textbook.make("adam", [p], fused=fused, beta1_decay=0.8)
    assert_follows(optimizer, p, lambda *arguments: adam(*arguments, decay=0.8))


@pytest.mark.parametrize("name", LINES)
def test_each_gets_down_the_ravine(textbook, name):
    losses = textbook.descend(name, steps=50)
    assert len(losses) == 51
    assert losses[0] == 23.0
    assert losses[-1] < losses[10] < losses[0]


def test_runs_as_a_program():
    done = run_forked([PATH], timeout=120)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in LINES)
