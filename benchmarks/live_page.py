"""Measures the page of ``ravine live`` against its targets: first paint, an event on screen, long runs, what it costs a training.

    python benchmarks/live_page.py paint --repeats 9
    python benchmarks/live_page.py event --repeats 20
    python benchmarks/live_page.py long
    python benchmarks/live_page.py trials [--storage postgresql://user@host/database]
    python benchmarks/live_page.py cost --repeats 5

All but ``cost`` need Chromium. ``trials`` makes a study of 1,440 trials while somebody looks. ``cost`` compares the CPU time of the same training with a page that somebody
watches and without one, in turn; with ``--base FOLDER`` also that of another checkout, such as one without the page.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from live_runs import Events

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "live")]

STUDY = "compare ravine --steps 50 --seeds 60 -o sgd -o momentum -o rmsprop -o adam --study study --jobs 1"
STEPS, EPOCHS = 1000, 12
TRAINING = f"""
import sys, time, torch
from torch.nn.functional import cross_entropy
from ravine.optim import RMSprop
from ravine.train import Batches, Learner
torch.manual_seed(0)
torch.set_num_threads(1)
x, y = torch.randn({STEPS * 32}, 64), torch.randint(0, 10, ({STEPS * 32},))
model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
learn = Learner(model, (Batches(x, y, 32), Batches(x[:320], y[:320], 320)), cross_entropy, RMSprop, folder=sys.argv[1], quiet=True)
learn.fit(1, 1e-3)
began = time.process_time()
learn.fit({EPOCHS}, 1e-3)
print(time.process_time() - began)
"""


def paint(repeats: int) -> None:
    """Milliseconds from navigation to the first contentful paint, in a browser that has just been started."""
    from browser import Browser
    from live_runs import served

    with tempfile.TemporaryDirectory() as place:
        folder = written(Path(place) / "run", 100)
        with served(folder) as address:
            seen = []
            for repeat in range(repeats):
                with Browser(f"{place}/{repeat}") as browser:
                    browser.open(address)
                    browser.until("document.documentElement.dataset.ready === 'yes'")
                    seen.append(browser.value("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    say("first paint, ms", seen)


def event(repeats: int) -> None:
    """Milliseconds from before a line is written to when the browser has drawn it."""
    from browser import Browser
    from live_runs import Writer, falling, served

    with tempfile.TemporaryDirectory() as place:
        writer = Writer(Path(place) / "run")
        writer.write(falling(5000))
        with served(Path(place) / "run") as address, Browser(place) as browser:
            browser.open(address)
            browser.until("document.documentElement.dataset.ready === 'yes'")
            browser.value(
                "document.getElementById('loss').on('plotly_afterplot', () => requestAnimationFrame(() => { window.drawn = Date.now(); }))"
            )
            seen = []
            for repeat in range(repeats):
                time.sleep(1.0)
                browser.value("window.drawn = 0")
                began = time.time()
                writer.write([3.0 + repeat])
                seen.append(browser.until("window.drawn") - 1000 * began)
    say("an event on screen, ms", seen)


def long(repeats: int) -> None:
    """100,000 steps: milliseconds to read them, bytes of the page, and the longest that the browser is busy for an event."""
    from browser import Browser
    from live_runs import Writer, ask, served

    from ravine._live.run_parts import run_parts
    from ravine._live.run_reading import RunReading

    with tempfile.TemporaryDirectory() as place:
        folder = written(Path(place) / "run", 100_000)
        reading = RunReading(folder)
        began = time.process_time()
        run = reading.poll()
        first = time.process_time() - began
        began = time.process_time()
        run_parts(run)
        parts = time.process_time() - began
        print(
            f"100,000 steps: read and diagnosed at first in {1000 * first:.0f} ms of CPU time, parts in {1000 * parts:.0f} ms"
        )
        writer = Writer.__new__(Writer)
        writer.journal, writer.steps, writer.epoch, writer.batches = reading_journal(folder), 100_000, 100, 1000
        with served(folder) as address, Browser(place) as browser:
            print(f"page: {len(ask(address)[2]):,} bytes")
            browser.open(address)
            browser.until("document.documentElement.dataset.ready === 'yes'")
            browser.value(
                "void (window.busy = [], new PerformanceObserver((l) => window.busy.push(...l.getEntries().map((e) => e.duration))).observe({ type: 'longtask' }))"
            )
            for _ in range(max(repeats, 5)):
                writer.write([2.0] * 100)
                time.sleep(1.0)
            busy = browser.value("window.busy")
        say("busy for longer than 50 ms at a time, ms", busy)


def trials(storage: str | None) -> None:
    """1,440 trials as they come: the longest that the browser is busy, and at the end milliseconds to read and to draw them."""
    from browser import Browser

    from ravine._live.open_study import live_study
    from ravine._live.serving import LiveServer
    from ravine._live.study_parts import study_parts
    from ravine._live.study_reading import StudyReading
    from ravine.comparison._study.location import Location

    with tempfile.TemporaryDirectory() as place:
        out, kept = Path(place) / "study", storage or f"{place}/study/study.journal"
        command = [sys.executable, "-m", "ravine", *STUDY.split(), "--out", str(out), "--storage", kept]
        study = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        where = Location("study", kept, out)
        with LiveServer(live_study(where)).running() as address, Browser(place) as browser:
            browser.open(address)
            browser.until("document.documentElement.dataset.ready === 'yes'")
            browser.value(
                "void (window.busy = [], new PerformanceObserver((l) => window.busy.push(...l.getEntries().map((e) => e.duration))).observe({ type: 'longtask' }))"
            )
            while study.poll() is None:
                browser.value("1")
                time.sleep(0.5)
            time.sleep(1.0)
            busy = browser.value("window.busy")
            browser.picture(Path("trials.png"))
        say("busy for longer than 50 ms at a time, ms", busy)
        reading = StudyReading(where)
        began = time.process_time()
        snapshot = reading.poll()
        first = time.process_time() - began
        began = time.process_time()
        parts = study_parts(snapshot)
        made = time.process_time() - began
        seen = []
        for _ in range(9):
            began = time.process_time()
            reading.poll()
            seen.append(1000 * (time.process_time() - began))
        print(
            f"{len(snapshot.log):,} trials: read at first in {1000 * first:.0f} ms of CPU time, parts in {1000 * made:.0f} ms"
        )
        print(f"parts: {len(json.dumps(parts)):,} bytes")
        say("a look when nothing is new, ms of CPU time", seen)


def cost(repeats: int, base: Path | None) -> None:
    """CPU seconds of a training without a page and with one that is watched, in turn."""
    kinds = ["without", "watched", *(["base"] if base else [])]
    seen: dict[str, list[float]] = {kind: [] for kind in kinds}
    for repeat in range(repeats):
        for kind in kinds if repeat % 2 == 0 else kinds[::-1]:
            with tempfile.TemporaryDirectory() as place:
                seen[kind].append(training(Path(place), kind, base))
    for kind in kinds:
        say(f"{kind}, s of CPU time", seen[kind], 3)
    middle = {kind: statistics.median(values) for kind, values in seen.items()}
    for kind in kinds[1:]:
        print(f"{kind} / without: {middle[kind] / middle['without']:.4f}")


def training(place: Path, kind: str, base: Path | None) -> float:
    """The CPU time of one."""
    from live_runs import Events

    from ravine._live.open_run import live_run
    from ravine._live.serving import LiveServer

    env = os.environ | ({"PYTHONPATH": str(base)} if kind == "base" else {})
    command = [sys.executable, "-c", TRAINING, str(place / "run")]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    if kind == "watched":
        with LiveServer(live_run(place / "run")).running() as address, Events(address) as events:
            threading.Thread(target=watch, args=[events], daemon=True).start()
            process.wait()
    out, _ = process.communicate()
    return float(out)


def watch(events: Events) -> None:
    """Read events as a browser does, until the server ends."""
    with suppress(
        AttributeError, OSError, ValueError
    ):  # which of them depends on where the connection is when it is closed
        while events.next() is not None:
            pass


def written(folder: Path, steps: int) -> Path:
    """The folder of a run of so many steps."""
    import numpy as np
    from live_runs import Writer, falling

    writer = Writer(folder, epochs=max(steps // 1000, 1) * 2, batches=min(steps, 1000))
    for part in np.split(falling(steps), max(steps // 1000, 1)):
        writer.write(part)
        writer.end_epoch(train_loss=float(part.mean()), valid_loss=float(part.min()), accuracy=0.9)
    return folder


def reading_journal(folder: Path) -> object:
    """The journal of a run's folder."""
    from ravine.train._recorder import METRICS, Recorder

    return Recorder(folder / METRICS).journal


def say(what: str, values: list[float], digits: int = 0) -> None:
    """The median and the largest."""
    if not values:
        print(f"{what}: none")
        return
    print(f"{what}: median {statistics.median(values):.{digits}f}, largest {max(values):.{digits}f} of {len(values)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["paint", "event", "long", "trials", "cost"])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--storage")
    given = parser.parse_args()
    if given.what == "cost":
        cost(given.repeats, given.base)
    elif given.what == "trials":
        trials(given.storage)
    else:
        {"paint": paint, "event": event, "long": long}[given.what](given.repeats)


main()
