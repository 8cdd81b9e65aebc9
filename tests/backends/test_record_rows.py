"""Figures that are added to a record as steps are made: against NumPy, and against figures that wait to be asked for."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from ravine.backends import statistic
from ravine.optim import SGD, Adam, RMSprop
from ravine.optim._engine.plan import Plan
from ravine.watch._history import FIGURES
from ravine.watch._record import ROWS

SHAPES = ((7,), (0,), (300, 200), (), (4, 5))  # several chunks, no element, one element


def made(seed: int = 0) -> RMSprop:
    torch.manual_seed(seed)
    params = [Parameter(torch.randn(shape)) for shape in SHAPES]
    doubles = [Parameter(torch.randn(shape, dtype=torch.float64)) for shape in ((3,), (40_000,))]
    groups = [{"params": [params[0], doubles[0], *params[1:3]]}, {"params": [*params[3:], doubles[1]], "lr": 0.02}]
    return RMSprop(groups, lr=0.01)


def params_of(optimizer: torch.optim.Optimizer) -> list[Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def give_gradients(optimizer: torch.optim.Optimizer, step: int, kind: str) -> None:
    generator = torch.Generator().manual_seed(step)
    for i, p in enumerate(params_of(optimizer)):
        p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        if kind == "missing" and (step + i) % 3 == 0:
            p.grad = None
        elif kind == "nan" and (step * 5 + i) % 7 == 0 and p.numel():
            p.grad.view(-1)[-1] = math.nan if step % 2 else math.inf


@pytest.mark.parametrize("kind", ["plain", "missing", "nan"])
def test_they_are_what_figures_that_wait_become(kind, monkeypatch):
    ours = made()
    other = made()
    for step in range(ROWS + 30):
        give_gradients(ours, step, kind)
        ours.step()
        with monkeypatch.context() as patch:
            patch.setattr(Plan, "add_to_rows", lambda *_: None)
            give_gradients(other, step, kind)
            other.step()
        assert ours._plan.rows is not None
        assert other._plan.rows is None
    found, wanted = ours.watch.history, other.watch.history
    assert np.array_equal(found.first, wanted.first)
    for name in FIGURES:
        # Sums of chunks are added in another order.
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-14, err_msg=name)
    last = [optimizer._monitor.record.last for optimizer in (ours, other)]
    gradients = statistic("grad_square", "nonfinite", "steps")
    torch.testing.assert_close(*(x[gradients] for x in last), rtol=1e-14, atol=0.0, equal_nan=True)
    # Of a parameter that was not stepped the rest is shown nowhere: it may be of an older step.
    stepped = last[0][gradients[-1]] > 0
    torch.testing.assert_close(*(x[:, stepped] for x in last), rtol=1e-14, atol=0.0, equal_nan=True)
    assert ours.watch.first_nonfinite == other.watch.first_nonfinite


def test_they_are_those_of_numpy():
    optimizer = made()
    params = params_of(optimizer)
    steps, grads, moved, tops = 5, [], [], []
    for step in range(steps):
        give_gradients(optimizer, step, "plain")
        before = [p.detach().double().numpy().copy() for p in params]
        optimizer.step()
        grads.append([np.linalg.norm(p.grad.double().numpy()) for p in params])
        moved.append([np.linalg.norm(p.detach().double().numpy() - b) for p, b in zip(params, before, strict=True)])
        tops.append([np.abs(b).max(initial=0.0) for b in before])
    found = optimizer.watch.history
    np.testing.assert_allclose(found.grad_norm, grads, rtol=1e-5)
    np.testing.assert_allclose(found.update_norm, moved, rtol=2e-4)
    np.testing.assert_allclose(found.param_max, tops, rtol=1e-6)
    assert (found.steps == 1).all()


def test_a_parameter_without_a_gradient_has_no_figures_in_that_step():
    optimizer = made()
    for step in range(3):
        give_gradients(optimizer, step, "plain")
        if step == 2:
            params_of(optimizer)[0].grad = None
        optimizer.step()
    last = optimizer._monitor.record.last
    assert last is not None
    assert last[-1].tolist() == [0, *[1] * (len(params_of(optimizer)) - 1)]
    assert last[0, 0] == 0
    assert optimizer.watch.history.steps.sum(0)[0] == 2


def test_a_group_that_is_added_has_columns_of_its_own():
    optimizer = made()
    for step in range(3):
        give_gradients(optimizer, step, "plain")
        optimizer.step()
    optimizer.add_param_group({"params": [Parameter(torch.ones(6))]})
    for step in range(3, 5):
        give_gradients(optimizer, step, "plain")
        optimizer.step()
    steps = optimizer.watch.history.steps
    assert steps[:, -1].tolist() == [0, 0, 0, 1, 1]
    assert (steps[:, :-1] == 1).all()


def test_a_copy_counts_for_itself():
    optimizer = Adam([Parameter(torch.ones(5))], lr=0.1)
    params_of(optimizer)[0].grad = torch.ones(5)
    optimizer.step()
    kept = optimizer._monitor.record.state_dict()
    other = copy.deepcopy(optimizer)
    optimizer.step()
    assert (optimizer._monitor.record.steps, other._monitor.record.steps, kept["steps"]) == (2, 1, 1)
    assert kept["tables"]["sums"][1].any().item() is False
    params_of(other)[0].grad = torch.full((5,), 2.0)
    other.step()
    other.step()
    assert other.watch.history.grad_norm[:, 0].tolist() == pytest.approx([5**0.5, 20**0.5, 20**0.5])
    assert optimizer.watch.history.grad_norm[:, 0].tolist() == pytest.approx([5**0.5, 5**0.5])


@pytest.mark.parametrize("kind", ["float32", "strided", "narrow"])
def test_tables_that_are_loaded_may_be_of_any_kind(kind):
    """The loop writes to addresses."""
    optimizer = Adam([Parameter(torch.ones(5)), Parameter(torch.ones(3))], lr=0.1)
    for p in params_of(optimizer):
        p.grad = torch.ones_like(p)
    optimizer.step()
    kept = optimizer._monitor.record.state_dict()
    tables = kept["tables"]
    if kind == "narrow":
        tables = {name: table[..., :1] for name, table in tables.items()}
    else:
        tables = {name: table.float() if table.is_floating_point() else table for name, table in tables.items()}
        if kind == "strided":
            tables = {name: torch.stack([table, table], -1)[..., 0] for name, table in tables.items()}
    optimizer._monitor.record.load_state_dict({**kept, "tables": tables})
    for _ in range(ROWS + 10):
        optimizer.step()
    found = optimizer.watch.history
    assert found.grad_norm[:, 0].tolist() == pytest.approx([5**0.5] * len(found))
    assert found.steps.sum(0).tolist() == [ROWS + 11, ROWS + 10 + (kind != "narrow")]


def test_steps_that_wait_and_steps_that_do_not_follow_each_other():
    """GradScaler's scale makes figures wait; the record goes on from one to the other."""
    p = Parameter(torch.ones(5))
    optimizer = Adam([p], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for scaled in (False, True, True, False, True, False, False):
        loss = p.sum()
        p.grad = None
        if scaled:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        else:
            loss.backward()
            optimizer.step()
    assert optimizer.watch.history.grad_norm[:, 0].tolist() == pytest.approx([5**0.5] * 7)


@pytest.mark.parametrize("first", [True, False])
def test_a_step_inside_functionalize_is_recorded(first):
    """torch makes tensors without memory there."""
    p = Parameter(torch.ones(4))
    optimizer = SGD([p], lr=0.1)
    grad = torch.ones(4)

    def step(x: torch.Tensor) -> torch.Tensor:
        p.grad = grad
        optimizer.step()
        return x * 2

    if not first:
        step(grad)
    torch.func.functionalize(step)(torch.ones(3))
    steps = 1 if first else 2
    assert p.tolist() == pytest.approx([1 - 0.1 * steps] * 4)
    assert optimizer.watch.history.grad_norm[:, 0].tolist() == pytest.approx([2.0] * steps)


def test_parameters_that_are_not_stepped_have_columns():
    params = [Parameter(torch.ones(4)), Parameter(torch.ones(3))]
    optimizer = SGD(params, lr=0.1)
    params[0].grad = torch.ones(4)
    optimizer.step()
    record = optimizer._monitor.record
    assert record.last is not None
    assert record.last.shape[1] == record._tables["sums"].shape[2] == 2
    assert optimizer.watch.history.steps.tolist() == [[1, 0]]


def test_what_is_asked_for_in_inference_mode_can_be_used_outside():
    optimizer = Adam([Parameter(torch.ones(5))], lr=0.1)
    params_of(optimizer)[0].grad = torch.ones(5)
    with torch.inference_mode():
        assert len(optimizer.watch.history) == 0
    optimizer.step()
    with torch.inference_mode():
        assert len(optimizer.watch.history) == 1
    optimizer.step()
    assert optimizer._monitor.record.steps == 2
