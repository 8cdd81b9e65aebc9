"""Folders of trainings as a process that runs leaves them, and servers of their pages."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any, Self

import numpy as np

from ravine._live.open_run import live_run
from ravine._live.serving import LiveServer
from ravine.train._recorder import METRICS, PARTS, Recorder

NOW = 1_700_000_000.0


class Writer:
    """Writes what a run writes, without a training."""

    def __init__(self, folder: Path, epochs: int = 10, batches: int = 100, at: float | None = None) -> None:
        folder.mkdir(exist_ok=True)
        journal = Recorder(folder / METRICS).journal
        assert journal is not None
        self.journal = journal
        self.batches, self.steps, self.epoch = batches, 0, 0
        began = time.time() if at is None else at
        self.line(
            kind="fit",
            step=0,
            epochs=epochs,
            epoch=0,
            batch=0,
            batches=batches,
            optimizer="RMSprop",
            at=began,
        )

    def line(self, **line: Any) -> None:
        self.journal.append(line)

    def write(self, losses: Iterable[float]) -> None:
        """Some steps."""
        losses = [float(loss) for loss in losses]
        parts = {part: [0.001] * len(losses) for part in PARTS}
        hypers = [[self.steps, "lr", 0.002]] if self.steps == 0 else []
        self.line(kind="steps", first=self.steps, loss=losses, rows=[8] * len(losses), **parts, hypers=hypers)
        self.steps += len(losses)

    def end_epoch(self, **row: float) -> None:
        self.epoch += 1
        self.line(kind="epoch", epoch=self.epoch, **row, time=0.5, step=self.steps)

    def end(self, how: str = "done", text: str = "") -> None:
        self.line(kind="end", step=self.steps, how=how, text=text)


def falling(count: int, start: float = 2.3, seed: int = 0) -> np.ndarray:
    """Losses of a healthy training."""
    noise = np.random.default_rng(seed).normal(0, 0.03, count)
    return start * np.exp(-np.arange(count) / (count / 3)) + 0.2 + np.abs(noise)


@contextmanager
def served(folder: Path, **options: Any) -> Iterator[str]:
    """The address of a folder's page, which is served meanwhile."""
    with LiveServer(live_run(folder, **options)).running() as address:
        yield address


def ask(address: str, data: Any = None, timeout: float = 20) -> tuple[int, Message, str]:
    """The status, the headers and the text that come back."""
    body = None if data is None else json.dumps(data).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body), timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


class Events:
    """The events of a page, one after the other."""

    def __init__(self, address: str) -> None:
        self._stream = urllib.request.urlopen(f"{address}events", timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def next(self) -> Any:
        """The parts in the next event."""
        while line := self._stream.readline().decode():
            if line.startswith("data: "):
                return json.loads(line.removeprefix("data: "))
        return None

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        """The first event that is as wanted."""
        while True:
            parts = self.next()
            assert parts is not None
            if wanted(parts):
                return parts


def write_long(folder: Path) -> None:
    """A training of 100,000 steps in 100 epochs."""
    writer = Writer(folder, epochs=100, batches=1000)
    for part in np.split(falling(100_000), 100):
        writer.write(part)
        writer.end_epoch(train_loss=1.0, valid_loss=1.0)
