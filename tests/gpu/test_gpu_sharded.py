"""A model split over the processes of a mesh, or copied to them, on a CUDA device: here one process, with all that it does for several.

Not: what several processes find, see ``tests/optim/test_sharded.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.distributed as dist
from on_cuda import close, kernels_step, make, no_waiting
from torch import nn

from ravine.backends._sharded import Sharded
from ravine.backends._whole import Whole
from ravine.backends.triton import DeviceBatch
from ravine.optim import Optimizer

#: What torch says of groups of processes is not what is tested.
pytestmark = pytest.mark.filterwarnings("ignore")

#: Optimizers and options; Adafactor needs matrices whole.
CASES: list[tuple[str, dict[str, Any]]] = [
    *[("adamw", o) for o in ({}, {"clip_norm": 0.1}, {"nonfinite": "skip"}, {"state_dtype": "bfloat16"})],
    *[("adamw", {"clip_norm": 0.1, "fused": False}), ("lion", {}), ("adafactor", {})],
]


@pytest.fixture(scope="module")
def one_process() -> Iterator[None]:
    """A group of one process."""
    if not (dist.is_available() and dist.is_nccl_available()):
        pytest.skip("torch is built without NCCL")
    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(37, 101), nn.Tanh(), nn.Linear(101, 67), nn.Tanh(), nn.Linear(67, 1)).to("cuda")


def whole(tensor: Any) -> torch.Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def steps(made: nn.Module, optimizer: Optimizer) -> list[list[torch.Tensor]]:
    """As many that statistics are combined on the way; the first makes what later ones use. The gradients of each tenth."""
    gradients = []
    for step in range(70):
        if step % 10 == 0:
            optimizer.zero_grad()
            generator = torch.Generator().manual_seed(step)
            made(torch.randn(16, 37, generator=generator).to("cuda")).square().mean().backward()
            gradients.append([whole(p.grad).clone() for p in made.parameters()])
        with no_waiting() if step else nullcontext():
            optimizer.step()
    return gradients


def same_as_alone(
    optimizer: Optimizer, gradients: list[list[torch.Tensor]], name: str, options: dict[str, Any]
) -> None:
    """Parameters and figures are those of the same steps without other processes."""
    alone = list(model().parameters())
    plain = make(name, alone, **options)
    for step in range(70):
        for p, grad in zip(alone, gradients[step // 10], strict=True):
            p.grad = grad
        plain.step()
    for p, q in zip(optimizer.param_groups[0]["params"], alone, strict=True):
        close(whole(p), q, torch.float32)
    for row, other in zip(optimizer.watch.last, plain.watch.last, strict=True):
        assert row.grad_norm == pytest.approx(other.grad_norm, rel=1e-4)
        assert row.update_norm == pytest.approx(other.update_norm, rel=1e-4)


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_no_step_of_split_parameters_waits(name, options):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    made, mesh = model(), init_device_mesh("cuda", (1,))
    for module in (made[0], made[2], made):
        fully_shard(module, mesh=mesh)
    optimizer = make(name, list(made.parameters()), **options)
    gradients = steps(made, optimizer)
    assert optimizer._plan is not None
    batches = [entry.batch for entry in optimizer._plan._entries]
    assert (Whole if name == "adafactor" else Sharded) in set(map(type, batches))
    by_kernels = {isinstance(part, DeviceBatch) for batch in batches for _, part in batch._batches}
    assert by_kernels == {options.get("fused") is not False}
    same_as_alone(optimizer, gradients, name, options)


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.1}], ids=str)
def test_no_step_after_ddp_waits(options):
    made = nn.parallel.DistributedDataParallel(model(), device_ids=[torch.cuda.current_device()])
    optimizer = make("adamw", list(made.parameters()), **options)
    gradients = steps(made, optimizer)
    assert kernels_step(optimizer)
    same_as_alone(optimizer, gradients, "adamw", options)
