"""Optimizers that are stepped together make the steps that each makes alone, bit for bit."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from ravine.errors import NonFiniteError
from ravine.optim import Adam, Optimizer, RMSprop
from ravine.optim import _registry as registry
from ravine.optim._stacked_step import StackedStep

COPIES, STEPS = 5, 70  # more steps than statistics are kept of
SHAPES = ((7, 3), (5,), (1,), (2, 3, 4))


def descend(param, *, update, lr):
    return param - lr * update


def stacks(dtype=torch.float32):
    """Parameters of all copies in one tensor for each shape, and room for their gradients."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(COPIES, *shape, generator=generator, dtype=dtype) for shape in SHAPES], [
        torch.zeros(COPIES, *shape, dtype=dtype) for shape in SHAPES
    ]


def parameters(values, gradients, copy):
    made = [nn.Parameter(v[copy]) for v in values]
    for p, g in zip(made, gradients, strict=True):
        p.grad = g[copy]
    return made


def together_and_alone(make, *, stopped=(), dtype=torch.float32, schedule=None, steps=STEPS):
    """Values after some steps, of copies stepped together and one by one, and their optimizers."""
    values, gradients = stacks(dtype)
    own = [v.clone() for v in values]
    optimizers = [make(parameters(values, gradients, i), i) for i in range(COPIES)]
    alone = [make(parameters(own, gradients, i), i) for i in range(COPIES)]
    step = StackedStep(optimizers)
    for number in range(steps):
        generator = torch.Generator().manual_seed(number)
        for g in gradients:
            g.copy_(torch.randn(g.shape, generator=generator, dtype=dtype))
        for i, at in stopped:
            if number == at:
                step.stop(i)
        if schedule:
            for optimizer in (*optimizers, *alone):
                optimizer.param_groups[0]["lr"] *= schedule
            step.refresh()
        step()
        for i, optimizer in enumerate(alone):
            if not any(i == j and number >= at for j, at in stopped):
                optimizer.step()
    step.flush()
    return values, own, optimizers, alone, step


def assert_same(values, own, optimizers, alone, copies=range(COPIES)):
    for i in copies:
        for a, b in zip(values, own, strict=True):
            assert torch.equal(a[i], b[i])
        one, other = optimizers[i].watch.history, alone[i].watch.history
        assert len(one) == len(other) > 0
        for name in ("first", "last", "ratio", "grad_norm", "update_norm", "nonfinite"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("name", registry.names())
def test_every_optimizer_steps_as_it_does_alone(name):
    named = registry.lookup(name)
    lr = named.rate("digits") or 1e-3

    def make(params, i):
        rate = {"lr": lr * (1 + i)} if "lr" in named.cls.hypers else {}
        return named.cls(params, **{**named.options, **rate})

    found = together_and_alone(make)
    program = make([torch.nn.Parameter(torch.zeros(1))], 0).program()
    of_shapes = "ndim" in inspect.signature(named.cls.formula).parameters
    alone = len(program.passes) > 1 or program.kept or program.sizes or of_shapes
    assert ("0 together, 5 alone" if alone else "5 together, 0 alone") in repr(found[-1])
    assert_same(*found[:4])


def test_in_double_precision_with_a_schedule():
    found = together_and_alone(lambda params, i: Adam(params, lr=0.01 * (i + 1)), dtype=torch.float64, schedule=0.97)
    assert_same(*found[:4])


def test_those_of_other_formulas_and_classes_have_their_own_calls():
    def make(params, i):
        return [
            lambda: RMSprop(params, lr=0.01),
            lambda: RMSprop(params, lr=0.02, centered=True),
            lambda: RMSprop(params, lr=0.01, clip_norm=1.0),
            lambda: Optimizer(params, [descend], lr=0.1, fused=False),
            lambda: Adam(params, lr=0.01, nonfinite="skip"),
        ][i]()

    found = together_and_alone(make)
    assert "2 together, 3 alone" in repr(found[-1])
    assert_same(*found[:4])


def test_torch_steps_by_itself():
    values, own, *_ = together_and_alone(lambda params, i: torch.optim.AdamW(params, lr=0.01 * (i + 1)))
    assert all(map(torch.equal, values, own))


def test_one_that_stops_changes_no_other_and_its_history_ends():
    found = together_and_alone(lambda params, i: Adam(params, lr=0.01), stopped=((1, 0), (3, 66)))
    assert_same(*found[:4], copies=(0, 2, 4))
    optimizers, alone = found[2:4]
    assert len(optimizers[1].watch.history) == 0
    assert optimizers[3].watch.steps == 66
    np.testing.assert_array_equal(optimizers[3].watch.history.ratio, alone[3].watch.history.ratio)


def test_what_is_not_finite_stays_where_it_is():
    values, gradients = stacks()
    optimizers = [Adam(parameters(values, gradients, i), lr=0.01) for i in range(COPIES)]
    step = StackedStep(optimizers)
    for g in gradients:
        g.fill_(1.0)
        g[2] = float("nan")
    step()
    for v in values:
        assert v[2].isnan().all()
        assert all(v[i].isfinite().all() for i in (0, 1, 3, 4))


def test_an_error_is_raised():
    values, gradients = stacks()
    step = StackedStep([Adam(parameters(values, gradients, 0), lr=0.01, nonfinite="raise")])
    gradients[0].fill_(float("nan"))
    with pytest.raises(NonFiniteError):
        step()
