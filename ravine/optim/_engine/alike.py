"""Whether numbers on a device, one for each parameter, are equal: known on the host, without asking the device.

Then a step is given one number for all of them, which torch's operations on lists take together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ravine import backends
from ravine._compat.torch import is_fake, version_of, viewed

#: Of tensors whose numbers were equal, how often they had been written to by then: a new plan takes over what an old one knew.
_VERSIONS: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


class Alike:
    """What is known of the numbers in a tensor; true if they are equal.

    Args:
        tensor: the numbers on the device.
        values: the numbers or tensors that they were made of.
    """

    def __init__(self, tensor: Tensor, values: Sequence[Any]) -> None:
        self._tensor, self._equal, self._seen = tensor, False, -1
        self.note(_equal_on_host(values) or _equal_before(values))

    def __bool__(self) -> bool:
        if version_of(self._tensor) != self._seen:  # the user wrote to a view
            self._equal = False
        return self._equal or len(self._tensor) == 1

    def note(self, equal: bool) -> None:
        """What is so after the tensor was written to."""
        self._equal, self._seen = equal, version_of(self._tensor)
        _VERSIONS[self._tensor] = self._seen if equal else -1

    def forget(self) -> None:
        """From here kernels write to the tensor, without torch's knowledge."""
        if self._equal:
            self.note(False)


def on_device(value: object) -> bool:
    """Whether only a device knows a number."""
    return isinstance(value, Tensor) and (not backends.on_host(value.device) or is_fake(value))


def _equal_on_host(values: Sequence[Any]) -> bool:
    return not any(map(on_device, values)) and len(set(map(float, values))) == 1


def _equal_before(values: Sequence[Any]) -> bool:
    """Whether all are views of one tensor whose numbers were equal, and which nobody has written to since."""
    first = viewed(values[0]) if values and isinstance(values[0], Tensor) else None
    if first is None or not all(isinstance(v, Tensor) and viewed(v) is first for v in values):
        return False
    return bool(_VERSIONS.get(first, -1) == version_of(first))
