"""Seconds per epoch of three ways to train the tutorials' MLP on Fashion-MNIST, one after the other in turns.

The model is 784-200-10 with ReLU, the batch size 64, the optimizer RMSProp with alpha 0.9 and learning rate 1e-3.

- ``tutorial``: the loop as tutorials have it: every picture through PIL, a DataLoader, RMSProp by hand in a loop over
  the parameters, ``loss.item()`` at every step.
- ``careful``: what one writes who knows PyTorch: tensors in memory, one permutation an epoch, torch's RMSprop, the
  loss fetched once an epoch.
- ``ravine``: the Learner with our RMSprop, its recorder writing to a file and its progress bar drawn.

Run: ``python benchmarks/train.py [--epochs 3] [--threads 1] [--threads 2] [--data FOLDER] [--json FILE]``
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from ravine._plotting import terminal_tables as tables
from ravine.optim import RMSprop
from ravine.tasks import find
from ravine.train import Batches, Learner

BATCH, LR, ALPHA, EPS = 64, 1e-3, 0.9, 1e-8
TARGETS = {"tutorial": 4.0, "careful": 1.25}


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 10))


class Pictures(Dataset):
    """Fashion-MNIST picture by picture, as a dataset with a transform gives it."""

    def __init__(self, pixels: np.ndarray, labels: list[int]) -> None:
        self.pixels, self.labels = pixels, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.pixels[index])
        numbers = torch.from_numpy(np.array(picture, dtype=np.uint8)).unsqueeze(0).float().div(255)
        return (numbers - 0.5) / 0.5, self.labels[index]


def tutorial(pixels: np.ndarray, labels: list[int]) -> Callable[[], float]:
    net, averages = model(), []
    loader = DataLoader(Pictures(pixels, labels), batch_size=BATCH, shuffle=True)
    for p in net.parameters():
        averages.append(torch.zeros_like(p))

    def epoch() -> float:
        began = perf_counter()
        losses = []
        for inputs, targets in loader:
            loss = functional.cross_entropy(net(inputs), targets)
            net.zero_grad()
            loss.backward()
            with torch.no_grad():
                for p, average in zip(net.parameters(), averages, strict=True):
                    average[:] = ALPHA * average + (1 - ALPHA) * p.grad**2
                    p -= LR * p.grad / torch.sqrt(average + EPS)
            losses.append(loss.item())
        return perf_counter() - began

    return epoch


def careful(inputs: Tensor, targets: Tensor) -> Callable[[], float]:
    net = model()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=LR, alpha=ALPHA)

    def epoch() -> float:
        began = perf_counter()
        total = torch.zeros(())
        for rows in torch.randperm(len(inputs)).split(BATCH):
            loss = functional.cross_entropy(net(inputs[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        float(total)
        return perf_counter() - began

    return epoch


def ravine(inputs: Tensor, targets: Tensor, folder: Path) -> Callable[[], float]:
    learn = Learner(
        model(),
        (Batches(inputs, targets, BATCH), None),
        functional.cross_entropy,
        partial(RMSprop, lr=LR, alpha=ALPHA),
        folder=folder,
    )

    def epoch() -> float:
        began = perf_counter()
        learn.fit(1)
        return perf_counter() - began

    return epoch


@contextlib.contextmanager
def own_terminal() -> Iterator[None]:
    """Standard output on a terminal of its own, so that the progress bar is drawn wherever this script runs."""
    import pty
    import threading

    leader, follower = pty.openpty()
    kept = os.dup(1)
    sys.stdout.flush()
    os.dup2(follower, 1)
    reader = threading.Thread(target=_drain, args=(leader,), daemon=True)
    reader.start()
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        for descriptor in (kept, follower):
            os.close(descriptor)


def _drain(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 65536):
            pass


def compare(epochs: int, threads: int, data: Path | None) -> dict[str, Any]:
    """Median seconds of an epoch, after one epoch of each that is not counted."""
    torch.set_num_threads(threads)
    task = find("fashion-mnist", data)
    inputs, targets = task.train.inputs, task.train.targets
    span = inputs.max() - inputs.min()
    pixels = ((inputs - inputs.min()) / span * 255).round().to(torch.uint8).squeeze(1).numpy()
    with tempfile.TemporaryDirectory() as folder:
        candidates = {
            "tutorial": tutorial(pixels, targets.tolist()),
            "careful": careful(inputs, targets),
            "ravine": ravine(inputs, targets, Path(folder) / "run"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in candidates}
        for turn in track(range(epochs + 1), f"{threads} threads", console=Console(stderr=True), transient=True):
            for name, epoch in candidates.items():
                with own_terminal():
                    taken = epoch()
                if turn:
                    seconds[name].append(taken)
    return {"threads": threads, "seconds": seconds, "median": {n: statistics.median(s) for n, s in seconds.items()}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5, help="epochs of each that are counted")
    parser.add_argument("--threads", type=int, action="append", help="threads of torch; repeat for more (1 and 2)")
    parser.add_argument("--data", type=Path, help="the folder with Fashion-MNIST's files")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    found = [compare(given.epochs, threads, given.data) for threads in given.threads or (1, 2)]
    heads = ["threads", *(f"{name} s/epoch" for name in found[0]["median"]), *(f"{n} / ravine" for n in TARGETS)]
    rows, missed = [], False
    for run in found:
        median = run["median"]
        ratios = {name: median[name] / median["ravine"] for name in TARGETS}
        missed |= any(ratios[name] < target for name, target in TARGETS.items())
        rows.append(
            [str(run["threads"]), *(f"{s:.2f}" for s in median.values()), *(f"{r:.2f}" for r in ratios.values())]
        )
    Console(width=100).print(tables.table(heads, rows, "Fashion-MNIST, 784-200-10, batch 64"))
    if given.json:
        given.json.write_text(json.dumps({"torch": torch.__version__, "runs": found}, indent=1) + "\n")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
