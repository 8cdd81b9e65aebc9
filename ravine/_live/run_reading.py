"""Reads the folder of a training while it is written: what is new in its files since the last look, as one frozen snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ravine._files.journal_tail import JournalTail
from ravine._live.run_state import RunFacts, RunState, state_of
from ravine.diagnose import Diagnosis, Evidence, diagnose
from ravine.diagnose._evidence import FILE as EVIDENCE
from ravine.errors import DataError, OptionError
from ravine.train import Recorder
from ravine.train._recorder import METRICS
from ravine.train._run_folder import read_config
from ravine.watch._layers import LayerHistory, by_layer

_SHARE = 0.005  # of the time that a diagnosis may take
_LEAST = 2.0  # seconds between two
_RECENT = 100  # steps, whose seconds tell the pace

Trouble = tuple[Literal["gone", "damaged"], str]


@dataclass(frozen=True, eq=False)
class RunSnapshot:
    """What is known of a training.

    Attributes:
        folder: where it is.
        config: what ``config.json`` says; empty where there is none.
        state: how it stands.
        losses: of every step, shape (steps,).
        smooth_loss: the loss as the progress bar shows it; NaN before the first step.
        changes: by name, the hyperparameters with the steps at which they changed.
        epochs: the rows of the table.
        notes: the sentences that were shown, with their steps.
        seconds: of a step, the mean of the last ones.
        layers: what the steps did to each layer; None where that is not recorded.
        diagnosis: what the diagnosis says; None before the first steps.
    """

    folder: Path
    config: Mapping[str, Any]
    state: RunState
    losses: np.ndarray
    smooth_loss: float
    changes: Mapping[str, Sequence[tuple[int, Any]]]
    epochs: Sequence[Mapping[str, Any]]
    notes: Sequence[tuple[int, str]]
    seconds: float
    layers: LayerHistory | None
    diagnosis: Diagnosis | None


class RunReading:
    """Follows a folder. It writes nothing there.

    Args:
        folder: of a run; it need not be there yet, may be deleted, and may be written anew.
        now: seconds since 1970.
        clock: seconds since some moment, for what a diagnosis takes.
    """

    def __init__(
        self, folder: Path, now: Callable[[], float] = time.time, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.folder, self._now, self._clock = folder, now, clock
        self._tail = JournalTail(folder / METRICS)
        self._recorder = Recorder()
        self._config: dict[str, Any] = {}
        self._config_read = -1.0
        self._trouble: Trouble | None = None
        self._evidence, self._evidence_read = Evidence(), (-1.0, -1)
        self._layers: LayerHistory | None = None
        self._diagnosis: Diagnosis | None = None
        self._diagnose_from, self._diagnosed = 0.0, (-1, (-1.0, -1))
        self._state: RunState | None = None
        self._pace = 0.0  # seconds of a step

    def poll(self) -> RunSnapshot | None:
        """A snapshot, if something has changed since the last one."""
        trouble, changed = self._trouble, self._read_journal()
        changed = self._read_config() or changed
        changed = self._read_evidence() or changed
        state = state_of(self._facts(), self._now())
        before, self._state = self._state, state
        changed = self._diagnose(state) or changed or trouble != self._trouble
        if not changed and before is not None and (before.word, before.message) == (state.word, state.message):
            return None
        recorder = self._recorder
        return RunSnapshot(
            self.folder,
            dict(self._config),
            state,
            recorder.losses,
            recorder.smooth_loss,
            {name: list(known) for name, known in recorder.hyper_changes.items()},
            [dict(row) for row in recorder.epochs],
            list(recorder.notes),
            self._pace,
            self._layers,
            self._diagnosis,
        )

    # --- what is read --------------------------------------------------------------------------------------------

    def _read_journal(self) -> bool:
        """Take over the new lines; whether there were any."""
        try:
            anew, records = self._tail.read()
            if anew:
                self._recorder = Recorder()
                self._diagnose_from = 0.0
            for record in records:
                self._recorder.take(record)
        except FileNotFoundError:
            there = self.folder.is_dir()
            self._trouble = ("gone", f"The folder {self.folder} is not there any more") if self._gone(there) else None
            return False
        except DataError as error:
            self._trouble = ("damaged", str(error))
            return False
        except (OSError, KeyError, TypeError, ValueError) as error:
            self._trouble = ("damaged", f"{self._tail.path} cannot be read: {error!r}.")
            return False
        if anew or records:
            self._trouble, self._pace = None, self._seconds()
        return anew or bool(records)

    def _gone(self, there: bool) -> bool:
        """Whether there was something before; the last that was read stays on the page."""
        return not there and (len(self._recorder) > 0 or bool(self._config))

    def _read_config(self) -> bool:
        path = self.folder / "config.json"
        try:
            written = path.stat().st_mtime
        except OSError:
            return False
        if written == self._config_read:
            return False
        self._config_read = written
        try:
            self._config = read_config(self.folder)
        except DataError:
            return False
        return True

    def _read_evidence(self) -> bool:
        path = self.folder / EVIDENCE
        try:
            status = path.stat()
        except OSError:
            return False
        if (status.st_mtime, status.st_size) == self._evidence_read:
            return False
        try:
            evidence = Evidence.load(path)
        except (DataError, OptionError, OSError):
            return False  # it was replaced meanwhile, or is of another version: the losses are shown without
        fit: Mapping[str, Any] = self._recorder.fits[-1] if self._recorder.fits else {}
        if status.st_mtime < fit.get("at", 0.0) and evidence.steps > len(self._recorder):
            return False  # left by an earlier run in this folder
        self._evidence_read = (status.st_mtime, status.st_size)
        self._evidence = evidence
        self._layers = by_layer(evidence.history) if len(evidence.history) else None
        return True

    # --- what follows from it --------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        parts = [values[-_RECENT:] for values in self._recorder.seconds.values()]
        return float(np.sum(parts, axis=0).mean()) if len(parts[0]) else 0.0

    def _facts(self) -> RunFacts:
        recorder = self._recorder
        return RunFacts(
            self._config,
            recorder.fits,
            recorder.epochs,
            len(recorder),
            self._pace,
            self._tail.written,
            self._trouble,
        )

    def _diagnose(self, state: RunState) -> bool:
        """Diagnose if there is something new and it is time, or the run has ended; whether that was done."""
        seen = (len(self._recorder), self._evidence_read)
        began = self._clock()
        over = state.word not in ("running", "waiting")
        if not seen[0] or seen == self._diagnosed or (began < self._diagnose_from and not over):
            return False
        recorder = self._recorder
        known = {name: recorder.hyper(name) for name in recorder.hyper_names}
        evidence = replace(self._evidence, losses=recorder.losses, epochs=list(recorder.epochs), hypers=known)
        if not evidence.optimizer and recorder.fits:
            evidence = replace(evidence, optimizer=str(recorder.fits[-1].get("optimizer", "")))
        self._diagnosis, self._diagnosed = diagnose(evidence), seen
        now = self._clock()
        self._diagnose_from = now + max(_LEAST, (now - began) / _SHARE)
        return True
