"""The compiled look at parameters and gradients: what it sees, what it lets go of, and the way without it."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from ravine._compat.tensor_words import tensor_words
from ravine.backends.cpu import _batch, _gather
from ravine.optim import SGD, Adam

COMPILED = bool(_gather._exchange())
needs_exchange = pytest.mark.skipif(not COMPILED, reason="this torch has no C function that fills a DLTensor")


def some(dtype: torch.dtype = torch.float32) -> list[Parameter]:
    shapes = ((4, 3), (5,), (), (0,), (2, 3, 4))
    params = [Parameter(torch.randn(shape).to(dtype)) for shape in shapes]
    params.append(Parameter(torch.randn(2, 3, 4, 5).to(dtype).to(memory_format=torch.channels_last)))
    for p in params:
        p.grad = torch.randn_like(p)
    return params


def loop(params: list[Parameter], dtype: torch.dtype = torch.float32) -> tuple[_gather.GatherLoop, np.ndarray]:
    addresses = np.zeros((3, len(params)), dtype=np.int64)
    addresses[0] = [p.data_ptr() for p in params]
    return _gather.GatherLoop(params, [[] for _ in params], addresses[:2], dtype), addresses


@needs_exchange
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_addresses_are_those_of_torch(dtype):
    params = some(dtype)
    look, addresses = loop(params, dtype)
    for _ in range(3):
        assert look() == 0
        assert addresses[1].tolist() == [p.grad.data_ptr() for p in params]
        for p in params:
            p.grad = torch.randn_like(p)


@needs_exchange
def test_missing_gradients_are_counted():
    params = some()
    look, addresses = loop(params)
    params[1].grad = params[4].grad = None
    assert look() == 2
    assert look.present().tolist() == [True, False, True, True, False, True]
    assert addresses[1, 1] == addresses[1, 4] == 0


def transposed(p: Parameter) -> None:
    p.data = p.data.view(3, 4).t()


CHANGES: dict[str, Callable[[list[Parameter]], object]] = {
    "parameter moved": lambda ps: setattr(ps[0], "data", ps[0].data.clone()),
    "parameter is a view in another order": lambda ps: transposed(ps[0]),
    "gradient in another order": lambda ps: setattr(ps[0], "grad", torch.randn(3, 4).t()),
    "gradient with gaps": lambda ps: setattr(ps[1], "grad", torch.randn(10)[::2]),
    "sparse gradient": lambda ps: setattr(ps[1], "grad", torch.randn(5).to_sparse()),
    "gradient without memory": lambda ps: setattr(ps[1], "grad", torch._efficientzerotensor((5,))),
    "gradient of a subclass": lambda ps: setattr(ps[1], "grad", torch.randn(5).as_subclass(Kin)),
}


class Kin(Tensor):
    """A class of tensors of somebody's own."""


@needs_exchange
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_as_it_was_is_seen(change):
    params = some()
    look, _ = loop(params)
    assert look() == 0
    CHANGES[change](params)
    assert look() == -1


@needs_exchange
@pytest.mark.skipif(tensor_words() is None, reason="this torch has other objects")
def test_torch_is_asked_only_for_what_has_changed():
    """As long as nothing has, an expectation that nothing meets is not held against it."""
    params = some()
    params.append(Parameter(torch.randn(1, 2, 1, 2, 1, 2)))  # sizes of so many dimensions are elsewhere
    params[-1].grad = torch.randn_like(params[-1])
    for i, p in enumerate(params):
        look, _ = loop(params)
        assert look() == 0
        look._arrays["expected"][0, i] = 0
        assert look() == (0 if p.ndim <= 5 else -1)
        p.data = p.data.clone()
        assert look() == -1


STATE_CHANGES: dict[str, Callable[[Tensor], object]] = {
    "moved": lambda t: setattr(t, "data", t.data.clone()),
    "in another order": lambda t: setattr(t, "data", t.data.view(3, 4).t()),
    "of another dtype": lambda t: setattr(t, "data", t.data.double()),
    "from another place": lambda t: setattr(t, "data", torch.zeros(20).as_strided((4, 3), (3, 1), 2)),
    "exchanged": lambda t: torch.utils.swap_tensors(t, torch.zeros(4, 3)),
    "a storage that grows": lambda t: t.untyped_storage().resize_(1 << 20),
}


@needs_exchange
@pytest.mark.parametrize("change", STATE_CHANGES)
@pytest.mark.parametrize("which", ["parameter", "state"])
@pytest.mark.parametrize("words", [True, False])
def test_a_change_of_what_was_seen_before_is_seen(change, which, words, monkeypatch):
    if not words:
        monkeypatch.setattr(_gather, "tensor_words", lambda: None)
    p, state = Parameter(torch.randn(4, 3)), torch.zeros(4, 3)
    p.grad = torch.randn(4, 3)
    addresses = np.array([[p.data_ptr()], [0], [state.data_ptr()]])
    look = _gather.GatherLoop([p], [[state]], addresses, torch.float32)
    assert [look(), look()] == [0, 0]
    changed = p if which == "parameter" else state
    kept = changed.data  # its memory is not given to another
    if change == "exchanged" and which == "parameter":
        torch.utils.swap_tensors(p, Parameter(torch.zeros(4, 3)))
        p.grad = torch.randn(4, 3)
    else:
        STATE_CHANGES[change](changed)
    assert look() == -1
    del kept


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("which", ["parameter", "gradient", "state"])
@pytest.mark.parametrize("shape", [(), (3, 2)])
def test_what_is_negated_in_place_between_steps_is_read_with_its_sign(which, words, shape, monkeypatch):
    """Its memory, shape and strides are what they were. A state is looked at where the words say it has changed."""
    if not words:
        if which == "state":
            pytest.skip("torch is not asked about the sign of states")
        monkeypatch.setattr(_gather, "tensor_words", lambda: None)
    ends = []
    for fused in (None, False):
        p = Parameter(torch.ones(shape))
        optimizer = SGD([p], lr=0.1, momentum=0.9, fused=fused)
        for step in range(4):
            p.grad = torch.full(shape, step + 1.0)
            if step == 2:
                state = optimizer.state[p]
                if which == "parameter":
                    p.data = torch._neg_view(p.data)
                elif which == "gradient":
                    p.grad = torch._neg_view(p.grad)
                else:
                    state["momentum_buffer"].data = torch._neg_view(state["momentum_buffer"].data)
            optimizer.step()
        ends.append(p.detach().clone())
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("which", ["parameter", "state"])
def test_a_lazy_copy_keeps_its_values(which, words, monkeypatch):
    """It shares the memory until somebody asks for that to be written to."""
    if not words:
        monkeypatch.setattr(_gather, "tensor_words", lambda: None)
    p = Parameter(torch.ones(20))
    optimizer = Adam([p], lr=0.1)
    for _ in range(2):
        p.grad = torch.ones(20)
        optimizer.step()
    kept = p.detach() if which == "parameter" else optimizer.state[p]["exp_avg"]
    copy, values = torch._lazy_clone(kept), kept.clone()
    p.grad = torch.ones(20)
    optimizer.step()
    assert torch.equal(copy, values)
    assert not torch.equal(kept, values)


IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "from another place": lambda memory: memory.as_strided((4, 3), (1, 5), 2),
    "with other strides": lambda memory: memory.as_strided((4, 3), (1, 6), 0),
    "of another shape": lambda memory: memory.as_strided((3, 4), (1, 5), 0),
    "as other numbers": lambda memory: memory.view(torch.int32).as_strided((4, 3), (1, 5), 0),
}


@needs_exchange
@pytest.mark.parametrize("change", IN_PLACE)
def test_another_view_of_the_same_memory_is_seen(change):
    memory = torch.zeros(40)
    p, state = Parameter(torch.zeros(40).as_strided((4, 3), (1, 5))), memory.as_strided((4, 3), (1, 5))
    p.grad = torch.zeros(40).as_strided((4, 3), (1, 5))
    look = _gather.GatherLoop([p], [[state]], np.array([[p.data_ptr()], [0], [state.data_ptr()]]), torch.float32)
    assert [look(), look()] == [0, 0]
    state.data = memory.as_strided((4, 3), (1, 5))
    assert look() == 0
    state.data = IN_PLACE[change](memory)
    assert look() == -1


@needs_exchange
def test_a_gradient_is_held_until_it_was_read():
    params = some()
    look, _ = loop(params)
    grad = params[0].grad
    before = sys.getrefcount(grad)
    look()
    assert sys.getrefcount(grad) == before + 1
    look()  # a step that was given up holds nothing twice
    assert sys.getrefcount(grad) == before + 1
    look.release()
    assert sys.getrefcount(grad) == before
    look()
    del look
    assert sys.getrefcount(grad) == before


@pytest.mark.parametrize("compiled", [True, False])
def test_data_exchanged_by_a_view_in_another_order_is_stepped_in_its_order(compiled, monkeypatch):
    """The same memory and as many elements: only the strides tell."""
    if not compiled:
        monkeypatch.setattr(_batch, "gather_loop", lambda *_: None)
    p = Parameter(torch.arange(12.0).view(4, 3))
    optimizer = SGD([p], lr=1.0)
    p.grad = torch.zeros(4, 3)
    optimizer.step()
    p.data = p.data.view(3, 4).t()
    wanted = p.detach() - torch.arange(12.0).view(4, 3)
    p.grad = torch.arange(12.0).view(4, 3)
    optimizer.step()
    assert torch.equal(p.detach(), wanted)


@pytest.mark.parametrize("compiled", [True, False])
def test_steps_are_the_same_with_and_without_the_loop(compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(_batch, "gather_loop", lambda *_: None)
    torch.manual_seed(0)
    params, others = some(), some()
    for p, q in zip(params, others, strict=True):
        q.data = p.detach().clone()
    ours, torchs = Adam(params, lr=0.1), torch.optim.Adam(others, lr=0.1)
    for step in range(5):
        for i, (p, q) in enumerate(zip(params, others, strict=True)):
            p.grad = q.grad = None if (step + i) % 4 == 3 else torch.randn(p.shape)
        ours.step()
        torchs.step()
    for p, q in zip(params, others, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_lazily_negated_gradient_of_one_element_is_read_with_its_sign(compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(_batch, "gather_loop", lambda *_: None)
    p = Parameter(torch.zeros(1))
    p.grad = torch.tensor([1 + 2j]).conj().imag
    assert p.grad.is_neg()
    SGD([p], lr=1.0).step()
    assert p.item() == 2.0


MOVES: dict[str, Callable[[Tensor], object]] = {
    "share_memory_": lambda state: state.share_memory_(),
    "data": lambda state: setattr(state, "data", torch.full_like(state, 5.0)),
    "set_": lambda state: state.set_(torch.full_like(state, 5.0)),
    "in place": lambda state: state.fill_(5.0),
}


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("move", MOVES)
def test_a_state_whose_memory_moves_is_followed(move, compiled, monkeypatch):
    """The tensor stays the same object: only its address tells, and the old memory may be freed."""
    if not compiled:
        monkeypatch.setattr(_batch, "gather_loop", lambda *_: None)
    torch.manual_seed(0)
    p, q = Parameter(torch.ones(70_000)), Parameter(torch.ones(70_000))
    ours, torchs = Adam([p], lr=0.1), torch.optim.Adam([q], lr=0.1)
    for step in range(4):
        p.grad = q.grad = torch.randn(70_000)
        ours.step()
        torchs.step()
        if step == 1:
            for optimizer, tensor in ((ours, p), (torchs, q)):
                MOVES[move](optimizer.state[tensor]["exp_avg"])
    torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_a_step_count_whose_memory_moves_is_counted_on():
    p = Parameter(torch.ones(3))
    optimizer = Adam([p], lr=0.1)
    for step in range(1, 5):
        p.grad = torch.ones(3)
        optimizer.step()
        optimizer.state[p]["step"].share_memory_()
        assert float(optimizer.state[p]["step"]) == step
