"""Several processes that train one model: who this one is, sums over all, and the model that keeps them together.

Starting the processes is torchrun's work and joining them ``torch.distributed``'s. With one process everything
here is nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is the process that speaks and writes for all."""
    return rank() == 0


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sums(numbers: Sequence[Tensor | float], device: torch.device) -> list[float]:
    """Each number summed over all processes, in double precision."""
    values = torch.stack([torch.as_tensor(n, dtype=torch.float64, device=device).detach() for n in numbers])
    if size() > 1:
        dist.all_reduce(values)
    found: list[float] = values.tolist()
    return found


def joined_loss(loss: Tensor, outputs: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """The loss that this process calls ``backward`` on, and the mean loss over the rows of all processes.

    Gradients are averaged over processes, each with the same weight; the loss makes up for parts of
    different sizes, so that the average is the gradient of the joined batch.
    """
    mine = loss.detach().double() * rows if rows else torch.zeros((), dtype=torch.float64, device=loss.device)
    totals = torch.stack([mine, torch.tensor(float(rows), dtype=torch.float64, device=loss.device)])
    dist.all_reduce(totals)
    share = rows * size() / float(totals[1])
    # no rows here: the mean is undefined, but this process must still take part in the averaging
    backward_loss = loss * share if rows else outputs.sum() * 0
    return backward_loss, totals[0] / totals[1]


def data_parallel(model: nn.Module) -> nn.Module:
    """The model to call: with several processes one that averages their gradients, unless the model does so itself."""
    if size() == 1 or isinstance(model, nn.parallel.DistributedDataParallel):
        return model
    from torch.distributed.fsdp import FSDPModule

    if isinstance(model, FSDPModule) or not any(p.requires_grad for p in model.parameters()):
        return model
    return nn.parallel.DistributedDataParallel(model)


def broadcast(decide: Callable[[], T]) -> T:
    """What the first process decides, in all of them."""
    if size() == 1:
        return decide()
    found: list[Any] = [decide() if rank() == 0 else None]
    dist.broadcast_object_list(found)
    decided: T = found[0]
    return decided


def all_gather(mine: T) -> list[T]:
    """What each process has, in the order of their ranks."""
    found: list[Any] = [mine] * size()
    if size() > 1:
        dist.all_gather_object(found, mine)
    return found


def local(all_of_them: Sequence[T]) -> T:
    """This process's one of what :func:`all_gather` gave, perhaps to fewer processes: the last, where it has none."""
    return all_of_them[min(rank(), len(all_of_them) - 1)]


def start() -> bool:
    """Join the other processes if torchrun started this one; whether it did."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return False
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return True


def leave() -> None:
    """Part from the other processes."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
