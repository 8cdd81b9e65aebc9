"""What passes give to functions of whole tensors, and what these give back: tensors that live for one step.

Each temporary is one piece of memory for all tensors of a batch, those of one shape beside each other, so that functions are
given many as one. A kernel is given where it begins, and a table says where in it each tensor is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.backends import States, to_device
from ravine.backends._calls import Calls, adjacent
from ravine.backends.triton._kernel_text import temporaries_of
from ravine.formula import Program

#: Every tensor begins at a multiple of so many elements, so that its address is one of 16 bytes.
_STEP = 16


class Temporaries:
    """Those of one batch.

    Args:
        program: what is run.
        params: the parameters.
        states: what is kept for each of them.
        dtype: in which all is computed.

    Attributes:
        offset: the table, if a program has temporaries; kernels that use one are given it.
    """

    def __init__(
        self, program: Program, params: Sequence[Tensor], states: Sequence[States], dtype: torch.dtype
    ) -> None:
        self._program, self._params, self._dtype = program, list(params), dtype
        self._calls = Calls(program, params, states)
        self._any = any(p.calls for p in program.passes)
        self._memory: dict[str, Tensor] = {}
        self.offset: tuple[Tensor, ...] = ()
        if program.temporaries:
            shapes = list(dict.fromkeys(p.shape for p in params))
            order = sorted(range(len(params)), key=lambda i: shapes.index(params[i].shape))
            ends = np.cumsum([-(-params[i].numel() // _STEP) * _STEP for i in order])
            self._size, self._starts = int(ends[-1]), [0] * len(params)
            for i, start in zip(order, [0, *ends[:-1].tolist()], strict=True):
                self._starts[i] = start
            self.offset = (to_device(torch.tensor(self._starts, device="cpu"), params[0].device),)

    def _views(self, memory: Tensor) -> list[Tensor]:
        """The tensors in it, laid out as the parameters."""
        return [
            memory.as_strided(p.shape, p.stride(), start) for p, start in zip(self._params, self._starts, strict=True)
        ]

    def _made(self, name: str) -> list[Tensor]:
        self._memory[name] = memory = torch.empty(self._size, dtype=self._dtype, device=self._params[0].device)
        return self._views(memory)

    def make(self, index: int) -> None:
        """Get the memory that a pass before the last writes to."""
        for name in self._program.passes[index].writes:
            for made, view in zip(self._calls.made, self._made(name), strict=True):
                made[name] = view

    def addresses(self, index: int) -> list[int]:
        """Where the memory begins of what a pass uses, in the order of its kernel's arguments."""
        if not self._memory:
            return []
        return [self._memory[name].data_ptr() for name in temporaries_of(self._program, index)]

    @torch.no_grad()
    def call(self, index: int, active: Sequence[int], numbers: Sequence[Any], bad: Tensor | None) -> None:
        """Run the functions after a pass.

        Args:
            index: which pass.
            active: the parameters that are stepped.
            numbers: those of the pass; of each parameter where one has dimensions.
            bad: as ``Calls.run`` takes it.
        """

        def number(which: int, i: int) -> Any:
            value = numbers[which]
            return value[i] if isinstance(value, Tensor | np.ndarray) and value.ndim else value

        self._calls.run(index, active, lambda _: self._dtype, number, bad)
        for call in self._program.passes[index].calls:
            for name in filter(None, call.results):
                views = self._made(name)
                alike: dict[Any, list[int]] = defaultdict(list)
                for i in active:
                    alike[self._params[i].shape].append(i)
                for members in alike.values():
                    self._copy([views[i] for i in members], [self._calls.made[i][name] for i in members])
                for i in active:
                    self._calls.made[i][name] = views[i]

    @staticmethod
    def _copy(to: list[Tensor], results: list[Tensor]) -> None:
        """Tensors of one shape: all at once where they lie beside each other."""
        target, source = adjacent(to), adjacent(results)
        if target is None or source is None:
            torch._foreach_copy_(to, results)
        else:
            target.copy_(source)

    def write(self, skip: Tensor | None) -> None:
        """Give the states with shapes of their own their new values, but where ``skip`` is true."""
        if self._any:
            self._calls.write(skip)

    def release(self) -> None:
        """Let go of all memory."""
        if not self._any:
            return
        self._calls.release()
        self._memory.clear()
        for made in self._calls.made:
            made.clear()
