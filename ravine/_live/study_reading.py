"""Reads a study while others work on it: what its storage has, as one frozen snapshot, judged as the report judges it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from ravine.comparison._report.report_data import ReportData, report_data
from ravine.comparison._study.location import Location
from ravine.comparison._study.stages import Stage, stage_after
from ravine.comparison._study.store import STALE, Store
from ravine.comparison._study.stored_study import only_study, stored_record, studies_of_tasks
from ravine.comparison._study.study_record import StudyRecord
from ravine.comparison._study.trial_log import LoggedTrial
from ravine.errors import DataError, OptionError, RavineError

_SHARE = 0.02  # of the time that judging may take
_TIMES, _LONGEST = 10.0, 0.3  # a look rests for so many times as long as it took, and for so many seconds at most
_OF_DATABASE = 1.0  # seconds between two questions to a database
_WINDOW = 200  # trainings, whose pace tells how long the rest takes


@dataclass(frozen=True, eq=False)
class StudySnapshot:
    """What is known of a study.

    Attributes:
        where: its name, storage and folder.
        tasks: of several, all of them; and this is the ``task``-th, from 0.
        task: which of them this is.
        record: what was declared and measured; None where the study is not there.
        stage: what it does now.
        report: what the report would show now; None while there is too little to judge.
        log: every trial that was begun.
        working: the numbers of the trials whose workers are alive.
        left: about how many seconds the rest takes at the pace of the last trainings; None where that is not known.
        trouble: why it cannot be read, in a sentence; empty where it can.
    """

    where: Location
    tasks: Sequence[str]
    task: int
    record: StudyRecord | None
    stage: Stage | None
    report: ReportData | None
    log: Sequence[LoggedTrial]
    working: frozenset[int]
    left: float | None
    trouble: str


class StudyReading:
    """Follows a study in its storage. It writes nothing there.

    Args:
        where: the study; of several tasks the name of all. Without a name it is the first in the storage.
        now: seconds since 1970.
        clock: seconds since some moment.
    """

    def __init__(
        self, where: Location, now: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.where, self._now, self._clock = where, now, clock
        self._journal = None if "://" in where.storage else Path(where.storage)
        self._places: dict[str, Location] = {}
        self._task = 0
        self._store: Store | None = None
        self._record: StudyRecord | None = None
        self._stage: Stage | None = None
        self._report: ReportData | None = None
        self._log: list[LoggedTrial] = []
        self._beats: dict[int, tuple[object, float]] = {}
        self._seen: tuple[object, ...] = ()
        self._file: tuple[float, int] = (-1.0, -1)
        self._read_from = self._judge_from = 0.0
        self._judged = -1

    def poll(self) -> StudySnapshot | None:
        """A snapshot, if something has changed since the last one."""
        began = self._clock()
        if began < self._read_from:
            return None
        try:
            trouble = "" if self._read() else None
        except (RavineError, OSError) as error:
            trouble = str(error)
            self._file = (-1.0, -1)
            if self._journal is None or not self._journal.is_file():
                self._store = None  # should it come back, it is another one
        working = self._working()
        seen = (trouble or "", working, self._task, len(self._log), sum(t.state == "done" for t in self._log))
        read = self._clock()
        judged = self._judge() if trouble is None or trouble == "" else False
        rest = 0.0 if self._journal else _OF_DATABASE
        self._read_from = began + max(rest, min(_LONGEST, _TIMES * (read - began)))
        if seen == self._seen and not judged:
            return None
        self._seen = seen
        return StudySnapshot(
            self.place,
            list(self._places),
            self._task,
            self._record,
            self._stage,
            self._report,
            list(self._log),
            working,
            self._left(),
            trouble or "",
        )

    @property
    def place(self) -> Location:
        """Where the study is whose trials are shown: of several tasks, that of one."""
        names = list(self._places)
        return self._places[names[self._task]] if names else self.where

    @property
    def several(self) -> bool:
        """Whether the study has several tasks."""
        return bool(self._places)

    def close(self) -> None:
        """Close the connections."""
        if self._store is not None:
            self._store.close()

    # --- what is read --------------------------------------------------------------------------------------------

    def _read(self) -> bool:
        """Read what is new; False where nothing can be.

        Raises:
            DataError: the storage cannot be read.
        """
        if self._journal is not None:
            try:
                status = self._journal.stat()
            except FileNotFoundError:
                raise DataError(f"There is no study in {self._journal} (yet, or any more).") from None
            if (status.st_mtime, status.st_size) == self._file:
                return False
            self._file = (status.st_mtime, status.st_size)
        store = self._opened()
        log = store.log()
        if len(log) < len(self._log):  # another study of that name, in a new file
            self._stage, self._report, self._judged = None, None, -1
        if self._record is None or self._done(log) != self._done(self._log) or len(log) < len(self._log):
            self._record = stored_record(store)
            self._stage = stage_after(self._record.spec, self._stage, self._record.results)
        self._log = log
        if self._stage is not None and self._stage.name == "done" and self._task + 1 < len(self._places):
            self._next_task()
            return self._read()
        return True

    @staticmethod
    def _done(log: Sequence[LoggedTrial]) -> int:
        return sum(trial.state == "done" for trial in log)

    def _opened(self) -> Store:
        if self._store is None:
            if not self.where.study:
                self.where = replace(self.where, study=only_study(self.where.storage))
            self._places = studies_of_tasks(self.where)
            store = Store(self.place.study, self.place.storage)
            try:
                store.spec()
            except OptionError as error:
                store.close()
                raise DataError(str(error)) from error
            self._store, self._record, self._stage, self._report, self._log = store, None, None, None, []
            self._judged = -1
        return self._store

    def _next_task(self) -> None:
        """The next task's study; that of this one is complete."""
        assert self._store is not None
        self._store.close()
        self._store, self._file = None, (-1.0, -1)
        self._task += 1

    # --- what follows from it --------------------------------------------------------------------------------------

    def _judge(self) -> bool:
        """Judge what is new, if it is time, or the study is complete; whether that was done."""
        record = self._record
        if record is None or len(record.results) == self._judged:
            return False
        began, over = self._clock(), self._stage is not None and self._stage.name == "done"
        if not record.judgeable or (began < self._judge_from and not over):
            return False
        try:
            self._report = report_data(record, record.judge())
        except RavineError:  # such as losses beyond what can be compared: the report says so at the end
            self._report = None
        self._judged = len(record.results)
        now = self._clock()
        self._judge_from = now + (now - began) / _SHARE
        return True

    def _working(self) -> frozenset[int]:
        """The running trials whose hearts beat, as far as this process has seen."""
        now = self._clock()
        alive = set()
        for trial in self._log:
            if trial.state != "running":
                self._beats.pop(trial.number, None)
                continue
            before = self._beats.get(trial.number)
            if before is None or before[0] != trial.heartbeat:
                # a file to which nobody has written for long has no heart that beats
                old = before is None and self._journal is not None and self._now() - self._file[0] > STALE
                self._beats[trial.number] = before = (trial.heartbeat, -math.inf if old else now)
            if now - before[1] <= STALE:
                alive.add(trial.number)
        return frozenset(alive)

    def _left(self) -> float | None:
        """Seconds for the rest, at the pace of the last trainings; a pause before them does not count."""
        if self._record is None or self._stage is None or self._stage.name == "done":
            return None
        ends = sorted(t.ended for t in self._log if t.ended is not None)[-_WINDOW:]
        gaps = [later - earlier for earlier, later in pairwise(ends)]
        longest = max(60.0, 20 * sorted(gaps)[len(gaps) // 2]) if gaps else math.inf
        first = next((i + 1 for i in range(len(gaps) - 1, -1, -1) if gaps[i] > longest), 0)
        recent = ends[first:]
        if len(recent) < 2 or recent[-1] == recent[0]:
            return None
        progress = self._record.progress
        return (progress.total - progress.done) * (recent[-1] - recent[0]) / (len(recent) - 1)
