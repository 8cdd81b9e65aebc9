"""The C function that launches kernels: the driver, which a function of this test stands for, is given what was asked."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ravine.backends.triton import _native_launch, _text_compiler
from ravine.backends.triton._kernel_text import KernelText
from ravine.backends.triton._native import native
from ravine.backends.triton._native_launch import native_launch

TYPES = ("*fp32", "i32", "fp64", "i64", "fp64", "*fp64")
SIGNATURE = tuple((f"a{i}", kind) for i, kind in enumerate(TYPES))
_DRIVER = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    *[ctypes.c_uint] * 7,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p,
)
_OF = {"i32": ctypes.c_int32, "i64": ctypes.c_int64, "fp64": ctypes.c_double}


class Driver:
    """Notes what it is given, read as the kernel would read it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: int = 0) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answer = answer
        self._function = _DRIVER(self._launch)
        address = ctypes.cast(self._function, ctypes.c_void_p).value
        monkeypatch.setattr(_native_launch, "_entry", lambda: address)

    def _launch(self, function, x, y, z, threads, two, three, shared, stream, places, extra):
        kinds = [_OF.get(kind, ctypes.c_int64) for kind in (*TYPES, "i64", "i64")]
        values = [kind.from_address(places[i]).value for i, kind in enumerate(kinds)]
        self.calls.append(((function, x, y, z), (threads, two, three, shared), (stream, extra), values))
        return self.answer


def compiled(**about: Any) -> Any:
    """A kernel as Triton gives it."""
    plain = {"num_warps": 4, "shared": 512, "num_ctas": 1, "global_scratch_size": 0, "profile_scratch_size": 0}
    about = {**plain, "target": SimpleNamespace(warp_size=32), **about}
    made = SimpleNamespace(metadata=SimpleNamespace(**about), function=4711, packed_metadata=None, launched=[])
    made.run = lambda *given: made.launched.append(given)
    return made


def kernel(monkeypatch: pytest.MonkeyPatch, made: Any) -> _text_compiler.DeviceKernel:
    if native() is None:
        pytest.skip("there is no C compiler here")
    monkeypatch.setattr(_text_compiler, "compile_for", lambda source, target, registers=0: made)
    return _text_compiler.DeviceKernel(KernelText("", SIGNATURE))


@pytest.mark.parametrize(
    ("registers", "spilled", "backend", "again"),
    [
        (48, 2, "cuda", True),
        (48, 0, "cuda", False),
        (64, 2, "cuda", True),
        (200, 2, "cuda", False),
        (48, 2, "hip", False),
    ],
)
def test_a_kernel_that_spills_although_there_are_registers_is_given_them(
    monkeypatch, registers, spilled, backend, again
):
    asked = []

    def compile_for(source, target, limit=0):
        asked.append(limit)
        made = compiled(target=SimpleNamespace(warp_size=32, backend=backend))
        made.n_regs, made.n_spills, made.function = (64, 0, 2) if limit else (registers, spilled, 1)
        return made

    monkeypatch.setattr(_text_compiler, "compile_for", compile_for)
    made = _text_compiler.DeviceKernel(KernelText("", SIGNATURE))
    assert asked == [0, 64 if registers < 64 else 128][: 1 + again]
    assert made._function == 1 + again


def test_the_driver_gets_the_grid_the_stream_and_every_argument(monkeypatch):
    driver, made = Driver(monkeypatch), compiled()
    table, sums = torch.ones(3), torch.ones(2, dtype=torch.float64)
    launch = kernel(monkeypatch, made).bind((7, 2, 1), table, -5, 0.1)
    launch(1 << 40, 1 << 50, 3, sums)  # a whole number where the kernel takes a double
    launch(0, -1, 2.5, 16)
    about = (4711, 7, 2, 1), (128, 1, 1, 512)
    first = [table.data_ptr(), -5, 0.1, 1 << 50, 3.0, sums.data_ptr(), 0, 0]
    assert driver.calls[0] == (*about, (1 << 40, None), first)
    assert driver.calls[1] == (*about, (None, None), [table.data_ptr(), -5, 0.1, -1, 2.5, 16, 0, 0])
    assert not made.launched


def test_what_the_driver_refuses_triton_launches_and_explains(monkeypatch):
    made = compiled()
    Driver(monkeypatch, answer=201)  # no context in this thread
    kernel(monkeypatch, made).bind((7, 1, 1), torch.ones(3), -5, 0.1)(9, 8, 1.0, 16)
    ((x, y, z, stream, function, *_, scratch, a, b, c, d, e, f),) = made.launched
    assert (x, y, z, stream, function) == (7, 1, 1, 9, 4711)
    assert (scratch, b, c, d, e, f) == (None, -5, 0.1, 8, 1.0, 16)
    assert isinstance(a, int)


def test_an_empty_grid_is_not_launched(monkeypatch):
    driver = Driver(monkeypatch)
    kernel(monkeypatch, compiled()).bind((0, 1, 1), 0, 0, 0.0, 0, 0.0, 0)(0)
    assert not driver.calls


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((1, 2.0), "was given 2 after 3"),
        ((1, 2.0, 3, 4), "was given 4 after 3"),
        ((1, "2", 3), "real number"),
        ((1, "2", torch.ones(1)), "real number"),
    ],
)
def test_wrong_arguments_are_errors(monkeypatch, more, says):
    driver = Driver(monkeypatch)
    launch = kernel(monkeypatch, compiled()).bind((1, 1, 1), 0, 0, 0.0)
    with pytest.raises(TypeError, match=says):
        launch(0, *more)
    assert not driver.calls


@pytest.mark.parametrize(
    "about",
    [
        {"num_ctas": 2},
        {"launch_cooperative_grid": True},
        {"launch_pdl": True},
        {"global_scratch_size": 16},
        {"profile_scratch_size": 16},
    ],
    ids=str,
)
def test_more_than_a_plain_launch_is_left_to_triton(monkeypatch, about):
    Driver(monkeypatch)
    assert native_launch(compiled(**about), TYPES) is None


def test_what_is_not_known_here_is_left_to_triton(monkeypatch):
    """An argument of another type, or too many; a Triton that says nothing of its memory, as 3.3; one that watches memory."""
    if (module := native()) is None:
        pytest.skip("there is no C compiler here")
    Driver(monkeypatch)
    assert native_launch(compiled(), ["i64"] * module.MOST_ARGUMENTS) is not None
    assert native_launch(compiled(), ["i64"] * (module.MOST_ARGUMENTS + 1)) is None
    assert native_launch(compiled(), (*TYPES, "fp32")) is None
    older, watching = compiled(), compiled()
    del older.metadata.profile_scratch_size
    assert native_launch(older, TYPES) is None
    watching.run.gsan_enabled = True
    assert native_launch(watching, TYPES) is None


def test_without_a_driver_triton_launches(monkeypatch):
    monkeypatch.setattr(_native_launch, "_entry", lambda: 0)
    made = compiled()
    kernel(monkeypatch, made).bind((1, 1, 1), 1, 2, 3.0)(0, 4, 5.0, 6)
    assert made.launched[0][-6:] == (1, 2, 3.0, 4, 5.0, 6)
