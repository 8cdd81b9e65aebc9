"""Looks at the tensors of a batch on a device before each step: are they where they were, and where are the gradients?"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine._compat.torch import is_zero_tensor
from ravine.backends._layout import real_dtype
from ravine.backends.triton._native_gather import native_gather

_grad, _dtype = attrgetter("grad"), attrgetter("dtype")
#: An address for a gradient without elements.
_ANYWHERE = 16


class DeviceGather:
    """The look at one batch.

    Args:
        params: the parameters, all on one device.
        states: tensors of each that are laid out as it is, in the order of the rows of ``addresses``.
        others: tensors that also must stay where they are.
        grad_dtype: what gradients must have.

    Attributes:
        active: after a look, None if every parameter has a gradient, else one truth value for each.
        addresses: int64, a row each for parameters, gradients and states.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        states: Sequence[Sequence[Tensor]],
        others: Sequence[Tensor],
        grad_dtype: torch.dtype,
    ) -> None:
        self.active: np.ndarray | None = None
        self._params, self._grad_dtype = list(params), grad_dtype
        n, device = len(params), params[0].device
        self._kept = [t for row in zip(*states, strict=True) for t in row]
        self._others = list(others)
        self._other_at = list(map(Tensor.data_ptr, others))
        self._types, self._numels = [Tensor] * n, list(map(Tensor.numel, params))
        self._at = [t.data_ptr() for t in (*params, *self._kept)]
        self._grad_dtypes = [grad_dtype] * n
        self._devices = [device.index if device.type == "cuda" else -1] * n
        self._contiguous = all(map(Tensor.is_contiguous, params))
        self._strides = list(map(Tensor.stride, params))
        self._layouts = [(p.shape, p.dtype, p.device) for p in params]
        self._plain = not params[0].is_complex()
        self._itemsize = real_dtype(grad_dtype).itemsize
        rows = [self._at[:n], [0] * n, *np.array(self._at[n:], dtype=np.int64).reshape(-1, n).tolist()]
        self.addresses = np.array(rows, dtype=np.int64)
        self._grads: np.ndarray = self.addresses[1]
        self._native = native_gather(params, states, self.addresses, grad_dtype)
        self._copies: list[Tensor] = []

    def look(self) -> bool:
        """Read the gradients' addresses; False if anything else is not as it was."""
        if self._others and list(map(Tensor.data_ptr, self._others)) != self._other_at:
            return False
        if self._native is not None:
            answer = self._native()
            if answer >= 0 and (self._native.knows_signs or not self._negated()):
                if answer & 1 and self._misplaced():
                    return False
                self.active = self._grads != 0 if answer > 1 else None
                return True
        grads = list(map(_grad, self._params))
        if not self._stays():
            return False
        if self._as_ever(grads):
            addresses = list(map(Tensor.data_ptr, grads))
            if 0 not in addresses:  # no memory: without elements, or zeros that nobody wrote down
                self._grads[:] = addresses
                self.active = None
                return not self._misplaced()
        return self._look_at_each(grads)

    def _laid_out(self, tensors: Sequence[Tensor]) -> bool:
        if self._contiguous:
            return all(map(Tensor.is_contiguous, tensors))
        return list(map(Tensor.stride, tensors)) == self._strides

    def _misplaced(self) -> bool:
        """Whether a gradient begins in the middle of an element, which the next plan says by name."""
        return int(np.bitwise_or.reduce(self._grads)) % self._itemsize != 0

    def _negated(self) -> bool:
        """Whether any tensor's elements are to be read with the other sign."""
        grads = [g for g in map(_grad, self._params) if g is not None]
        return any(map(Tensor.is_neg, (*self._params, *self._kept, *grads)))

    # Each of these asks all tensors for one thing without a line of Python for each: some 40 ns, not 400.

    def _stays(self) -> bool:
        """Whether parameters and states are as they were."""
        params = self._params
        return (
            list(map(Tensor.data_ptr, (*params, *self._kept))) == self._at
            and list(map(Tensor.numel, params)) == self._numels
            and self._laid_out(params)
            and not any(map(Tensor.is_neg, (*params, *self._kept)))
        )

    def _as_ever(self, grads: Sequence[Any]) -> bool:
        """Whether every gradient is one that a kernel reads as it is."""
        return (
            self._plain
            and list(map(type, grads)) == self._types
            and list(map(_dtype, grads)) == self._grad_dtypes
            and list(map(Tensor.get_device, grads)) == self._devices
            and list(map(Tensor.numel, grads)) == self._numels
            and self._laid_out(grads)
            and not any(map(Tensor.is_neg, grads))
        )

    def _look_at_each(self, grads: list[Tensor | None]) -> bool:
        """Any gradient may be missing, strided otherwise, or lazily conjugated."""
        addresses = []
        self._copies = []
        for p, g, layout in zip(self._params, grads, self._layouts, strict=True):
            if (p.shape, p.dtype, p.device) != layout:
                return False
            if g is None:
                addresses.append(0)
                continue
            same = g.dtype == self._grad_dtype and g.shape == p.shape and g.device == p.device
            if not same or g.layout is not torch.strided or type(g) is not Tensor:
                return False
            if is_zero_tensor(g) or g.is_conj() or g.is_neg() or (g.stride() != p.stride() and g.numel() > 1):
                # preserve_format gives the parameter's strides, in the gradient's dtype
                g = torch.empty_like(p, dtype=g.dtype, requires_grad=False).copy_(g.detach())
                self._copies.append(g)
            # One without elements is there, and has no chunk that would read it.
            addresses.append(g.data_ptr() or _ANYWHERE)
        missing = [g is None for g in grads]
        self._grads[:] = addresses
        self.active = ~np.array(missing) if any(missing) else None
        return not self._misplaced()

    def release(self) -> None:
        self._copies = []
