"""On devices large tensors are looked at in full now and then: gradients of every step, the rest of some; nothing waits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from large_steps import looked_at, make_steps, params_of
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn import Parameter

from ravine.backends import STATISTICS, _brief, statistic
from ravine.backends._brief import BriefSteps
from ravine.backends.triton import _device_batch
from ravine.errors import BackendError
from ravine.optim import SGD, Adafactor, Adam, Optimizer, RMSprop
from ravine.watch import _record

ROWS, STEPS = 4, 24  # few rows: the interpreter takes its time
BAD = 4 * ROWS + 3  # between two looks
NAMES = ("grad_norm", "param_norm", "update_norm", "grad_max", "param_max", "update_max")

Stepped = Callable[..., None]


@pytest.fixture(autouse=True, params=["interpreter", "lists"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Tensors are stepped as on a device, by kernels or by operations on lists; 500 elements are many."""
    monkeypatch.setattr(_brief, "LARGE", 500)
    monkeypatch.setattr(_record, "ROWS", ROWS)
    request.getfixturevalue(request.param)
    return str(request.param)


def made(cls: type[Optimizer], device: str, dtype: torch.dtype = torch.float32, **options: Any) -> Optimizer:
    """An optimizer of a large batch of two tensors, and of a small one, of another dtype."""
    torch.manual_seed(0)
    params = [Parameter(torch.randn(30, 30).to(dtype)), Parameter(torch.randn(7).to(dtype))]
    other = torch.float32 if dtype is torch.float64 else torch.float64
    chosen = {"fused": True if device == "interpreter" else None} | options
    return cls([*params, Parameter(torch.randn(5, dtype=other))], lr=1e-3, **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cls", "dtype", "options"),
    [
        (RMSprop, torch.float32, {"clip_norm": 1.0}),
        (SGD, torch.bfloat16, {}),
        (Adam, torch.float64, {}),
    ],
    ids=["rmsprop", "bfloat16", "float64"],
)
def test_figures_are_of_the_steps_that_were_looked_at(
    cls: type[Optimizer], dtype: torch.dtype, options: dict[str, Any], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dtype is not torch.float64:  # many chunks, whose figures are added up in every step
        monkeypatch.setattr(_device_batch, "_MANY_CHUNKS", 1)
    other, each = made(cls, device, dtype, fused=False, **options), []
    for step in range(STEPS):
        make_steps(other, [step])
        each.append([[getattr(row, name) for name in NAMES] for row in other.watch.last])
    ours = made(cls, device, dtype, **options)
    make_steps(ours, range(STEPS))
    by_dtype = {torch.float32: 3e-5, torch.bfloat16: 2**-6, torch.float64: 1e-12}
    rough = [max(by_dtype[dtype], by_dtype[p.dtype]) for p in params_of(ours)]  # one norm clips all
    for p, q, r in zip(params_of(ours), params_of(other), rough, strict=True):
        assert_allclose(p.detach().double(), q.detach().double(), rtol=r, atol=r)
    every = 8
    grad, param, update, *tops = np.array(each).reshape(-1, every, 3, 6).transpose(3, 0, 1, 2)
    # Of the small batch every step is; lists take all parameters together.
    small = np.array([False, False, device == "interpreter"])
    full = np.array([looked_at(step, ROWS) for step in range(STEPS)]).reshape(-1, every, 1) | small
    found = ours.watch.history
    assert len(found) == STEPS / every

    def norm(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
        return np.sqrt((values**2 * counted).sum(1) / counted.sum(1))  # type: ignore[no-any-return]

    wanted = {
        "grad_norm": norm(grad, np.ones_like(full)),
        "param_norm": norm(param, full),
        "update_norm": norm(update, full),
    }
    wanted |= {name: (values * full).max(1) for name, values in zip(NAMES[3:], tops, strict=True)}
    for name, values in wanted.items():
        for i, r in enumerate(rough):
            assert_allclose(getattr(found, name)[:, i], values[:, i], rtol=10 * r, err_msg=name)
    assert (found.steps == every).all()


def test_no_nan_is_missed(device: str) -> None:
    optimizer = made(SGD, device)
    make_steps(optimizer, range(BAD))
    assert not looked_at(BAD, ROWS)
    first = params_of(optimizer)[0]
    assert first.grad is not None
    first.grad[3, 4], first.grad[5, 6] = math.inf, math.nan
    optimizer.step()
    counted = 2 if device == "interpreter" else 1  # lists say no more than that there is one
    last = optimizer.watch.last
    assert (last["0"].nonfinite, last.nonfinite, last.step) == (counted, counted, BAD + 1)
    assert optimizer.watch.first_nonfinite == {"0": BAD + 1}
    assert optimizer.watch.history.nonfinite.sum(0).tolist() == [counted, 0, 0]


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-14, 1e-12, 1e25])
def test_squares_that_float32_cannot_hold(size: float, device: str) -> None:
    optimizer = made(SGD, device)
    make_steps(optimizer, range(BAD))
    first = params_of(optimizer)[0]
    assert first.grad is not None
    first.grad.fill_(size)
    optimizer.step()
    assert optimizer.watch.last["0"].grad_norm == pytest.approx(size * 30, rel=1e-6, abs=0.0)
    assert optimizer.watch.last.nonfinite == 0


def test_the_last_step_says_what_is_older(device: str) -> None:
    optimizer = made(SGD, device)
    make_steps(optimizer, range(STEPS - 3))
    before = optimizer.watch.last
    assert (before.step, before.step_in_full) == (STEPS - 3, STEPS - 7)
    older = made(SGD, device)
    make_steps(older, range(STEPS - 7))
    assert before["0"].update_norm == older.watch.last["0"].update_norm
    assert before["0"].param_max == older.watch.last["0"].param_max
    assert before["0"].grad_norm != older.watch.last["0"].grad_norm
    make_steps(optimizer, range(STEPS - 3, STEPS + 1))
    last = optimizer.watch.last
    assert (last.step, last.step_in_full) == (STEPS + 1, STEPS + 1)
    assert last["0"].update_norm == pytest.approx(1e-3 * last["0"].grad_norm, rel=1e-4)


@pytest.mark.parametrize("stop", [ROWS + 3, 4 * ROWS, BAD])
def test_a_run_that_resumes_has_the_same_history(stop: int, device: str) -> None:
    whole = made(Adam, device)
    make_steps(whole, range(STEPS - 2))
    begun, resumed = made(Adam, device), made(Adam, device)
    make_steps(begun, range(stop))
    resumed.load_state_dict(begun.state_dict())
    resumed.watch.load_state_dict(begun.watch.state_dict())
    for mine, theirs in zip(params_of(resumed), params_of(begun), strict=True):
        mine.data.copy_(theirs.data)
    make_steps(resumed, range(stop, STEPS - 2))
    for name in (*NAMES, "nonfinite", "steps"):
        found, wanted = (getattr(o.watch.history, name) for o in (resumed, whole))
        assert_array_equal(found, wanted, err_msg=name)
    assert resumed.watch.last.step_in_full == whole.watch.last.step_in_full == STEPS - 7


def test_reading_in_between_changes_nothing(device: str) -> None:
    read, unread = made(Adam, device), made(Adam, device)
    for step in range(STEPS - 3):
        make_steps(read, [step])
        assert read.watch.last.step == step + 1
        make_steps(unread, [step])
    for name in (*NAMES, "steps"):
        assert_array_equal(getattr(read.watch.history, name), getattr(unread.watch.history, name), err_msg=name)
        assert [getattr(r, name, 0) for r in read.watch.last] == [getattr(r, name, 0) for r in unread.watch.last]
    assert read.watch.last.step_in_full == unread.watch.last.step_in_full


@pytest.mark.filterwarnings("ignore:nonfinite")
def test_a_step_that_is_skipped_and_a_gradient_that_is_missing(device: str) -> None:
    optimizer = made(Adam, device, nonfinite="skip")
    make_steps(optimizer, range(BAD))
    params = params_of(optimizer)
    params[1].grad = None
    optimizer.step()
    assert math.isnan(optimizer.watch.last["1"].grad_norm)
    assert optimizer.watch.last["0"].grad_norm > 0
    assert params[0].grad is not None
    params[0].grad[0, 0] = math.nan
    optimizer.step()
    assert optimizer.skipped == 1
    assert optimizer.watch.history.steps.sum(0).tolist() == [BAD + 1, BAD, BAD + 1]
    assert np.isfinite(optimizer.watch.history.param_norm).all()


@pytest.mark.filterwarnings("ignore:nonfinite")
@pytest.mark.parametrize("skipped", [True, False], ids=["skipped", "missing"])
def test_a_look_at_a_step_that_was_not_made_gives_no_figures(skipped: bool, device: str) -> None:
    optimizer = made(Adam, device, nonfinite="skip" if skipped else "propagate")
    make_steps(optimizer, range(6 * ROWS))
    assert looked_at(6 * ROWS, ROWS)
    older = optimizer.watch.last["0"]
    if device == "interpreter":  # of the last step that was looked at
        assert optimizer.watch.last.step_in_full == 4 * ROWS + 1
    first = params_of(optimizer)[0]
    if skipped:
        assert first.grad is not None
        first.grad[0, 0] = math.nan
    else:
        first.grad = None
    optimizer.step()
    assert math.isnan(optimizer.watch.last["0"].param_norm)
    make_steps(optimizer, range(6 * ROWS + 1, 6 * ROWS + 3))
    last = optimizer.watch.last["0"]
    assert (last.param_norm, last.update_max) == (older.param_norm, older.update_max)
    assert last.grad_norm != older.grad_norm
    history = optimizer.watch.history
    assert history.steps[-1, 0] == 2
    assert history.grad_norm[-1, 0] > 0
    for name in ("param_norm", "update_norm", "grad_max", "param_max", "update_max"):
        assert math.isnan(getattr(history, name)[-1, 0]), name


def test_tensors_at_which_nobody_has_looked_have_no_figures(device: str) -> None:
    optimizer = made(SGD, device)
    make_steps(optimizer, range(BAD))
    optimizer.add_param_group({"params": [Parameter(torch.randn(20, 30))]})
    for p in (*params_of(optimizer), (new := optimizer.param_groups[1]["params"][0])):
        p.grad = torch.ones_like(p)
    optimizer.step()
    last = optimizer.watch.last.rows[3]
    assert last.grad_norm == pytest.approx(float(new.grad.norm()))
    assert math.isnan(last.param_norm)
    assert math.isnan(last.update_max)
    assert math.isnan(optimizer.watch.history.param_max[-1, 3])


def test_a_record_that_a_running_optimizer_loads_says_when_it_was_looked_at(device: str) -> None:
    other, optimizer = made(SGD, device), made(SGD, device)
    make_steps(other, range(4 * ROWS + 3))
    make_steps(optimizer, range(2 * ROWS + 2))
    optimizer.watch.load_state_dict(other.watch.state_dict())
    assert optimizer.watch.last.step_in_full == other.watch.last.step_in_full == 4 * ROWS + 1
    make_steps(optimizer, range(2))
    assert not looked_at(4 * ROWS + 4, ROWS)
    assert optimizer.watch.last.step_in_full == 4 * ROWS + 1


def test_formulas_of_rows_and_columns_are_looked_at_in_full(device: str) -> None:
    optimizer = Adafactor([Parameter(torch.randn(30, 30))], lr=1e-3, fused=True if device == "interpreter" else None)
    make_steps(optimizer, range(ROWS + 2))
    assert not looked_at(ROWS + 1, ROWS)
    assert optimizer.watch.last.step_in_full == optimizer.watch.last.step


def test_a_run_goes_on_where_the_other_kernel_cannot_be_compiled(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fails(*given: object) -> None:
        tried.append(given)
        raise BackendError("no kernel can be had")

    optimizer = made(SGD, device)
    make_steps(optimizer, range(ROWS))
    monkeypatch.setattr(_device_batch, "kernel", fails)
    monkeypatch.setattr(optimizer._monitor, "flush", lambda plan: None)  # adding up is a kernel, too
    make_steps(optimizer, range(ROWS, ROWS + 4))
    monkeypatch.undo()
    last = optimizer.watch.last
    assert last.step == ROWS + 4
    assert last.step_in_full == (last.step if device == "interpreter" else ROWS + 3)
    assert len(tried) == (device == "interpreter")  # compiling takes seconds: not in every step


def test_marks_stand_where_a_brief_look_has_no_figure() -> None:
    brief = [True, False, True, True, False]
    steps, figures = BriefSteps(6), torch.ones(5, len(STATISTICS), 2, dtype=torch.float64)
    for index, each in enumerate(brief):
        steps.note(index, each)
    assert steps.mark(figures) is figures
    kept = statistic("grad_square", "nonfinite", "steps")
    for step, is_brief in zip(figures, brief, strict=True):
        for row, values in enumerate(step):
            if row in kept or not is_brief:
                assert (values == 1).all()
            else:
                assert (values.isnan() | (values < 0)).all()
