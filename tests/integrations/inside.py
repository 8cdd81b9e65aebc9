"""What the tests inside trainers share: data, a model, optimizers in pairs, and what is read back from logs."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import ravine.optim
from ravine.tasks import find

ROOT = Path(__file__).parent.parent.parent
#: The largest relative difference of a loss from that with torch.optim; two kernels round differently.
TOLERANCE = 2e-5


def data(rows: int = 320) -> tuple[Tensor, Tensor]:
    """Digits: inputs of shape (rows, 64) and targets."""
    train = find("digits").train
    return train.inputs[:rows].flatten(1).float(), train.targets[:rows]


def net() -> nn.Sequential:
    """The same weights each time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def batches(size: int = 32) -> list[tuple[Tensor, Tensor]]:
    """All of the data, in order."""
    inputs, targets = data()
    return list(zip(inputs.split(size), targets.split(size), strict=True))


def plain_losses(
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.RMSprop, epochs: int = 2, **options: Any
) -> tuple[list[float], list[float]]:
    """What a loop of torch alone gives: the losses and the gradients' norms of every step."""
    model = net()
    made = optimizer(model.parameters(), **options)
    losses, norms = [], []
    for inputs, targets in batches() * epochs:
        made.zero_grad()
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        norms.append(norm(p.grad for p in model.parameters() if p.grad is not None))
        losses.append(loss.item())
        made.step()
    return losses, norms


def norm(tensors: Iterable[Tensor]) -> float:
    """By hand, in double precision."""
    return math.sqrt(sum(float(t.detach().double().square().sum()) for t in tensors))


def assert_alike(losses: Sequence[float], reference: Sequence[float], tolerance: float = TOLERANCE) -> None:
    """As many losses, each as near as the rounding of two kernels allows."""
    np.testing.assert_allclose(losses, reference, rtol=tolerance)


def pair(name: str = "RMSprop") -> tuple[Any, Any]:
    """Torch's class and ours."""
    return getattr(torch.optim, name), getattr(ravine.optim, name)


def column(file: str | Path, name: str) -> list[float]:
    """The values of a column of a CSV file, where it has some."""
    with open(file, newline="", encoding="utf-8") as lines:
        return [float(row[name]) for row in csv.DictReader(lines) if row.get(name)]


def scalars(folder: str | Path, tag: str) -> dict[int, float]:
    """What TensorBoard reads from a folder, under a name: {step: value}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    values: dict[int, float] = {}
    for file in sorted(Path(folder).rglob("events.out.tfevents*")):
        events = EventAccumulator(str(file))
        events.Reload()
        if tag in events.Tags()["scalars"]:
            values |= {event.step: event.value for event in events.Scalars(tag)}
    return values


def texts(folder: str | Path) -> list[str]:
    """The names of all texts that TensorBoard finds in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    names: list[str] = []
    for file in Path(folder).rglob("events.out.tfevents*"):
        events = EventAccumulator(str(file))
        events.Reload()
        names += events.Tags()["tensors"]
    return names


def run_script(text: str, folder: str | Path, *launcher: str) -> str:
    """Run a script in a process of its own, and give what it printed; ``launcher`` comes before its name."""
    script = Path(folder) / "script.py"
    script.write_text(text, encoding="utf-8")
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/integrations")]),
        "OMP_NUM_THREADS": "1",
    }
    for name in [n for n in env if n.startswith(("PYTEST", "RANK", "WORLD", "LOCAL_", "MASTER_"))]:
        del env[name]
    done = subprocess.run(
        [sys.executable, *launcher, str(script)], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout
