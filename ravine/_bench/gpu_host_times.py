"""What a step on a GPU costs the host: seconds until its call returns, with nothing waiting on the device.

Contenders take turns of some steps each. The first step of a turn finds in the processor's caches what another contender has
left there; the others find their own, as a loop that does nothing else.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ravine._bench.candidates import torch_step, torch_ways
from ravine._bench.cases import Configuration
from ravine._bench.gpu_times import GpuRow, parameters
from ravine._bench.measure import Step
from ravine.optim import _registry as registry

#: Turns of each contender, after those that are not counted, and steps of a turn.
_TURNS, _UNCOUNTED, _STEPS = 30, 5, 12


def on_host(steps: Mapping[str, Step], before: Mapping[str, Callable[[], Any]]) -> dict[str, list[list[float]]]:
    """Seconds of every step, by contender and turn.

    Args:
        steps: the contenders.
        before: what some of them do before each step, which is not timed.
    """
    turns: dict[str, list[list[float]]] = {name: [] for name in steps}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn, (name, step) in itertools.product(range(_UNCOUNTED + _TURNS), steps.items()):
            prepare, taken = before.get(name), []
            for _ in range(_STEPS):
                if prepare is not None:
                    prepare()
                torch.cuda.synchronize()
                start = time.perf_counter()
                step()
                taken.append(time.perf_counter() - start)
            if turn >= _UNCOUNTED:
                turns[name].append(taken)
    finally:
        if collecting:
            gc.enable()
    return turns


def time_host(case: str, name: str, count: int, elements: int) -> GpuRow:
    """What a step costs the host: ours with gradients at addresses that stay (``ravine``; ``after others`` in the first step of a
    turn), ours with new ones in every step (``upload``), and torch's ways."""
    cls = registry.lookup(name).cls
    params, moving = (parameters([(elements,)] * count, torch.float32) for _ in range(2))
    pairs = [(p.grad, p.grad.clone()) for p in moving if p.grad is not None]

    def move() -> None:
        for p, (one, other) in zip(moving, pairs, strict=True):
            p.grad = other if p.grad is one else one

    steps: dict[str, Step] = {"ravine": cls(params, lr=1e-6).step, "upload": cls(moving, lr=1e-6).step}
    configuration = Configuration(name, cls.__name__, {"lr": 1e-6})
    for way in torch_ways(configuration):
        if way != "default":
            steps[way] = torch_step(configuration, params, way)
    turns = on_host(steps, {"upload": move})
    seconds = {
        each: statistics.median(itertools.chain.from_iterable(t[1:] for t in taken)) for each, taken in turns.items()
    }
    seconds["after others"] = statistics.median(taken[0] for taken in turns["ravine"])
    return GpuRow(case, name, cls.__name__, "float32", seconds)
