"""State dicts exchanged with torch.optim's class of the same name, in both directions."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch_pairs import CLASSES, Gradients, assert_close, each_case, each_path, fit, make_params, theirs_of, twins

from ravine.optim import Adam, AdamW

pytestmark = pytest.mark.usefixtures("one_thread", "numbers_in_double")

SHAPES = [(4, 3), (5,), ()]
#: Every class with each of its options on both paths and in both ways. What a file does to a state dict is the same for
#: both paths: kernels go on from a file, torch's operations from memory.
each_path_and_way = pytest.mark.parametrize(
    ("fused", "through_file"), [(False, False), (True, True)], ids=["eager-memory", "fused-file"]
)


def passed_on(state_dict, through_file):
    if not through_file:
        return copy.deepcopy(state_dict)  # torch's classes go on in the memory of what they load
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def run(gradients, steps, *sides):
    for _ in range(steps):
        gradients(*(params for _, params in sides))
        for optimizer, _ in sides:
            optimizer.step()


@each_path_and_way
@each_case
@pytest.mark.parametrize("steps", [0, 5], ids=["new", "after5"])
def test_from_torch(cls, options, steps, through_file, fused):
    """torch runs, ours takes over: five more steps are those that torch goes on with."""
    others = make_params(fit(cls, SHAPES), torch.float64)
    theirs, gradients = theirs_of(cls)(others, **options), Gradients()
    run(gradients, steps, (theirs, others))
    params = twins(others)
    ours = cls(params, fused=fused)  # its own options come with the state dict
    ours.load_state_dict(passed_on(theirs.state_dict(), through_file))
    if steps:
        assert_close(ours, theirs, params, others, relative=0)
    run(gradients, 5, (ours, params), (theirs, others))
    assert_close(ours, theirs, params, others)


@each_path_and_way
@each_case
@pytest.mark.parametrize("steps", [0, 5], ids=["new", "after5"])
def test_to_torch(cls, options, steps, through_file, fused):
    """Ours runs, torch takes over."""
    params = make_params(fit(cls, SHAPES), torch.float64)
    ours, gradients = cls(params, **options, fused=fused), Gradients()
    run(gradients, steps, (ours, params))
    others = twins(params)
    theirs = theirs_of(cls)(others)
    theirs.load_state_dict(passed_on(ours.state_dict(), through_file))
    if steps:
        assert_close(ours, theirs, params, others, relative=0)
    run(gradients, 5, (ours, params), (theirs, others))
    assert_close(ours, theirs, params, others)


@each_path
@each_case
def test_to_ours_goes_on_bit_for_bit(cls, options, fused):
    params = make_params(SHAPES, torch.float32)
    first, gradients = cls(params, **options, fused=fused), Gradients()
    run(gradients, 5, (first, params))
    again = twins(params)
    second = cls(again, **options, fused=fused)
    second.load_state_dict(passed_on(first.state_dict(), through_file=True))
    run(gradients, 5, (first, params), (second, again))
    assert_close(second, first, again, params, relative=0)


@pytest.mark.parametrize("other", [Adam, torch.optim.Adam], ids=["ours", "torch"])
def test_adamw_stays_adamw_with_what_adam_saved(other):
    """And goes on from there as torch's: its weights decay apart from the gradient."""
    params = make_params(SHAPES, torch.float64)
    first, gradients = other(params, lr=0.02, weight_decay=0.1), Gradients()
    run(gradients, 3, (first, params))
    sides = []
    for cls in (AdamW, torch.optim.AdamW):
        own = twins(params)
        optimizer = cls(own)
        optimizer.load_state_dict(passed_on(first.state_dict(), through_file=True))
        assert optimizer.param_groups[0]["decoupled_weight_decay"] is True
        sides.append((optimizer, own))
    run(gradients, 3, *sides)
    (ours, mine), (theirs, others) = sides
    assert_close(ours, theirs, mine, others)
    again = AdamW(twins(mine))
    again.load_state_dict(ours.state_dict())
    assert again.param_groups == [{**ours.param_groups[0], "params": again.param_groups[0]["params"]}]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_loading_leaves_the_state_dict_alone_and_shares_nothing(cls):
    others = make_params(fit(cls, SHAPES), torch.float64)
    theirs, gradients = theirs_of(cls)(others), Gradients()
    run(gradients, 2, (theirs, others))
    given = theirs.state_dict()
    before = copy.deepcopy(given)
    params = twins(others)
    ours = cls(params)
    ours.load_state_dict(given)
    run(gradients, 2, (ours, params))
    assert given["param_groups"] == before["param_groups"]
    for key, states in before["state"].items():
        for name, value in states.items():
            now = given["state"][key][name]
            assert torch.equal(now, value) if isinstance(value, torch.Tensor) else now == value
