"""Random groups, shapes and missing gradients: the same numbers as torch.optim in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_pairs import (
    CLASSES,
    OPTIONS,
    REAL_ONLY,
    Gradients,
    assert_close,
    each_path,
    in_torch,
    make_params,
    theirs_of,
    twins,
)

pytestmark = pytest.mark.usefixtures("one_thread", "numbers_in_double")

shapes = st.lists(st.integers(0, 5), max_size=3).map(tuple)


@st.composite
def runs(draw: Any) -> tuple[type, list[dict[str, Any]], list[list[tuple[int, ...]]], list[list[bool]]]:
    """A class, options of each group, shapes of each group's parameters, and which have a gradient at each step."""
    # Muon's parameters are matrices, Adafactor's have elements: tests/optim/test_against_torch.py
    cls = draw(st.sampled_from([cls for cls in CLASSES if cls.__name__ not in REAL_ONLY]))
    groups = draw(
        st.lists(st.sampled_from([o for o in OPTIONS[cls.__name__] if in_torch(cls, o)]), min_size=1, max_size=3)
    )
    members = [draw(st.lists(shapes, min_size=1, max_size=3)) for _ in groups]
    count = sum(map(len, members))
    present = draw(st.lists(st.lists(st.booleans(), min_size=count, max_size=count), min_size=1, max_size=5))
    return cls, groups, members, present


def as_groups(groups: list[dict[str, Any]], members: list[list[Any]], params: list[torch.nn.Parameter]) -> list[Any]:
    rest = iter(params)
    # torch reads what Adagrad's sums start from in the constructor alone.
    groups = [{k: v for k, v in options.items() if k != "initial_accumulator_value"} for options in groups]
    return [{**options, "params": [next(rest) for _ in m]} for options, m in zip(groups, members, strict=True)]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(run=runs(), fused=st.sampled_from([True, None]))
def test_random_groups(run, fused):
    cls, groups, members, present = run
    params = make_params([s for m in members for s in m], torch.float64)
    others = twins(params)
    ours = cls(as_groups(groups, members, params), fused=fused)
    theirs = theirs_of(cls)(as_groups(groups, members, others))
    gradients = Gradients()
    for step, here in enumerate(present, 1):
        gradients(params, others, present=here)
        ours.step()
        theirs.step()
        assert_close(ours, theirs, params, others, where=f", step {step}")


@each_path
@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("RMSprop", [{"momentum": 0}, {"momentum": 0.9}, {"centered": True}, {"weight_decay": 0.1, "lr": 0.3}]),
        ("SGD", [{"momentum": 0.9}, {}, {"momentum": 0.5, "dampening": 0.5}, {"momentum": 0.9, "nesterov": True}]),
        ("Adam", [{"amsgrad": True}, {"betas": (0.5, 0.6)}, {"maximize": True}, {"decoupled_weight_decay": True}]),
    ],
    ids=["RMSprop", "SGD", "Adam"],
)
def test_groups_with_formulas_of_their_own_and_steps_of_their_own(name, groups, fused):
    cls = next(c for c in CLASSES if c.__name__ == name)
    members = [[(3, 2), (4,), ()]] * len(groups)
    params = make_params([s for m in members for s in m], torch.float64)
    others = twins(params)
    ours = cls(as_groups(groups, members, params), fused=fused)
    theirs = theirs_of(cls)(as_groups(groups, members, others))
    gradients = Gradients()
    for step in range(1, 9):
        # In each group: one at every step, one at every other, one from the fourth on.
        gradients(params, others, present=[True, step % 2 == 0, step > 3] * len(groups))
        ours.step()
        theirs.step()
        assert_close(ours, theirs, params, others, where=f", step {step}")


@each_path
def test_momentum_switched_on_between_steps(fused):
    """The formula of a group is read again when an option that decides it changes; the buffer starts at 0."""
    params = make_params([(3, 2)], torch.float64)
    others = twins(params)
    cls = next(c for c in CLASSES if c.__name__ == "SGD")
    ours, theirs = cls(params, lr=0.1, fused=fused), torch.optim.SGD(others, lr=0.1)
    gradients = Gradients()
    for momentum in (0, 0, 0.9, 0.9, 0.5):
        for optimizer in (ours, theirs):
            optimizer.param_groups[0]["momentum"] = momentum
        gradients(params, others)
        ours.step()
        theirs.step()
        assert_close(ours, theirs, params, others)
