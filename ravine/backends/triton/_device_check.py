"""Which devices have kernels, and which tensors they take."""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor

from ravine import backends
from ravine.backends._layout import real_dtype, unfit
from ravine.backends.triton._kernel_text import KINDS

#: torch 2.7 comes with it; the one before launches kernels in another way.
_OLDEST = (3, 3)
#: As old as torch's own compiler takes a GPU: Volta, and Turing, for which Triton no longer multiplies matrices. Kernels of steps do not.
_OLDEST_GPU = (7, 0)


@cache
def missing(device: torch.device) -> str:
    """Why there can be no kernel on this device, and what helps, in words; empty if there can be one."""
    if device.type == "cpu":
        return "" if os.environ.get("TRITON_INTERPRET") == "1" else "Triton interprets only with TRITON_INTERPRET=1"
    if device.type != "cuda":
        return f"there are kernels for CUDA and ROCm, and none for {device.type}"
    if importlib.util.find_spec("triton") is None:
        package = "triton-windows" if sys.platform == "win32" else "triton"
        return f"Triton is not installed, which torch's CUDA builds for Linux bring: pip install {package}"
    try:
        installed = version("triton")
    except PackageNotFoundError:  # of another name, as pytorch-triton-rocm
        installed = getattr(importlib.import_module("triton"), "__version__", "0")
    if tuple(int(part) for part in installed.split(".")[:2]) < _OLDEST:
        return f"Triton {installed} is too old: install 3.3 or newer (torch 2.7 or newer comes with it)"
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < _OLDEST_GPU:
        return f"{torch.cuda.get_device_name(device)} is older than Triton's kernels need (compute capability 7.0)"
    return ""


def kernels_wanted(device: torch.device) -> bool:
    """Whether kernels of this backend step tensors there: on GPUs; where tests let the CPU count as one, interpreted."""
    if device.type == "cpu":
        return not backends.on_host(device) and not missing(device)
    return device.type == "cuda"


def why_no_kernel(tensor: Tensor) -> str:
    """Why no kernel can work on this tensor, in words; empty if one can."""
    if reason := missing(tensor.device):
        return reason
    if real_dtype(tensor.dtype) not in KINDS:
        return f"its dtype is {tensor.dtype}"
    return unfit(tensor)
