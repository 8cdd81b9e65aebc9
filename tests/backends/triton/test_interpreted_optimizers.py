"""Every named optimizer's GPU kernels in Triton's interpreter: exact arithmetic, and torch's operations on the host."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from exact_program import can_be_exact
from interpreted_steps import DTYPES, Context, close, exact_step, give, make, parameters, same_watch
from kinds import each_with_another, one_of_each_kind

from ravine.optim import _registry as registry

NAMES = registry.names()
#: Optimizers by formula: the dialects of RMSprop have other defaults of the same pieces.
FORMULAS = [n for n in NAMES if not n.startswith("rmsprop-") or n == "rmsprop-centered"]
RTOL = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-9}
#: All in single precision. How a dtype is read and written does not depend on the formula: one other dtype for each.
CASES = [(n, torch.float32) for n in NAMES] + each_with_another(FORMULAS, [d for d in DTYPES if d is not torch.float32])
OPTIONS = [
    {"clip_norm": 0.5},
    {"maximize": True},
    {"weight_decay": 0.1},
    {"nonfinite": "skip"},
    {"ema_decay": 0.9},
    {"watch": False, "clip_norm": 1.0},
    {"lr": torch.tensor(0.02)},
]
#: Clipping adds a pass to a formula of each kind; what the others change is the same in all.
WITH_OPTIONS = [(n, OPTIONS[0]) for n in one_of_each_kind(FORMULAS)]
WITH_OPTIONS += [(n, options) for n in ("momentum", "adamw", "rmsprop-centered") for options in OPTIONS[1:]]


def as_torchs_operations(name: str, interpreting: Context) -> None:
    """What cannot be evaluated exactly is compared with torch's operations, in double precision."""
    ours, others = parameters(torch.float64), parameters(torch.float64)
    kernels, eager = make(name, ours), make(name, others, fused=False)
    for step, missing in enumerate(([], [0, 3])):
        for params in (ours, others):
            give(params, step, missing)
        with interpreting():
            kernels.step()
        eager.step()
    close(kernels, eager, 1e-11)


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
def test_every_result_is_one_that_rounding_allows(name: str, dtype: torch.dtype, interpreting: Context) -> None:
    params = parameters(dtype)
    optimizer = make(name, params)
    if not all(map(can_be_exact, optimizer._programs(optimizer.param_groups[0]).values())):
        as_torchs_operations(name, interpreting)
        return
    for step, missing in enumerate(([], [0, 3])):
        give(params, step, missing)
        exact_step(optimizer, interpreting)


@pytest.mark.filterwarnings("ignore:nonfinite='skip'")
@pytest.mark.parametrize(("name", "options"), WITH_OPTIONS, ids=lambda x: x if isinstance(x, str) else "-".join(x))
def test_options(name: str, options: dict[str, Any], interpreting: Context) -> None:
    """In double precision rounding decides no sign, and the steps of torch's operations stay together with the kernel's."""
    ours, others = parameters(torch.float64), parameters(torch.float64)
    kernels, eager = make(name, ours, **options), make(name, others, fused=False, **options)
    for step in range(2):
        for params in (ours, others):
            give(params, step)
            if options.get("nonfinite") == "skip" and step == 1:
                params[0].grad[1030] = float("inf")  # type: ignore[index]
        with interpreting():
            kernels.step()
        eager.step()
    close(kernels, eager, 1e-12)
    if "nonfinite" in options:
        with interpreting():
            assert kernels.watch.skipped == eager.watch.skipped == 1
    elif options.get("watch", True):
        with interpreting():
            same_watch(kernels, eager)
    if "ema_decay" in options:
        with kernels.averaged(), eager.averaged():
            close(kernels, eager, 1e-12)
