"""Trials in an Optuna study: in a journal file, or in a database that many machines share.

A trial is claimed by being in the store as running, and stays claimed as long as its worker shows that it is alive.
Since a trial is a pure function, one that was claimed twice is only done twice.

A database that cannot be reached is waited for (patience.py). So everything here may be done twice in a row: what was
written once is written again, and a trial that was claimed by a connection that broke is free after a while.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ravine import _files as files
from ravine._compat.optuna import study_id
from ravine.comparison._study.patience import LIMIT, Patience
from ravine.comparison._study.storage_errors import storage_errors, without_password
from ravine.comparison._study.study_journal import StudyJournal
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import Trial, TrialResult
from ravine.comparison._study.trial_claim import RESULT, SIGN_OF_LIFE, Claim
from ravine.comparison._study.trial_log import LoggedTrial, logged
from ravine.errors import DataError, OptionError

T = TypeVar("T")

_SPEC, _KEY = "ravine spec", "ravine key"
#: Seconds between two heartbeats of a worker, and after how many without one its trial is taken up by another.
HEARTBEAT, STALE = 3.0, 15.0
#: Seconds after which the lock of a journal file is taken from whoever holds it; writing a line takes milliseconds.
LOCK = 10


class Store:
    """The trials of one study.

    Args:
        name: the study's name.
        where: a URL that Optuna knows (``postgresql://...``, ``sqlite:///...``), or the path of a journal file.
        heartbeat, stale, lock: seconds, as above.
        limit: seconds that a database may be away before an operation fails.
        wait_to_open: whether it may be away at the first connection, too; else its URL is taken to be wrong.
        clock: tells the time in seconds.

    Attributes:
        patience: what waits.

    Raises:
        OptionError: the name cannot be one.
        DataError: the storage cannot be reached.
    """

    def __init__(
        self,
        name: str,
        where: str | Path,
        *,
        heartbeat: float = HEARTBEAT,
        stale: float = STALE,
        lock: int = LOCK,
        limit: float = LIMIT,
        wait_to_open: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.where = files.run_name(name), str(where)
        self.heartbeat, self._stale_after, self._clock = heartbeat, stale, clock
        self._journal: StudyJournal | None = None
        self._finished: dict[int, tuple[str, TrialResult] | None] = {}  # by number: they do not change any more
        self._beats: dict[int, tuple[Any, float]] = {}  # heartbeats of others, and when this process saw them change
        # While a database is away nobody's heart can be heard: the silence counts from when it is back.
        self.patience = Patience(
            self.where, limit=limit, reset=lambda: self._storage.remove_session(), back=self._beats.clear, clock=clock
        )
        self._study: Any = None
        with self._errors():
            self._storage = self.patience(lambda: self._open(lock)) if wait_to_open else self._open(lock)

    def __repr__(self) -> str:
        return f"Store({self.name!r}, {without_password(self.where)!r})"

    def _open(self, lock: int) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if "://" in self.where:
            return optuna.storages.RDBStorage(self.where.replace("postgresql://", "postgresql+psycopg://", 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental, Optuna says
            # A worker that is killed while it writes leaves its lock: others wait so long for it.
            self._journal = StudyJournal(self.where, lock)
            return optuna.storages.JournalStorage(self._journal)

    def _errors(self) -> Any:
        """What the storage raises as an error of ours, with the line of a journal that led to it."""
        return storage_errors(self.where, lambda: self._journal)

    def _do(self, operation: Callable[[], T]) -> T:
        """Do what needs the storage, waiting for a database that is away."""
        with self._errors():
            return self.patience(operation)

    # --- the spec ------------------------------------------------------------------------------------------------

    def create(self, spec: StudySpec) -> StudySpec:
        """Make the study, or open the one of that name if it has the same spec, or fewer seeds, which are then more.

        Returns:
            The spec of the study.

        Raises:
            OptionError: there is one with another spec; what differs is said, and nothing is changed.
            DataError: there is one that another version of Ravine wrote.
        """
        stored = self._do(lambda: self._created(spec))
        if stored == spec.to_json():
            return spec
        while True:  # until nobody has extended it meanwhile
            before = StudySpec.from_json(stored)
            joined = self._joined(spec, before)
            if joined == before:
                return before
            self._extend(joined)
            stored = self._do(lambda: self._created(spec))

    def joined(self, spec: StudySpec) -> StudySpec:
        """What :meth:`create` returns of a study that is there, or raises; nothing is written."""
        return self._joined(spec, self.spec())

    def _joined(self, spec: StudySpec, before: StudySpec) -> StudySpec:
        joined = spec.joined_to(before)
        if joined is None:
            differences = "; ".join(spec.differences(before)).removesuffix(".")
            raise OptionError(
                f"The study {self.name!r} was declared differently: {differences}. Name another study, or repeat the "
                "original options."
            )
        return joined

    def _extend(self, spec: StudySpec) -> None:
        self._do(lambda: self._study.set_user_attr(_SPEC, spec.to_json()))

    def _created(self, spec: StudySpec) -> str:
        import optuna

        self._study = optuna.create_study(study_name=self.name, storage=self._storage, load_if_exists=True)
        if _SPEC not in self._study.user_attrs:
            self._study.set_user_attr(_SPEC, spec.to_json())
        stored: str = self._study.user_attrs[_SPEC]
        return stored

    def spec(self) -> StudySpec:
        """The spec of the study of that name.

        Raises:
            OptionError: there is no such study.
            DataError: another version of Ravine wrote it.
        """
        stored = self._do(self._loaded)
        if stored is None:
            raise OptionError(f"The study {self.name!r} was not made by ravine compare.")
        return StudySpec.from_json(stored)

    def names(self) -> list[str]:
        """The names of all studies in the storage, in the order in which they were made."""
        studies = self._do(lambda: self._storage.get_all_studies())
        return [study.study_name for study in sorted(studies, key=study_id)]

    def attribute_of_all(self, name: str) -> dict[str, Any]:
        """What was kept under that name, by the names of the studies in the storage that have it, oldest first."""
        studies = self._do(lambda: self._storage.get_all_studies())
        return {
            study.study_name: study.user_attrs[f"ravine {name}"]
            for study in sorted(studies, key=study_id)
            if f"ravine {name}" in study.user_attrs
        }

    def _loaded(self) -> str | None:
        import optuna

        try:
            self._study = optuna.load_study(study_name=self.name, storage=self._storage)
        except KeyError:
            known = sorted(optuna.get_all_study_names(self._storage))
            raise OptionError(
                f"There is no study {self.name!r} in {without_password(self.where)}. It has {', '.join(known) or 'none'}."
            ) from None
        stored: str | None = self._study.user_attrs.get(_SPEC)
        return stored

    def set_attribute(self, name: str, value: Any) -> None:
        """Keep something about the whole study: what JSON can hold."""
        self._do(lambda: self._study.set_user_attr(f"ravine {name}", value))

    def attribute(self, name: str) -> Any:
        """What was kept under that name, or None."""
        return self._do(lambda: self._study.user_attrs.get(f"ravine {name}"))

    def close(self) -> None:
        """Close the connections to a database; a journal file is open only while it is used."""
        self._storage.remove_session()
        engine = getattr(self._storage, "engine", None)
        if engine is not None:
            engine.dispose()

    # --- trials --------------------------------------------------------------------------------------------------

    def results(self) -> dict[str, TrialResult]:
        """The results there are, by the keys of their trials.

        Raises:
            DataError: the storage cannot be reached, or a result is damaged.
        """
        by_key: dict[str, TrialResult] = {}
        for t in self._trials():
            if t.number not in self._finished and t.state.is_finished():
                self._finished[t.number] = self._result(t)
            finished = self._finished.get(t.number)
            if finished is not None:
                by_key.setdefault(*finished)
        return by_key

    def _result(self, trial: Any) -> tuple[str, TrialResult] | None:
        attributes = trial.user_attrs
        if _KEY not in attributes or RESULT not in attributes:
            return None
        try:
            return attributes[_KEY], TrialResult.from_tree(attributes[RESULT])
        except DataError as error:
            raise DataError(f"{without_password(self.where)}, trial {trial.number}: {error}") from error

    def _trials(self) -> list[Any]:
        trials: list[Any] = self._do(lambda: self._study.get_trials(deepcopy=False))
        return trials

    def log(self) -> list[LoggedTrial]:
        """Every trial that was begun, in the order in which they were."""
        return [logged(t, t.user_attrs.get(SIGN_OF_LIFE)) for t in self._trials()]

    def stop(self, number: int, reason: str) -> None:
        """Let a trial that runs count as failed, with this reason; its worker ends it at its next heartbeat.

        Raises:
            OptionError: no trial of that number runs.
        """
        running = {t.number for t in self._trials() if t.state.name == "RUNNING"}
        if number not in running:
            raise OptionError(f"There is no running trial {number + 1} in {self.name}: it may just have ended.")
        id = self._do(lambda: self._storage.get_trial_id_from_study_id_trial_number(self._study_id(), number))
        self._claim_of(id).finish(TrialResult(error=reason))

    def claim(self, trials: Iterable[Trial], spec: StudySpec) -> tuple[Trial, Claim] | None:
        """One of the trials that nobody works on, claimed; None if there is none."""
        return next(iter(self.claim_block(trials, spec, lambda free: free[:1])), None)

    def claim_block(
        self, trials: Iterable[Trial], spec: StudySpec, choose: Callable[[Sequence[Trial]], Sequence[Trial]]
    ) -> list[tuple[Trial, Claim]]:
        """Those that ``choose`` takes of the trials that nobody works on, claimed, but for those that others were quicker
        to claim.

        A trial whose worker has shown no sign of life for ``stale`` seconds is free again.
        """
        wanted = {trial.key(spec): trial for trial in trials}
        taken = set()
        for t in self._trials():
            key = t.user_attrs.get(_KEY)
            if key in wanted and not t.state.is_finished():
                if self._stale(t):
                    self._give_up(t)
                else:
                    taken.add(key)
        free = [trial for key, trial in wanted.items() if key not in taken]
        made: list[tuple[Trial, Claim]] = []
        try:
            for trial in choose(free) if free else ():
                made.append((trial, self._claim(trial, spec)))
            numbers = self._do(lambda: [self._storage.get_trial_number_from_id(claim.id) for _, claim in made])
            first = self._claimed_first({trial.key(spec) for trial, _ in made}) if made else {}
        except BaseException:
            with suppress(Exception):  # else they are free when they show no sign of life
                for _, claim in made:
                    claim.release()
            raise
        mine = []
        for (trial, claim), number in zip(made, numbers, strict=True):
            if first.get(trial.key(spec), number) < number:
                claim.release()
            else:
                mine.append((trial, claim))
        return mine

    def _claim(self, trial: Trial, spec: StudySpec) -> Claim:
        return self._claim_of(self._do(lambda: self._started(trial.key(spec), trial, spec)))

    def _claim_of(self, id: int) -> Claim:
        return Claim(id, self._storage, self._do, self.heartbeat)

    def _started(self, key: str, trial: Trial, spec: StudySpec) -> int:
        """Optuna's id of a new running trial, made in one write; its point stands where Optuna and its dashboard look."""
        import optuna

        params: dict[str, float] = {}
        distributions: dict[str, optuna.distributions.BaseDistribution] = {}
        for name, value in trial.point.items():
            space = spec.config(trial.label).space[name]
            low, high = min(space.low, value), max(space.high, value)  # expanded, perhaps
            params[f"{trial.label} {name}"] = value
            distributions[f"{trial.label} {name}"] = optuna.distributions.FloatDistribution(
                low, high, log=space.scale == "log"
            )
        attributes = {_KEY: key, "optimizer": trial.label, "seed": trial.seed, "kind": trial.kind}
        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, params=params, distributions=distributions, user_attrs=attributes
        )
        made: int = self._storage.create_new_trial(self._study_id(), template_trial=template)
        return made

    def _study_id(self) -> int:
        study_id: int = self._storage.get_study_id_from_name(self.name)
        return study_id

    def _claimed_first(self, keys: Collection[str]) -> dict[str, int]:
        """By key, the number of the first trial that is done, or that somebody works on."""
        first: dict[str, int] = {}
        for t in self._trials():
            key = t.user_attrs.get(_KEY)
            if key in keys and (RESULT in t.user_attrs or (t.state.name == "RUNNING" and not self._stale(t))):
                first[key] = min(first.get(key, t.number), t.number)
        return first

    def _stale(self, trial: Any) -> bool:
        """Whether a trial's worker has been silent for long, by this process's own clock."""
        beat, now = trial.user_attrs.get(SIGN_OF_LIFE), self._clock()
        before = self._beats.get(trial.number)
        if before is None or before[0] != beat:
            self._beats[trial.number] = (beat, now)
            return False
        return now - before[1] > self._stale_after

    def _give_up(self, trial: Any) -> None:
        import optuna

        with suppress(Exception):  # another worker may have done so already
            number = self._storage.get_trial_id_from_study_id_trial_number(self._study_id(), trial.number)
            self._storage.set_trial_state_values(number, optuna.trial.TrialState.FAIL)
