"""GPU kernels without a GPU: Triton's interpreter runs them on tensors of the CPU, which then count as a device's.

Triton asks TRITON_INTERPRET both when it is imported, for its own functions, and when a kernel is made. So it is
imported here with the switch on, and the switch is on again only while a test asks for the fixture ``interpreter``:
other tests, and the processes that they start, see nothing of it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import torch
from on_lists import on_lists

from ravine import backends
from ravine.backends.triton import _device_check

_SWITCH = "TRITON_INTERPRET"


def _why_not() -> str:
    """Why kernels cannot be interpreted in this process, in words; empty if they can."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed: pip install triton"
    if torch.cuda.is_available() and os.environ.get(_SWITCH) != "1":
        return f"with a CUDA device kernels are compiled: {_SWITCH}=1 interprets them instead"
    return ""


WHY_NOT = _why_not()
if not WHY_NOT:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_SWITCH, "1")
        from quick_interpreter import quick

        from ravine.backends.triton import _language  # noqa: F401


@contextlib.contextmanager
def _interpreting() -> Iterator[None]:
    with quick(), pytest.MonkeyPatch.context() as patch:
        patch.setenv(_SWITCH, "1")
        patch.setattr(backends, "on_host", lambda device: False)
        _device_check.missing.cache_clear()
        try:
            yield
        finally:
            _device_check.missing.cache_clear()


@pytest.fixture
def interpreting() -> Callable[[], AbstractContextManager[None]]:
    """A context in which optimizers step tensors of the CPU with the kernels of a GPU."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    return _interpreting


@pytest.fixture
def interpreter(interpreting: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """The whole test in that context."""
    with interpreting():
        yield


@pytest.fixture
def lists() -> Iterator[None]:
    """The whole test on a device without kernels."""
    with on_lists():
        yield


@pytest.fixture(params=["kernel", "eager", "interpreter", "lists"])
def fused(request: pytest.FixtureRequest) -> bool | None:
    """An optimizer's option: for kernels of the CPU, none, those of a GPU in Triton's interpreter, and operations on lists."""
    if request.param in ("interpreter", "lists"):
        request.getfixturevalue(request.param)
    return {"eager": False, "lists": None}.get(request.param, True)
