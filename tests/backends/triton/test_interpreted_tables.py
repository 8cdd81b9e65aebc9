"""What a step sends to a device, and what is kept ready for the next one, in Triton's interpreter."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from interpreted_steps import give, parameters
from torch.nn import Parameter

from ravine.backends.triton import _chunk_tables, _device_batch, _device_gather
from ravine.errors import ParameterError
from ravine.optim import SGD


def batch_of(optimizer: torch.optim.Optimizer) -> Any:
    return optimizer._plan._entries[0].batch  # type: ignore[attr-defined]


@pytest.mark.parametrize("shapes", [((5, 4), (3,)), ((5, 4), (0,), (3,))], ids=["full", "one empty"])
def test_addresses_are_sent_once_while_gradients_stay(
    shapes: tuple[tuple[int, ...], ...], interpreter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    launches_for = _chunk_tables.Tables._launches_for
    monkeypatch.setattr(
        _chunk_tables.Tables, "_launches_for", lambda self, loose: sent.append(1) or launches_for(self, loose)
    )
    params = parameters(torch.float32, shapes)
    optimizer = SGD(params, lr=0.1)
    give(params, 0)
    for _ in range(4):
        optimizer.step()
    assert len(sent) == 1
    params[0].grad = params[0].grad.clone()  # type: ignore[union-attr]
    optimizer.step()
    optimizer.step()
    assert len(sent) == 2
    params[0].grad = None
    optimizer.step()
    assert len(sent) == 3


def test_launches_let_go_of_the_chunks_that_the_tables_forgot(
    interpreter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_chunk_tables, "_PATTERNS", 2)
    params = [Parameter(torch.ones(40)) for _ in range(3)]
    optimizer = SGD(params, lr=0.1)
    seen: list[weakref.ref[Any]] = []
    for step in range(1, 8):  # which gradients are no multiple of 16
        for i, p in enumerate(params):
            p.grad = torch.ones(44)[1:41] if step >> i & 1 else torch.ones(40)
        optimizer.step()
        seen += map(weakref.ref, batch_of(optimizer)._tables.launches)
    gc.collect()
    assert len({id(group()) for group in seen if group() is not None}) <= 4
    assert params[0].detach()[0].item() == pytest.approx(1 - 7 * 0.1)


def test_no_more_launches_are_kept_than_so_many(interpreter: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_device_batch, "_LAUNCHES", 3)
    params = parameters(torch.float32)
    optimizer = SGD(params, lr=0.1)
    for step in range(12):
        give(params, step)
        optimizer.step()
        assert len(batch_of(optimizer)._launches) <= 3


@pytest.mark.parametrize("native", [True, False], ids=["C", "Python"])
@pytest.mark.parametrize("others", [((7,),), ((7,), (0,))], ids=["full", "one empty"])
def test_a_gradient_in_the_middle_of_an_element_is_an_error_by_name(
    native: bool, others: tuple[tuple[int, ...], ...], interpreter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(_device_gather, "native_gather", lambda *_: None)
    params = parameters(torch.float32, ((5,), *others))
    optimizer = SGD(params, lr=0.1)
    give(params, 0)
    optimizer.step()
    before = params[0].detach().clone()
    params[0].grad = torch.frombuffer(bytearray(24), dtype=torch.float32, offset=1, count=5)
    with pytest.raises(ParameterError, match="gradient of parameter 0 .*middle of an element"):
        optimizer.step()
    assert torch.equal(params[0], before)


@pytest.mark.parametrize("few", [0, 100], ids=["copied", "arguments"])
def test_gradients_at_new_addresses_in_every_step(few: int, interpreter: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their addresses are copied to the device, or handed over as arguments of a launch: more than one has."""
    monkeypatch.setattr(_chunk_tables, "_FEW_TENSORS", few)
    params = [Parameter(torch.zeros(3)) for _ in range(70)]
    optimizer = SGD(params, lr=1.0)
    kept = []
    for step in range(1, 4):
        for i, p in enumerate(params):
            p.grad = torch.full((3,), float(step * i))
            kept.append(p.grad)  # so that the next is elsewhere
        optimizer.step()
    assert [p[0].item() for p in params] == [-6.0 * i for i in range(70)]
