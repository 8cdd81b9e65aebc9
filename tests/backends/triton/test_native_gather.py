"""The C loop that looks at tensors: it sees what Python sees, and says when a plan does not hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from ravine._compat.tensor_words import TensorWords
from ravine.backends.triton import _native_gather
from ravine.backends.triton._native_gather import NativeGather, native_gather

SHAPES = ((5, 4), (), (3,), (2, 3, 4))


def made(
    dtype: torch.dtype = torch.float32,
) -> tuple[list[Parameter], list[list[torch.Tensor]], np.ndarray, NativeGather]:
    params = [Parameter(torch.ones(s, dtype=dtype)) for s in SHAPES]
    states = [[torch.zeros_like(p), torch.zeros_like(p)] for p in params]
    for p in params:
        p.grad = torch.ones_like(p)
    rows = [params, [torch.empty(0)] * len(params), *zip(*states, strict=True)]
    addresses = np.array([[t.data_ptr() for t in row] for row in rows], dtype=np.int64)
    loop = native_gather(params, states, addresses, dtype)
    if loop is None:
        pytest.skip("there is no C compiler here, or torch is older than 2.10")
    return params, states, addresses, loop


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_addresses_are_those_of_the_gradients_and_new_ones_are_seen(dtype):
    params, _, addresses, loop = made(dtype)
    assert loop() == 1  # all are new
    assert addresses[1].tolist() == [p.grad.data_ptr() for p in params]
    assert loop() == 0
    kept = params[2].grad
    params[2].grad = torch.ones_like(params[2])
    assert loop() == 1
    assert addresses[1, 2] == params[2].grad.data_ptr() != kept.data_ptr()
    params[0].grad = params[3].grad = None
    assert loop() == 5
    assert loop() == 4
    assert (addresses[1] != 0).tolist() == [False, True, True, False]


CHANGES: dict[str, Callable[[list[Parameter], list[list[torch.Tensor]]], object]] = {
    "a parameter elsewhere": lambda ps, _: setattr(ps[0], "data", ps[0].data.clone()),
    "a parameter of another shape": lambda ps, _: setattr(ps[3], "data", ps[3].data.view(3, 2, 4)),
    "a parameter laid out otherwise": lambda ps, _: setattr(ps[3], "data", ps[3].data.as_strided((2, 3, 4), (1, 2, 6))),
    "a parameter whose memory was given back": lambda ps, _: ps[0].untyped_storage().resize_(1 << 20),
    "a parameter from its middle on": lambda ps, _: setattr(ps[2], "data", torch.ones(4)[1:]),
    "a parameter of another dtype": lambda ps, _: setattr(ps[2], "data", ps[2].data.double()),
    "a parameter with the other sign": lambda ps, _: setattr(ps[2], "data", torch._neg_view(ps[2].data)),
    "a gradient with the other sign": lambda ps, _: setattr(ps[2], "grad", torch._neg_view(ps[2].grad)),
    "a state elsewhere": lambda _, states: setattr(states[1][1], "data", torch.ones(())),
    "a gradient laid out otherwise": lambda ps, _: setattr(ps[0], "grad", torch.ones(4, 5).t()),
    "a subclass": lambda ps, _: setattr(ps[0], "grad", Parameter(torch.ones(5, 4))),
    "zeros without memory": lambda ps, _: setattr(ps[0], "grad", torch._efficientzerotensor((5, 4))),
}


@pytest.mark.parametrize("knows_words", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_as_it_was_is_left_to_python(change, knows_words, monkeypatch):
    if not knows_words:
        if "sign" in change:
            pytest.skip("torch's function does not say it")
        monkeypatch.setattr(_native_gather, "tensor_words", lambda: None)
    params, states, _, loop = made()
    assert [loop(), loop()] == [1, 0]
    CHANGES[change](params, states)
    assert loop() == -1


def test_a_tensor_that_only_looks_another_is_asked_about_again():
    params, states, _, loop = made()
    assert [loop(), loop()] == [1, 0]
    params[3].data = params[3].data.view(-1).view(2, 3, 4)  # another object of torch's in the same memory
    states[0][0].set_(states[0][0].detach().untyped_storage(), 0, (5, 4))
    assert [loop(), loop()] == [0, 0]


def test_nothing_is_held_and_nothing_is_lost():
    import sys

    params, _, _, loop = made()
    counts = [sys.getrefcount(o) for o in (None, *params, *(p.grad for p in params))][1:]
    for _ in range(1000):
        loop()
        params[1].grad = None
        loop()
        params[1].grad = torch.ones(())
    assert [sys.getrefcount(o) for o in (None, *params, *(p.grad for p in params))][1:] == counts


def test_without_a_compiler_there_is_no_loop(monkeypatch):
    monkeypatch.setattr(_native_gather, "native", lambda: None)
    p = Parameter(torch.ones(3))
    assert native_gather([p], [[]], np.zeros((2, 1), dtype=np.int64), torch.float32) is None


def test_the_loop_knows_words_in_the_order_in_which_it_is_given_them():
    source = Path(_native_gather.__file__).with_name("native.c").read_text(encoding="utf-8")
    places = re.search(r"enum { (TENSOR, [\w, ]+) };", source)
    assert places is not None
    assert places[1].lower().split(", ") == list(TensorWords._fields)
