"""Large tensors are looked at in full now and then: gradients and what is not finite of every step, the rest of some."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from large_steps import looked_at, make_steps, params_of
from torch.nn import Parameter

from ravine.backends import _brief
from ravine.backends.cpu import _batch
from ravine.errors import BackendError
from ravine.optim import SGD, Adafactor, Adam, Lion, RMSprop
from ravine.watch._record import ROWS, Record

STEPS = 5 * ROWS  # a row then has eight of them
BAD, UNDERFLOW = 4 * ROWS + 3, 4 * ROWS + 5  # both between two looks


@pytest.fixture(autouse=True)
def large(monkeypatch):
    monkeypatch.setattr(_brief, "LARGE", 500)


def made(cls, dtype=torch.float32, **options):
    """An optimizer of a large batch, of two tensors, and of a small one, of another dtype."""
    torch.manual_seed(0)
    params = [Parameter(torch.randn(90, 30).to(dtype)), Parameter(torch.randn(7).to(dtype))]
    other = torch.float32 if dtype is torch.float64 else torch.float64
    return cls([*params, Parameter(torch.randn(5, dtype=other))], lr=1e-3, **options)


@pytest.mark.parametrize(
    ("cls", "dtype", "options"),
    [
        (SGD, torch.float32, {}),
        (SGD, torch.bfloat16, {}),
        (RMSprop, torch.float32, {"clip_norm": 1.0}),
        (Adam, torch.float64, {}),
    ],
    ids=["sgd", "bfloat16", "clipped", "float64"],
)
def test_figures_are_of_the_steps_that_were_looked_at(cls, dtype, options, monkeypatch):
    ours = made(cls, dtype, **options)
    with monkeypatch.context() as patch:
        patch.setattr(_brief, "LARGE", math.inf)
        other, steps = made(cls, dtype, **options), []
        for step in range(STEPS):
            make_steps(other, [step])
            steps.append([[r.grad_norm, r.param_norm, r.update_norm, r.grad_max] for r in other.watch.last])
    make_steps(ours, range(STEPS))
    assert all(map(torch.equal, params_of(ours), params_of(other))), "watching less changes no parameter"
    every = 8
    grad, param, update, top = np.array(steps).reshape(-1, every, 3, 4).transpose(3, 0, 1, 2)
    full = np.array([looked_at(step, ROWS) for step in range(STEPS)]).reshape(-1, every, 1) | np.array(
        [False, False, True]
    )
    found = ours.watch.history
    assert len(found) == STEPS / every

    def norm(values, counted):
        return np.sqrt((values**2 * counted).sum(1) / counted.sum(1))

    rough = {torch.float32: 1e-6, torch.bfloat16: 1e-6, torch.float64: 1e-12}[dtype]  # sums are added in another order
    np.testing.assert_allclose(found.grad_norm, norm(grad, np.ones_like(full)), rtol=rough)
    np.testing.assert_allclose(found.param_norm, norm(param, full), rtol=rough)
    np.testing.assert_allclose(found.update_norm, norm(update, full), rtol=rough)
    np.testing.assert_array_equal(found.grad_max, (top * full).max(1))
    assert (found.steps == every).all()


@pytest.mark.parametrize("cls", [SGD, Lion])
def test_no_nan_is_missed_and_no_small_gradient(cls):
    optimizer = made(cls)
    first = params_of(optimizer)[0]
    make_steps(optimizer, range(BAD))
    assert not looked_at(BAD, ROWS)
    first.grad[3, 4] = math.inf
    first.grad[5, 6] = math.nan
    optimizer.step()
    last = optimizer.watch.last
    assert (last["0"].nonfinite, last.nonfinite, last.step) == (2, 2, BAD + 1)
    assert optimizer.watch.first_nonfinite == {"0": BAD + 1}
    assert optimizer.watch.history.nonfinite.sum(0).tolist() == [2, 0, 0]


@pytest.mark.parametrize("size", [1e-30, 1e-14, 1e-12])
def test_squares_that_float32_cannot_hold(size):
    optimizer = made(SGD)
    make_steps(optimizer, range(UNDERFLOW))
    assert not looked_at(UNDERFLOW, ROWS)
    params_of(optimizer)[0].grad.fill_(size)
    optimizer.step()
    assert optimizer.watch.last["0"].grad_norm == pytest.approx(size * 2700**0.5, rel=1e-6, abs=0.0)


def test_the_last_step_says_what_is_older():
    optimizer = made(SGD)
    make_steps(optimizer, range(STEPS - 3))
    before = optimizer.watch.last
    assert (before.step, before.step_in_full) == (STEPS - 3, STEPS - 7)
    assert "Of large tensors all but grad_norm and nonfinite is of step 1,273." in str(before)
    make_steps(optimizer, range(STEPS - 3, STEPS + 1))
    last = optimizer.watch.last
    assert (last.step, last.step_in_full) == (STEPS + 1, STEPS + 1)
    assert "Of large tensors" not in str(last)
    assert last["0"].update_norm == pytest.approx(1e-3 * last["0"].grad_norm, rel=1e-4)


@pytest.mark.parametrize("stop", [700, 4 * ROWS, BAD])
def test_a_run_that_resumes_has_the_same_history(stop):
    whole = made(Adam)
    make_steps(whole, range(STEPS))
    begun = made(Adam)
    make_steps(begun, range(stop))
    resumed = made(Adam)
    resumed.load_state_dict(begun.state_dict())
    resumed.watch.load_state_dict(begun.watch.state_dict())
    for mine, theirs in zip(params_of(resumed), params_of(begun), strict=True):
        mine.data.copy_(theirs.data)
    make_steps(resumed, range(stop, STEPS))
    found, wanted = resumed.watch.history, whole.watch.history
    for name in ("grad_norm", "param_norm", "update_norm", "grad_max", "nonfinite", "steps"):
        # One step more may be looked at in full, which gives its sum of gradients in another order.
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-7, err_msg=name)
    assert (resumed.watch.last.step, resumed.watch.last.step_in_full) == (STEPS, STEPS - 7)


def test_a_gradient_that_is_missing_between_two_looks():
    optimizer = made(Adam)
    make_steps(optimizer, range(UNDERFLOW))
    params_of(optimizer)[0].grad = None
    optimizer.step()
    row = optimizer.watch.last["0"]
    assert math.isnan(row.grad_norm)
    assert math.isnan(row.param_norm)
    make_steps(optimizer, [UNDERFLOW + 1])
    assert optimizer.watch.last["0"].grad_norm > 0
    assert optimizer.watch.history.steps.sum(0).tolist() == [UNDERFLOW + 1, UNDERFLOW + 2, UNDERFLOW + 2]


def test_formulas_of_rows_and_columns_are_looked_at_in_full():
    optimizer = made(Adafactor)
    make_steps(optimizer, range(2 * ROWS + 2))
    assert optimizer.watch.last.step_in_full == optimizer.watch.last.step


def test_a_run_goes_on_where_the_other_kernel_cannot_be_compiled(monkeypatch):
    def fails(source: str) -> None:
        raise BackendError("no kernel can be had")

    optimizer = made(SGD)
    make_steps(optimizer, range(ROWS))
    monkeypatch.setattr(_batch, "compile_kernel", fails)
    make_steps(optimizer, range(ROWS, ROWS + 4))
    assert optimizer.watch.last.step_in_full == optimizer.watch.last.step == ROWS + 4
    assert (optimizer.watch.history.steps.sum(0) == ROWS + 4).all()


def test_a_record_that_was_pickled_before_there_were_brief_looks():
    optimizer = made(SGD)
    make_steps(optimizer, [0])
    state = vars(optimizer._monitor.record).copy()
    del state["looked"]
    record = Record.__new__(Record)
    record.__setstate__(state)
    assert record.looked == 1
