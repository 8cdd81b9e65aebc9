"""Backends run a program over tensors. This file is the contract; read it first.

A *batch* is a set of parameters that one backend steps together with one program. The optimizer drives all batches
alike::

    for every batch:  gather()                      look at the gradients; nothing is written yet
    for every pass that sums or computes for functions of whole tensors:
        for every batch:  reduce(index, numbers)    sums over each tensor; temporaries
        for every batch:  call(index, numbers)      functions of whole tensors
    for every batch:  write(numbers, buffer_index, skip)    new parameters and states

``numbers`` are what ``Program.numbers`` gave for that pass: each is one number for all parameters of the batch, or
one for each of them.

**Where numbers live.** On the host they are Python floats and NumPy arrays. A batch whose tensors are on a device
(``on_device``) gets and gives float64 tensors there: sums, step counts, learning rates that are tensors, what
GradScaler found, and whether the step is skipped. Nothing of a step then waits for the device; statistics come to
the host when somebody asks. A batch that ``makes_numbers`` is given ``Staged`` in their place: what they are made
of, so that its kernels make them where they are used.

A batch that watches keeps ``STATISTICS`` of its step at ``buffer_index`` until they are asked for, or added to a record.

_calls.py     functions of whole tensors, between two passes
_eager.py     torch operations: any device, dtype and tensor subclass; the meaning of a formula
_foreach.py   torch operations on lists of tensors (_tensor_lists.py), for devices without kernels
_whole.py     the same where a formula needs them whole
_sparse_rows.py  the rows that sparse gradients name
_sharded.py   tensors split over processes, by the backends of their local parts
_rounding_figures.py  what rounding to 16 or 8 bits costs
_layout.py    which tensors kernels of any kind can work on
cpu/          CPU: one compiled loop, all tensors of a batch in one call
triton/       GPUs: one kernel, all tensors of a batch in one launch
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch

from ravine.formula import Program

__all__ = [
    "ROUNDING_STATISTICS",
    "STATISTICS",
    "Batch",
    "ChunkStatistics",
    "Numbers",
    "Staged",
    "States",
    "Statistic",
    "Sums",
    "compute_dtype",
    "number_dtype",
    "on_host",
    "only_device",
    "recording",
    "statistic",
    "to_device",
]


def __dir__() -> list[str]:
    return __all__


#: What the optimizer keeps for one parameter: its states by name.
States = dict[str, torch.Tensor]
#: The numbers of a pass: each a Python number or an array with one per parameter; on a device, tensors.
Numbers = tuple[Any, ...]


class Staged(NamedTuple):
    """The numbers of a pass on a device, before they are made.

    Attributes:
        counts: how many steps each parameter has made, a tensor. The pass that writes raises them, but of parameters
            without a gradient and where a step is skipped.
        hypers: the values of the program's hyperparameters, numbers or float64 tensors on the device.
        sums: the sums of the passes before: one number for all parameters, or one for each.
        together: whether all parameters are known to have made as many steps.
        kept: the numbers that the formula keeps, float64, one for each parameter. The pass that writes brings them up to
            date where it raises the counts.
        number: the number of the step, where the host knows it and it is the same for all parameters.
    """

    counts: torch.Tensor
    hypers: tuple[Any, ...]
    sums: tuple[torch.Tensor, ...]
    together: bool = False
    kept: tuple[torch.Tensor, ...] = ()
    number: int | None = None


#: Sums of a pass: float64, shape (sums, parameters); on a device, a tensor there.
Sums = np.ndarray | torch.Tensor


class Statistic(NamedTuple):
    """One thing that is known of a parameter after a step, and how it is combined over the parts of a tensor."""

    name: str
    reduce: Literal["sum", "max"]


#: Squares of what rounding to 16 or 8 bits costs (``_rounding_figures.py``), of one sample of a tensor.
ROUNDING_STATISTICS = ("state_rounding_square", "param_rounding_square")
#: Of the gradient, of the parameter before the step, and of what the step added to it: the sum of squares and the
#: largest magnitude; what rounding costs. ``nonfinite`` counts the elements of the gradient that are NaN or infinite;
#: ``steps`` is 1 if the parameter was stepped, else 0.
STATISTICS = (
    Statistic("grad_square", "sum"),
    Statistic("param_square", "sum"),
    Statistic("update_square", "sum"),
    *(Statistic(name, "sum") for name in ROUNDING_STATISTICS),
    Statistic("grad_max", "max"),
    Statistic("param_max", "max"),
    Statistic("update_max", "max"),
    Statistic("nonfinite", "sum"),
    Statistic("steps", "sum"),
)


def statistic(*names: str, reduce: str = "") -> list[int]:
    """The rows of the statistics of these names, or of all that are combined by ``reduce``."""
    known = [s.name for s in STATISTICS]
    return [known.index(n) for n in names] + [i for i, s in enumerate(STATISTICS) if s.reduce == reduce]


class ChunkStatistics(NamedTuple):
    """The statistics of a step by chunks, in the host's memory.

    Attributes:
        values: ``STATISTICS`` but ``steps``, float64, shape (statistics, chunks): those of the first place in the buffer.
        first: where the chunks of each parameter begin, and where the last ones end, int64, shape (parameters + 1,).
    """

    values: np.ndarray
    first: np.ndarray


def on_host(device: torch.device) -> bool:
    """Whether numbers can be read where such tensors are; elsewhere reading one waits for everything before it."""
    return device.type == "cpu"


@cache
def only_device() -> bool:
    """Whether there is one CUDA device, which is then the current one: asking which costs a microsecond."""
    return torch.cuda.device_count() == 1


def recording(device: torch.device) -> bool:
    """Whether a CUDA graph is captured there: operations are recorded, and nothing runs."""
    if device.type != "cuda" or not torch.cuda.is_initialized():
        return False
    if device.index is None or only_device() or device.index == torch.cuda.current_device():
        return torch.cuda.is_current_stream_capturing()
    with torch.cuda.device(device):  # torch asks the stream of the current one
        return torch.cuda.is_current_stream_capturing()


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy of a host's tensor there, without waiting: torch's allocator gives pinned memory out again once it was copied."""
    if device.type == "cpu":
        return tensor.clone()
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def number_dtype(device: torch.device) -> torch.dtype:
    """The dtype of numbers and sums there: double precision, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


class Batch(Protocol):
    """Parameters that are stepped together.

    Attributes:
        program: what is run.
        params: the parameters.
        states: what is kept for each of them.
        active: after ``gather``, None if every parameter has a gradient, else one truth value for each.
        on_device: the device where numbers, sums and statistics stay; None: they are on the host.
        makes_numbers: whether it can be given ``Staged`` for numbers.
        takes_host_numbers: whether numbers and step counts of the host serve it better, though its tensors are on a device.
        in_graphs: whether a CUDA graph can capture its steps.
        may_be_brief: whether steps can have the statistics of gradients only, and gain time by that.
        brief: whether they have no more, from ``look`` on.
        by_chunks: where its kernels leave statistics for whoever adds them up, if that is in the host's memory.
    """

    program: Program
    params: list[torch.Tensor]
    states: list[States]
    active: np.ndarray | None
    on_device: torch.device | None
    makes_numbers: bool
    takes_host_numbers: bool
    in_graphs: bool

    @property
    def may_be_brief(self) -> bool: ...

    @property
    def brief(self) -> bool: ...

    @property
    def by_chunks(self) -> ChunkStatistics | None: ...

    def look(self, in_full: bool) -> None:
        """Whether steps from here on have all statistics, or those of gradients only, if they ``may_be_brief``."""

    def gather(self) -> bool:
        """Take this step's gradients; False if tensors moved or changed, and the batch must be made anew."""

    def reduce(self, index: int, numbers: Numbers | Staged) -> Sums:
        """Sums of pass ``index``, one row for each of its reductions, one column per parameter."""

    def call(self, index: int, numbers: Numbers | Staged, bad: torch.Tensor | None = None) -> None:
        """Run the functions of whole tensors that come after pass ``index``, which has run.

        Args:
            index: which pass.
            numbers: those of the pass.
            bad: on a device, a truth value: where it is true the step will change nothing, and functions are given zeros.

        Raises:
            BackendError: one gave a tensor of another shape or dtype than it should.
        """

    def write(self, numbers: Numbers | Staged | None, buffer_index: int = 0, skip: torch.Tensor | None = None) -> None:
        """Run the last pass.

        Args:
            numbers: of the last pass; None stands for those of the step before.
            buffer_index: where the statistics of this step are kept.
            skip: on a device: a tensor of one truth value; where it is true, nothing changes.
        """

    def release(self) -> None:
        """Let go of the gradients, after ``gather`` and without ``write``."""

    def statistics(self, steps: int) -> torch.Tensor:
        """Those of the first so many steps in the buffer: float64, shape (steps, len(STATISTICS), parameters), of local parts.

        What is returned may be written over by the next call.
        """


def compute_dtype(dtypes: Sequence[torch.dtype]) -> torch.dtype:
    """The dtype a program is computed in: float64 if any tensor is, else float32 (16-bit tensors too)."""
    wide = any(d in (torch.float64, torch.complex128) for d in dtypes)
    return torch.float64 if wide else torch.float32
