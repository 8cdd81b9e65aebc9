"""Steps of split parameters whose parts, on the CPU, count as a device's; ``sharded_worker.py`` runs them in two processes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.distributed as dist
from no_reading import between_addresses, no_reading
from sharded_cases import everything, model, rows, watched
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard

from ravine import backends
from ravine.errors import ParameterError
from ravine.optim import Adafactor, AdamW, Muon, Optimizer
from ravine.optim._engine import plan, prepare

#: By name: the optimizer, of parts and of tensors that a formula needs whole, and its options.
KINDS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "sums": (AdamW, {"clip_norm": 0.1, "nonfinite": "skip"}),
    "sums without lists": (AdamW, {"clip_norm": 0.1, "fused": False}),
    "narrow states": (AdamW, {"state_dtype": "bfloat16", "rounding": "nearest"}),
    "states of 8 bits": (AdamW, {"state_dtype": "8bit"}),
    "rows and columns": (Adafactor, {"clip_norm": 0.1}),
    "functions of matrices": (Muon, {}),
}
STEPS = 7


def run(name: str, on_device: bool) -> dict[str, torch.Tensor]:
    """Parameters, states and figures after some steps."""
    made: Any = rows(name).double() if "8 bits" in name else model("float64")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for module in (*[m for m in made.children() if isinstance(m, torch.nn.Linear)], made):
        fully_shard(module, mesh=mesh)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "_SLOTS", 4)  # statistics are combined on the way
        patch.setattr(plan, "_FEWEST_SLOTS", 4)
        if on_device:
            patch.setattr(backends, "on_host", lambda device: False)
            patch.setattr(prepare, "why_not", lambda tensor: "there are no kernels")
        cls, options = KINDS[name]
        optimizer = cls(made.parameters(), lr=0.01, **options)
        for step in range(STEPS):
            made.zero_grad()
            x = torch.randn(6, 5, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
            made(x).square().mean().backward()
            if step == 5:
                next(made.parameters()).grad = None
            with no_reading(patch) if on_device and step else nullcontext():
                optimizer.step()
        assert optimizer._plan is not None
        assert (optimizer._plan.device is not None) is on_device
        return everything(made, optimizer) | watched(optimizer)


def nothing_waits_for_a_device() -> None:
    """No number is read in a step, and all of them are those of the host."""
    for name in KINDS:
        found, wanted = run(name, True), run(name, False)
        assert found.keys() == wanted.keys()
        near = {"rtol": 1e-3, "atol": 1e-4} if "8 bits" in name else {"rtol": 1e-9, "atol": 1e-9}
        for key, value in wanted.items():
            if value.dtype.is_floating_point:
                assert torch.allclose(found[key], value, equal_nan=True, **near), (name, key)
            else:  # codes: a last digit may decide
                assert (found[key] != value).double().mean() < 0.01, (name, key)


def parts_between_addresses_are_named() -> None:
    """A GPU reads no element that begins in the middle of another."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "on_host", lambda device: False)
        for which in ("parameter 0", "the gradient of parameter 0", "state exp_avg of parameter 0"):
            parts = [torch.ones(3, 2) for _ in range(2)]
            here = 0 if which.startswith("parameter") else 1
            parts[here] = between_addresses(parts[here])
            p, other = (DTensor.from_local(one, mesh, [Shard(0)]) for one in parts)
            p.requires_grad_().grad = torch.zeros_like(p) if "gradient" not in which else other
            optimizer = AdamW([p])
            if "state" in which:
                optimizer.step()
                optimizer.state[p]["exp_avg"] = other
            with pytest.raises(ParameterError, match=f"^{which} .*middle of an element"):
                optimizer.step()
