"""Which kernels there are for a tensor: those of the CPU, those of a GPU, or none."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ravine import backends
from ravine._line_of_user import level_of_user
from ravine.backends import Batch, States, cpu, triton
from ravine.backends._eager import Eager
from ravine.backends._foreach import Foreach
from ravine.backends._sparse_rows import SparseRows
from ravine.errors import BackendError
from ravine.formula import Program


def why_not(tensor: Tensor) -> str:
    """Why no kernel can work on this tensor, in words; empty if one can."""
    return (triton.why_no_kernel if triton.kernels_wanted(tensor.device) else cpu.why_not)(tensor)


def on_gpu(tensor: Tensor) -> bool:
    """Whether its kernels are those of a GPU."""
    return triton.kernels_wanted(tensor.device)


def needs_whole(program: Program) -> bool:
    """Whether a formula cannot be run on a part of a tensor."""
    return program.along or bool(program.tensors) or any(p.calls for p in program.passes)


def kernel_batch(
    program: Program,
    params: Sequence[Tensor],
    states: Sequence[States],
    grad_dtype: torch.dtype,
    fused: bool | None,
    buffer_size: int,
) -> Batch:
    """A batch of tensors that kernels can work on: torch's operations take it if nothing can be compiled.

    Raises:
        BackendError: with ``fused=True`` nothing can be compiled.
    """
    gpu = on_gpu(params[0])
    try:
        if gpu:
            on_device = triton.MatrixDeviceBatch if program.along else triton.DeviceBatch
            return on_device(program, params, states, grad_dtype, buffer_size)
        made = cpu.MatrixFused if program.along else cpu.Fused
        return made(program, params, states, grad_dtype, buffer_size)
    except BackendError as error:
        if fused:
            raise
        listed = gpu and not needs_whole(program)
        warn_once(str(error), "on lists " if listed else "")
        return (Foreach if listed else Eager)(program, params, states, buffer_size)


def sparse_batch(
    program: Program,
    params: Sequence[Tensor],
    states: Sequence[States],
    grad_dtype: torch.dtype | None,
    fused: bool | None,
    buffer_size: int,
) -> Batch:
    """A batch of parameters with sparse gradients; ``grad_dtype`` None: torch's operations step them.

    Raises:
        BackendError: with ``fused=True`` nothing can be compiled.
    """
    if grad_dtype is not None:
        try:
            return cpu.SparseFused(program, params, states, grad_dtype, buffer_size)
        except BackendError as error:
            if fused:
                raise
            warn_once(str(error), "")
    return SparseRows(program, params, states, buffer_size)


def refuse_recording(groups: Sequence[dict[str, Any]]) -> None:
    """Raise BackendError while a CUDA graph is captured: what a plan makes would be gone with the graph."""
    if any(map(backends.recording, {p.device for group in groups for p in group["params"]})):
        raise BackendError(
            "a CUDA graph is captured before these parameters were stepped: make a step before the capture, and let "
            "gradients and parameters stay where they are (zero_grad(set_to_none=False))"
        )


def captured(batches: Sequence[Batch], raises: bool) -> bool:
    """Whether a CUDA graph captures a step of these batches.

    Args:
        batches: all that are stepped.
        raises: whether gradients that are not finite raise.

    Raises:
        BackendError: it cannot capture this one whole.
    """
    devices = {batch.on_device for batch in batches}
    if not any(device is not None and backends.recording(device) for device in devices):
        return False
    if None in devices:
        raise BackendError(
            "a CUDA graph cannot capture a step of parameters on the CPU: give them an optimizer of their own, and step "
            "it outside the graph"
        )
    if len(devices) > 1:
        raise BackendError(
            f"a CUDA graph cannot capture a step on several devices ({', '.join(sorted(map(str, devices)))}): make an "
            "optimizer for each of them"
        )
    if not all(batch.in_graphs for batch in batches):
        raise BackendError(
            "a CUDA graph cannot capture steps that torch's operations make, since their numbers come from the host: "
            "install Triton, or step outside the graph"
        )
    if raises:  # somebody must look at a gradient
        raise BackendError(
            "nonfinite='raise' cannot look at gradients while a CUDA graph is captured, nor when it is replayed: use "
            "nonfinite='skip', and look at optimizer.skipped"
        )
    return True


def warn_captured() -> None:
    """Say that a plan was dropped of which a CUDA graph captured steps."""
    warnings.warn(
        "CUDA graphs that captured steps of this optimizer no longer hold, since its parameters, states or options "
        "changed: capture again",
        stacklevel=level_of_user(),
    )


@cache
def warn_once(why: str, how: str = "on lists ") -> None:
    """Say once in a process why a machine is used less well than it could be."""
    warnings.warn(f"{why}. Torch's operations {how}step these tensors, in several passes", stacklevel=level_of_user())
