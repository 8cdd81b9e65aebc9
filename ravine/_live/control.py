"""What a page with ``--control`` can do: stop a training, stop a trial, add seeds. Each says in a sentence what comes of it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ravine._live.run_reading import RunReading
from ravine._live.study_reading import StudyReading
from ravine.comparison._judge.number_text import count
from ravine.comparison._study.stages import settled, stage
from ravine.comparison._study.store import Store
from ravine.comparison._study.stored_study import stored_record
from ravine.errors import OptionError
from ravine.train._stop_request import request_stop

Action = Callable[[Mapping[str, Any]], str]
_STOPPED = "It was stopped from the live page."
_MOST_SEEDS = 1000
_started: list[subprocess.Popen[bytes]] = []  # kept: Python warns of one that is forgotten while it runs


def run_actions(folder: Path) -> dict[str, Action]:
    """What can be done with a training."""

    def stop(given: Mapping[str, Any]) -> str:
        run = RunReading(folder).poll()
        if run is None or run.state.word not in ("running", "silent", "waiting"):
            raise OptionError("There is nothing to stop: the training has ended.")
        request_stop(folder)
        return "It stops after the step that runs."

    return {"stop": stop}


def study_actions(reading: StudyReading, start: Callable[[Sequence[str]], None] | None = None) -> dict[str, Action]:
    """What can be done with a study.

    Args:
        reading: follows it.
        start: starts a command of this Python.
    """

    def stop(given: Mapping[str, Any]) -> str:
        number = _whole(given.get("trial"), "trial", 0, 10**9)
        store = Store(reading.place.study, reading.place.storage)
        try:
            store.spec()
            store.stop(number, _STOPPED)
        finally:
            store.close()
        return f"Trial {number + 1} counts as failed. Its worker ends it, and goes on with the next."

    def seeds(given: Mapping[str, Any]) -> str:
        more = _whole(given.get("seeds"), "seeds", 1, _MOST_SEEDS)
        if reading.several:
            raise OptionError("Seeds of a study of several tasks are added by its command, with more --seeds.")
        store = Store(reading.place.study, reading.place.storage)
        try:
            record = stored_record(store)
        finally:
            store.close()
        if stage(record.spec, record.results).name != "done":
            raise OptionError(
                "Seeds can be added once the study is complete: its workers know those that it began with."
            )
        if settled(record.spec, record.results):
            raise OptionError("The study is settled: more seeds would change no verdict.")
        if not record.origin.command:
            raise OptionError("This study was made in Python: make the same call with more seeds.")
        total = record.spec.seeds + more
        (start or _start)(_with_seeds(record.origin.command, total, reading))
        return f"The study goes on to {count(total, 'seed')}; that it was extended stands in its report."

    return {"stop": stop, "seeds": seeds}


def _whole(given: Any, name: str, low: int, high: int) -> int:
    try:
        value = int(given)
    except (TypeError, ValueError):
        raise OptionError(f"{name}: {given!r} is not a whole number.") from None
    if not low <= value <= high:
        raise OptionError(f"{name}: {value} is not between {low} and {high}.")
    return value


def _with_seeds(command: str, seeds: int, reading: StudyReading) -> list[str]:
    """The arguments of the command that made the study, with other seeds and with the place where it is."""
    words, kept, replaced = shlex.split(command)[1:], [], ("--seeds", "--until", "--at-most", "--out", "--storage")
    while words:
        word = words.pop(0)
        if word in replaced:
            words.pop(0)
        else:
            kept.append(word)
    where = reading.place
    return [*kept, "--seeds", str(seeds), "--out", str(where.folder), "--storage", where.storage]


def _start(words: Sequence[str]) -> None:
    """Start a command of ravine that outlives the page."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ravine", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _started.append(process)
