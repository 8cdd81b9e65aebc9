"""The first step of a fresh process: what a user waits for once, with an empty and with a warm kernel cache.

Imports do not count. torch imports more at the first use of any optimizer (its compiler, for seconds), so the
child process first steps with torch's SGD; then the clock runs while our optimizer is made and steps once.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass

import torch

from ravine._bench import candidates
from ravine._bench.cases import MLP, Configuration
from ravine._bench.process import in_fresh_process


@dataclass(frozen=True)
class FirstStep:
    """Seconds until the first step of an MLP's parameters is done: medians over fresh processes.

    Attributes:
        optimizer, name: the configuration's label and its class.
        empty: seconds with an empty kernel cache.
        warm: seconds with the kernel in the cache.
    """

    optimizer: str
    name: str
    empty: float
    warm: float
    case: str = MLP.name

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures that targets speak of, in seconds."""
        return {"first step, empty, s": self.empty, "first step, warm, s": self.warm}


def time_first_step(configuration: Configuration, *, rounds: int = 1) -> FirstStep:
    """Time the first step in fresh processes, two for each round."""
    empty: list[float] = []
    warm: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="ravine-bench-") as folder:
            for seconds in (empty, warm):
                seconds.append(in_fresh_process(__name__, configuration, cache=folder)["seconds"])
    medians = statistics.median(empty), statistics.median(warm)
    return FirstStep(configuration.label, configuration.name, *medians)


def measure(configuration: Configuration) -> dict[str, float]:
    """In the fresh process: ``seconds`` until the first step is done."""
    _import_all()
    params = candidates.parameters(MLP, candidates.gradients(MLP, torch.float32))
    start = time.perf_counter()
    candidates.ravine_optimizer(configuration, params).step()
    return {"seconds": time.perf_counter() - start}


def _import_all() -> None:
    import ravine.backends._eager
    import ravine.backends.cpu  # noqa: F401

    param = torch.nn.Parameter(torch.ones(1))
    param.grad = torch.ones(1)
    torch.optim.SGD([param]).step()
