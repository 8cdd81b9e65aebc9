"""The number of the step that each parameter of a batch is about to make; ``state[p]["step"]`` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ravine import backends
from ravine._compat.torch import is_fake, version_of
from ravine.backends import number_dtype
from ravine.optim._engine.alike import Alike, on_device


def counter(values: float | Sequence[float], device: torch.device | str = "cpu") -> Tensor:
    """Step counts as torch keeps them: float32, or float64 where that is the default."""
    wide = torch.get_default_dtype() is torch.float64
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float64 if wide else torch.float32, device=device)


class Steps(Protocol):
    """The step counts of a batch's parameters."""

    def next(self, active: np.ndarray | None) -> Any:
        """The number of the step that the active parameters are about to make; an array or tensor of one for each."""

    def count(self, active: np.ndarray | None, skip: Tensor | None) -> None:
        """That step was made, but where ``skip`` is true."""


def shared(step: object) -> bool:
    """Whether a step count lies in memory that other processes see, as asynchronous trainers have it."""
    return isinstance(step, Tensor) and backends.on_host(step.device) and step.is_shared()


def host_steps(states: Sequence[dict[str, Any]]) -> Steps:
    """The counts of a batch on the host: those that processes share stay where they are."""
    return SharedSteps(states) if any(shared(s["step"]) for s in states) else HostSteps(states)


class HostSteps:
    """Counts on the host: views of one CPU tensor."""

    def __init__(self, states: Sequence[dict[str, Any]]) -> None:
        self._tensor = counter([float(s["step"]) for s in states])
        _show(states, self._tensor)
        self._read()

    def _read(self) -> None:
        self._counts, self._address = self._tensor.numpy(), self._tensor.data_ptr()
        self._shared = self._tensor.is_shared()
        first = self._counts[0] if len(self._counts) else 0
        self._same = int(first) if (self._counts == first).all() else None
        self._seen = version_of(self._tensor)

    def next(self, active: np.ndarray | None) -> int | np.ndarray:
        # The user wrote to a view, or its memory was moved to share it with other processes, which write to it.
        if self._shared or version_of(self._tensor) != self._seen or self._tensor.data_ptr() != self._address:
            self._read()
        if self._same is not None and active is None:
            return self._same + 1
        counts = np.maximum(self._counts + (1 if active is None else active), 1.0).astype(np.float64)
        return int(counts[0]) if len(counts) and (counts == counts[0]).all() else counts

    def count(self, active: np.ndarray | None, skip: Tensor | None) -> None:
        if skip is not None and bool(skip):  # waits, where a device knows whether the step was made
            return
        if active is None:
            self._counts += 1
            if self._same is not None:
                self._same += 1
        else:
            self._counts += active
            self._read()


class SharedSteps:
    """Counts each of which is a tensor of the user's own: other processes see what is counted here, and count there too.

    As with torch's loops nobody waits for the others: two that count at the same moment may count one step.
    """

    def __init__(self, states: Sequence[dict[str, Any]]) -> None:
        for s in states:
            if not isinstance(s["step"], Tensor):
                s["step"] = counter(float(s["step"]))
        self._tensors: list[Tensor] = [s["step"].detach() for s in states]

    def next(self, active: np.ndarray | None) -> int | np.ndarray:
        counts = np.array([t.item() for t in self._tensors], dtype=np.float64)
        counts = np.maximum(counts + (1 if active is None else active), 1.0)
        return int(counts[0]) if len(counts) and (counts == counts[0]).all() else counts

    @torch.no_grad()
    def count(self, active: np.ndarray | None, skip: Tensor | None) -> None:
        if skip is not None and bool(skip):
            return
        for i, tensor in enumerate(self._tensors):
            if active is None or active[i]:
                tensor.add_(1)


class DeviceSteps:
    """Counts on a device: how many steps were skipped is known only there."""

    def __init__(self, states: Sequence[dict[str, Any]], device: torch.device) -> None:
        values = [s["step"] for s in states]
        known = list(map(on_device, values))
        host = counter([0.0 if there else float(v) for v, there in zip(values, known, strict=True)])
        with torch.inference_mode(False), torch.no_grad():
            self._tensor = backends.to_device(host, device)
            if any(known):
                sent = self._tensor.unbind()
                chosen = [v if there else s for v, s, there in zip(values, sent, known, strict=True)]
                self._tensor = torch.stack([v.reshape(()).to(device, host.dtype, non_blocking=True) for v in chosen])
        self._device = device
        self._alike = Alike(self._tensor, values)
        _show(states, self._tensor)

    def _active(self, active: np.ndarray | None) -> Tensor | int:
        if active is None:
            return 1
        # From memory that is not pinned a copy would wait.
        return backends.to_device(torch.from_numpy(active), self._device).to(self._tensor.dtype)

    @torch.no_grad()
    def next(self, active: np.ndarray | None) -> Tensor:
        counts = self._tensor[0] if self._alike and active is None else self._tensor
        return (counts + self._active(active)).clamp(min=1).to(number_dtype(self._device))

    @torch.no_grad()
    def count(self, active: np.ndarray | None, skip: Tensor | None) -> None:
        made, alike = self._active(active), bool(self._alike) and active is None
        self._tensor += made if skip is None else made * (~skip).to(self._tensor.dtype)
        self._alike.note(alike)


class StagedSteps(DeviceSteps):
    """Counts that a batch's own kernels read and raise (``backends.Staged``).

    Attributes:
        together: whether all are known to be equal.
        number: the number of the step that all are about to make, where the host knows it.
    """

    together = False
    number: int | None = None
    _captured = False
    _seen = -1

    def __init__(self, states: Sequence[dict[str, Any]], device: torch.device) -> None:
        super().__init__(states, device)
        self._alike.forget()

    def compare(self) -> None:
        """See whether all are equal; they stay so as long as every parameter has a gradient. Waits for the device."""
        self.together = not is_fake(self._tensor) and bool((self._tensor == self._tensor[:1]).all())
        self._seen = version_of(self._tensor)
        self.number = int(self._tensor[0]) + 1 if self.together and not self._captured else None

    def forget(self) -> None:
        """From here only the device knows the number: a CUDA graph counts there whenever it is replayed."""
        self._captured, self.number = True, None
        self.together = self.together and version_of(self._tensor) == self._seen  # a capture cannot wait to compare

    def next(self, active: np.ndarray | None) -> Tensor:
        if (
            self.together and version_of(self._tensor) != self._seen
        ):  # the user wrote to a view, or a step was broken off
            self.compare()
        if active is not None:
            self.together, self.number = False, None
        self._seen = -1  # until the step is counted: it may fail before or after its kernel has counted it
        return self._tensor

    def count(self, active: np.ndarray | None, skip: Tensor | None) -> None:
        """The batch did, and where it may have skipped the step only the device knows."""
        self._seen = version_of(self._tensor)
        if self.number is not None:
            self.number = self.number + 1 if skip is None else None


def _show(states: Sequence[dict[str, Any]], counts: Tensor) -> None:
    """The user finds the counts in the states."""
    for state, view in zip(states, counts.unbind(), strict=True):
        state["step"] = view
