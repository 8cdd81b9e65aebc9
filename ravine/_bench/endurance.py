"""A long run with a new learning rate at every step: nothing may be compiled anew, no memory may grow."""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import dataclass

import torch

from ravine._bench import candidates
from ravine._bench.cases import MLP, Configuration
from ravine._bench.machine import resident_bytes
from ravine._bench.process import in_fresh_process
from ravine.backends import cpu as kernels

STEPS = 10_000
_WARM_UP = 500


@dataclass(frozen=True)
class Endurance:
    """What so many steps left behind.

    Attributes:
        optimizer, name: the configuration's label and its class.
        steps: how many steps were made, each with a new learning rate.
        seconds: per step, the change of the learning rate included.
        kernels: kernels compiled or loaded during the run.
        resident_before, resident_after: bytes of the process in memory; None where the system does not tell.
        blocks: growth of Python's memory, in blocks; an object left behind at each step shows here first.
    """

    optimizer: str
    name: str
    steps: int
    seconds: float
    kernels: int
    resident_before: int | None
    resident_after: int | None
    blocks: int
    case: str = MLP.name

    @property
    def growth(self) -> int | None:
        """Bytes by which the process grew."""
        if self.resident_before is None or self.resident_after is None:
            return None
        return self.resident_after - self.resident_before

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures that targets speak of."""
        growth = self.growth
        return {
            "kernels compiled": self.kernels,
            "memory growth, MiB": None if growth is None else growth / 2**20,
            "Python blocks per step": self.blocks / self.steps,
        }


def endure(configuration: Configuration, *, steps: int = STEPS) -> Endurance:
    """Step an MLP's parameters with a new learning rate each time, in a fresh process.

    In this one, memory that earlier measurements gave back would take up any growth, and hide it.
    """
    answer = in_fresh_process(__name__, configuration, steps=steps)
    return Endurance(optimizer=configuration.label, name=configuration.name, steps=steps, **answer)


def measure(configuration: Configuration, *, steps: int) -> dict[str, float | int | None]:
    """In the fresh process: the counts of an ``Endurance``."""
    optimizer = candidates.ravine_optimizer(
        configuration, candidates.parameters(MLP, candidates.gradients(MLP, torch.float32))
    )
    base = optimizer.param_groups[0]["lr"]

    def run(count: int) -> None:
        for i in range(count):
            for group in optimizer.param_groups:
                group["lr"] = base * (1 + i / steps)
            optimizer.step()

    run(min(_WARM_UP, steps))
    gc.collect()
    compiled, resident, blocks = kernels.compiled(), resident_bytes(), sys.getallocatedblocks()
    start = time.perf_counter()
    run(steps)
    seconds = time.perf_counter() - start
    gc.collect()
    return {
        "seconds": seconds / steps,
        "kernels": kernels.compiled() - compiled,
        "resident_before": resident,
        "resident_after": resident_bytes(),
        "blocks": sys.getallocatedblocks() - blocks,
    }
