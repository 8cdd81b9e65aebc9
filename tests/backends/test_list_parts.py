"""Lists of tensors are looked at once: what changes is noticed, and many small tensors take no more calls than few."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from counted_calls import counted
from no_reading import between_addresses
from on_lists import count_from_numbers
from torch import Tensor
from torch.nn import Parameter

import ravine.optim
from ravine.backends._foreach import Foreach
from ravine.backends._list_figures import any_nonfinite
from ravine.errors import NonFiniteError, ParameterError
from ravine.optim import SGD, Adam, NAdam, Optimizer, RMSprop
from ravine.watch import _record

pytestmark = pytest.mark.usefixtures("lists")
WAYS: dict[str, dict[str, Any]] = {
    "watched": {},
    "unwatched": {"watch": False},
    "clipped": {"watch": False, "clip_norm": 1.0},
    "all": {"clip_norm": 1.0, "weight_decay": 0.1},
}
#: Rows of a record, and the first step, from 0, that is looked at in brief.
ROWS, BRIEF = 4, 5


def given(count: int, steps: int = 1) -> list[Parameter]:
    generator = torch.Generator().manual_seed(steps)
    params = [Parameter(torch.randn(5, generator=generator)) for _ in range(count)]
    for p in params:
        p.grad = torch.randn(5, generator=generator)
    return params


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam", "Adadelta", "NAdam"])
@pytest.mark.parametrize("steps", [1, BRIEF], ids=["in full", "in brief"])
def test_many_tensors_take_no_more_calls_than_few(
    name: str, way: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_record, "ROWS", ROWS)
    calls = []
    for count in (3, 40):
        params = given(count)
        optimizer = getattr(ravine.optim, name)(params, lr=1e-3, **WAYS[way])
        for _ in range(steps):
            optimizer.step()
        calls.append(counted(optimizer.step))
    assert calls[0] == calls[1]


@pytest.mark.parametrize("options", [{"nonfinite": "skip"}, {"nonfinite": "skip", "clip_norm": 1.0}], ids=str)
def test_where_steps_can_be_skipped_each_tensor_is_chosen_by_itself(options: dict[str, Any]) -> None:
    calls = []
    for count in (3, 40):
        optimizer = RMSprop(given(count), lr=1e-3, **options)
        optimizer.step()
        calls.append(counted(optimizer.step))
    alone = calls[1] - calls[0]
    assert set(alone) == {"aten.where.self_out"}
    assert alone.total() == 2 * (40 - 3)  # the parameter and its average


def stepped(
    cls: Any, change: Callable[[int, Sequence[Parameter], Optimizer], None], fused: bool | None, **options: Any
) -> Any:
    """Six steps, before each of which something changes: what is left, and the figures of the last."""
    generator = torch.Generator().manual_seed(0)
    params = [Parameter(torch.randn(n, 2, generator=generator)) for n in (3, 3, 4, 2)]
    optimizer: Optimizer = cls(params, lr=0.1, fused=fused, **options)
    count_from_numbers(optimizer)
    figures = []
    for step in range(6):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        change(step, params, optimizer)
        optimizer.step()
        if fused is None:
            assert optimizer._plan is not None
            assert {type(e.batch) for e in optimizer._plan._entries} == {Foreach}
        rows = optimizer.watch.last
        figures.append(
            [[getattr(rows[str(i)], n) for n in ("grad_norm", "param_norm", "update_max")] for i in range(3)]
        )
    return [p.detach().double() for p in params], [optimizer.state[p]["exp_avg_sq"].double() for p in params], figures


def moved(step: int, params: Sequence[Parameter], optimizer: Optimizer) -> None:
    """The parameter has other memory."""
    if step == 2:
        params[1].data = params[1].data * 2


def replaced(step: int, params: Sequence[Parameter], optimizer: Optimizer) -> None:
    """A state has other memory, and so has another in its own place."""
    if step == 2:
        optimizer.state[params[0]]["exp_avg"] = torch.ones(3, 2)
        state = optimizer.state[params[2]]["exp_avg_sq"]
        state.data = state.data * 2


def cast(step: int, params: Sequence[Parameter], optimizer: Optimizer) -> None:
    """The parameter and its gradient are another dtype."""
    if step == 3:
        grad = params[1].grad
        params[1].grad = None
        params[1].data = params[1].data.double()
        assert grad is not None
        params[1].grad = grad.double()


def missing(step: int, params: Sequence[Parameter], optimizer: Optimizer) -> None:
    """Other gradients are missing in every step."""
    if step:
        params[step % 3].grad = None


def transposed(step: int, params: Sequence[Parameter], optimizer: Optimizer) -> None:
    """The parameter has the memory that it had, in another order."""
    if step == 2:
        with torch.no_grad():
            params[3].t_()
        params[3].grad = torch.arange(4.0).reshape(2, 2)


def counted_otherwise(step: int, params: Sequence[Parameter], optimizer: Optimizer) -> None:
    """The user writes to a count, and to a number that the formula keeps."""
    if step == 3:
        for value in optimizer.state[params[1]].values():
            if value.ndim == 0:
                value.mul_(0.5).add_(0.25)


def conjugate(step: int, params: Sequence[Parameter], optimizer: Optimizer) -> None:
    """A gradient is a view with another layout, or with the other sign."""
    shape = params[2].shape
    values = torch.arange(8.0).reshape(shape[::-1])
    if step:  # the first gradients decide what can be stepped on lists
        params[2].grad = values.t() if step % 2 else torch.complex(values, -values).conj().imag.t()


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5}, {"nonfinite": "skip"}], ids=str)
@pytest.mark.parametrize("cls", [Adam, NAdam])
@pytest.mark.parametrize(
    "change", [moved, replaced, cast, missing, transposed, counted_otherwise, conjugate], ids=lambda f: f.__name__
)
def test_what_changes_between_steps_is_noticed(
    change: Callable[..., None], cls: type[Optimizer], options: dict[str, Any]
) -> None:
    found, wanted = (stepped(cls, change, fused, **options) for fused in (None, False))
    for a, b in zip((*found[0], *found[1]), (*wanted[0], *wanted[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    for a, b in zip(found[2], wanted[2], strict=True):
        assert (
            torch.testing.assert_close(torch.tensor(a), torch.tensor(b), rtol=1e-4, atol=1e-5, equal_nan=True) is None
        )


def test_nonfinite_elements_are_counted_where_a_step_is_looked_at_in_full() -> None:
    params = given(3)
    params[1].grad = torch.tensor([math.nan, -math.inf, 0.0, -0.0, 3e38])
    params[2].grad = torch.zeros(5)
    optimizer = SGD(params, lr=1e-3)
    optimizer.step()
    assert [optimizer.watch.last[str(i)].nonfinite for i in range(3)] == [0, 2, 0]


def test_a_step_that_is_skipped_writes_nothing_and_the_next_one_counts_from_there() -> None:
    found = []
    for fused in (None, False):
        params = given(2, steps=3)
        optimizer = Adam(params, lr=0.1, nonfinite="skip", fused=fused)
        for bad in (False, True, False):
            grad: Tensor = torch.full((5,), math.inf if bad else 0.5)
            params[0].grad = grad
            optimizer.step()
        assert [float(optimizer.state[p]["step"]) for p in params] == [2, 2]
        found.append([p.detach() for p in params])
    torch.testing.assert_close(*found)


def test_a_gradient_whose_data_has_another_shape_is_named_and_nothing_written() -> None:
    params = given(2)
    optimizer = SGD(params, lr=0.1)
    optimizer.step()
    before = params[0].detach().clone()
    params[1].grad.data = torch.ones(1)  # type: ignore[union-attr]
    with pytest.raises(ParameterError, match="parameter 1"):
        optimizer.step()
    assert torch.equal(params[0], before)


def test_bad_elements_are_counted_where_parameters_on_the_host_are_stepped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    params = given(2)
    optimizer = SGD(params, lr=0.1, nonfinite="skip")
    optimizer.step()
    plan = optimizer._plan
    assert plan is not None
    monkeypatch.setattr(plan, "device", None)  # as beside a batch of the CPU
    monkeypatch.setattr(plan._numbers, "_device", None)
    params[1].grad = torch.tensor([1.0, math.nan, math.inf, math.nan, 0.0])
    with pytest.warns(UserWarning, match="parameter 1 .*has 3 of 5 elements"):
        optimizer.step()


def test_memory_that_a_parameter_left_is_free() -> None:
    params = given(2)
    optimizer = SGD(params, lr=0.1)
    optimizer.step()
    left = weakref.ref(params[0].untyped_storage())
    memory = params[0].data.untyped_storage().data_ptr()
    params[0].data = params[0].data.clone()
    assert params[0].untyped_storage().data_ptr() != memory
    assert left() is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whether_any_element_is_not_finite(dtype: torch.dtype) -> None:
    """In float32 as on MPS, whose largest magnitude looks past NaN, and where squares overflow."""
    lists = [[1.0, math.nan], [-math.inf, 0.0], [1e38, -3e38], [0.0, -0.0], []]
    assert any_nonfinite([torch.tensor(x) for x in lists], dtype).tolist() == [1, 1, 0, 0, 0]


def test_bad_sparse_gradients_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = torch.nn.Embedding(5, 2, sparse=True)
    optimizer = SGD(embedding.parameters(), lr=0.1, nonfinite="skip")
    embedding(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    monkeypatch.setattr(optimizer._plan, "device", None)  # as beside a batch of the CPU
    monkeypatch.setattr(optimizer._plan._numbers, "_device", None)  # type: ignore[union-attr]
    optimizer.zero_grad()
    (embedding(torch.tensor([1, 2])) * math.nan).sum().backward()
    with pytest.warns(UserWarning, match="has 4 of 10 elements"):
        optimizer.step()


def test_sparse_gradients_that_are_not_finite_are_named_on_a_device() -> None:
    embedding = torch.nn.Embedding(5, 2, sparse=True)
    optimizer = SGD(embedding.parameters(), lr=0.1, nonfinite="raise")
    (embedding(torch.tensor([1, 2, 1])) * math.inf).sum().backward()
    with pytest.raises(NonFiniteError, match="has 4 of 10 elements"):
        optimizer.step()
    assert torch.isfinite(embedding.weight).all()


@pytest.mark.parametrize("fused", [None, False], ids=["lists", "eager"])
@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float32), (torch.float32, torch.float64)], ids=str)
def test_a_gradient_in_the_middle_of_an_element_is_named_in_a_later_step(
    dtypes: Sequence[torch.dtype], fused: bool | None
) -> None:
    params = [Parameter(torch.ones(3, dtype=dtype)) for dtype in dtypes]
    optimizer = SGD(params, lr=0.25, fused=fused)
    for step in range(3):
        for p in params:
            p.grad = torch.ones_like(p)
        if step == 1:
            params[0].grad = torch.ones(4)[1:]  # between two elements of a double
        if step == 2:
            params[0].grad = between_addresses(torch.ones(3))
            with pytest.raises(ParameterError, match="the gradient of parameter 0 .*middle of an element"):
                optimizer.step()
            continue
        optimizer.step()
    assert [p.tolist() for p in params] == [[0.5] * 3] * 2
