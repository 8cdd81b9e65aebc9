"""Several processes that train one model: the rank of this one, sums over all, and the wrapped model.

torchrun starts the processes and ``torch.distributed`` connects them. With one process nothing here does anything.
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
    """Whether this is the process that prints and writes for all."""
    return rank() == 0


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sums(numbers: Sequence[Tensor | float], device: torch.device) -> list[float]:
    """Each number summed over all processes, in double precision."""
    values = torch.stack([torch.as_tensor(n, dtype=torch.float64, device=device).detach() for n in numbers])
    if size() > 1:
        dist.all_reduce(values)
    totals: list[float] = values.tolist()
    return totals


def global_loss(loss: Tensor, outputs: Tensor, rows: int, asked: bool = False) -> tuple[Tensor, Tensor, bool]:
    """The loss to call ``backward`` on in this process, the mean loss over the rows of all processes, and whether one of
    them was asked to end, which costs no message of its own.

    Gradients are averaged over processes, each with the same weight; the loss makes up for parts of
    different sizes, so that the average is the gradient of the whole batch.
    """
    mine = loss.detach().double() * rows if rows else torch.zeros((), dtype=torch.float64, device=loss.device)
    totals = torch.stack([mine, *torch.tensor([float(rows), float(asked)], dtype=torch.float64, device=loss.device)])
    dist.all_reduce(totals)
    all_rows, some_asked = totals[1:].tolist()
    weight = rows * size() / all_rows
    # no rows here: the mean is undefined, but this process must still take part in the averaging
    backward_loss = loss * weight if rows else outputs.sum() * 0
    return backward_loss, totals[0] / all_rows, some_asked > 0


def data_parallel(model: nn.Module) -> nn.Module:
    """The model to train with: with several processes it averages their gradients, unless the model does so itself."""
    if size() == 1 or isinstance(model, nn.parallel.DistributedDataParallel):
        return model
    from torch.distributed.fsdp import FSDPModule

    if isinstance(model, FSDPModule) or not any(p.requires_grad for p in model.parameters()):
        return model
    return nn.parallel.DistributedDataParallel(model)


def broadcast(decide: Callable[[], T]) -> T:
    """What the first process decides, in all processes."""
    if size() == 1:
        return decide()
    values: list[Any] = [decide() if is_main() else None]
    dist.broadcast_object_list(values)
    decided: T = values[0]
    return decided


def all_gather(mine: T) -> list[T]:
    """The values of all processes, in the order of their ranks."""
    values: list[Any] = [mine] * size()
    if size() > 1:
        dist.all_gather_object(values, mine)
    return values


def local(values: Sequence[T]) -> T:
    """This process's value of those that :func:`all_gather` gave; the last one, if they were fewer processes then."""
    return values[min(rank(), len(values) - 1)]


def start() -> bool:
    """Connect to the other processes if torchrun started this one; whether it did."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return False
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return True


def meet() -> None:
    """Wait until all processes are here."""
    if size() > 1:
        dist.barrier()


def leave() -> None:
    """Disconnect from the other processes."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
