"""Counts torch's operations in a call, without those that only look at a tensor in another way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

_NOTHING = ("detach", "view", "expand", "unbind", "select", "split", "alias", "profiler", "_local_scalar")


class _Counted(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if not any(name in str(function) for name in _NOTHING):
            self.calls[str(function)] += 1
        return function(*args, **(kwargs or {}))


def counted(call: Callable[[], Any]) -> Counter[str]:
    """How often each operation is called; an operation on a list is one."""
    with _Counted() as mode:
        call()
    return mode.calls
