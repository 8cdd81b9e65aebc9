"""Trials in an Optuna study: in a journal file, or in a database that many machines share.

A trial is claimed by being in the store as running, and stays claimed as long as its worker says that it lives. Since a
trial is a pure function, one that was claimed twice is only done twice.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ravine import _files as files
from ravine.comparison._study.study_spec import Spec
from ravine.comparison._study.trial import Job, Outcome
from ravine.errors import DataError, OptionError

_SPEC, _KEY, _OUTCOME, _LIFE = "ravine spec", "ravine key", "ravine outcome", "ravine life"
#: Seconds between two signs of life of a worker, and after how many without one its trial is taken up by another.
BEAT, STALE = 3.0, 15.0
#: Seconds after which the lock of a journal file is taken from whoever holds it; writing a line takes milliseconds.
LOCK = 10
_DATABASES = ("postgresql://", "sqlite:///", "mysql://")


class Store:
    """The trials of one study.

    Args:
        name: the study's name.
        where: a URL that Optuna knows (``postgresql://...``, ``sqlite:///...``), or the path of a journal file.

    Raises:
        OptionError: the name cannot be one.
        DataError: the storage cannot be reached.
    """

    def __init__(self, name: str, where: str | Path) -> None:
        self.name, self.where = files.run_name(name), str(where)
        self._storage = _open(where)
        self._study: Any = None
        self._kept: dict[int, tuple[str, Outcome] | None] = {}  # of trials that are finished: they do not change
        self._seen: dict[int, tuple[Any, float]] = {}  # signs of life of others, and when this process saw them change

    # --- the spec ------------------------------------------------------------------------------------------------

    def begin(self, spec: Spec) -> None:
        """Make the study, or go on with the one of that name.

        Raises:
            OptionError: there is one with another spec; what differs is said, and nothing is changed.
        """
        import optuna

        with _reached(self.where):
            self._study = optuna.create_study(study_name=self.name, storage=self._storage, load_if_exists=True)
            kept = self._study.user_attrs.get(_SPEC)
            if kept is None:
                self._study.set_user_attr(_SPEC, spec.to_json())
                kept = self._study.user_attrs[_SPEC]
        if kept != spec.to_json():
            lines = "; ".join(spec.differences(Spec.from_json(kept)))
            raise OptionError(
                f"The study {self.name!r} was made with another spec: {lines}. Name another study, or ask for the same."
            )

    def spec(self) -> Spec:
        """The spec of the study of that name.

        Raises:
            OptionError: there is no such study.
        """
        import optuna

        with _reached(self.where):
            try:
                self._study = optuna.load_study(study_name=self.name, storage=self._storage)
            except KeyError:
                known = sorted(optuna.get_all_study_names(self._storage))
                raise OptionError(
                    f"There is no study {self.name!r} in {hidden(self.where)}. It has {', '.join(known) or 'none'}."
                ) from None
            kept = self._study.user_attrs.get(_SPEC)
        if kept is None:
            raise OptionError(f"The study {self.name!r} was not made by ravine compare.")
        return Spec.from_json(kept)

    def keep(self, name: str, value: Any) -> None:
        """Keep something about the whole study: what JSON can hold."""
        with _reached(self.where):
            self._study.set_user_attr(f"ravine {name}", value)

    def kept(self, name: str) -> Any:
        """What was kept under that name, or None."""
        with _reached(self.where):
            return self._study.user_attrs.get(f"ravine {name}")

    def close(self) -> None:
        """Part from a database; a journal file is open only while it is used."""
        self._storage.remove_session()
        engine = getattr(self._storage, "engine", None) or getattr(
            getattr(self._storage, "_backend", None), "engine", None
        )
        if engine is not None:
            engine.dispose()

    # --- trials --------------------------------------------------------------------------------------------------

    def done(self) -> dict[str, Outcome]:
        """The outcomes there are, by key."""
        found: dict[str, Outcome] = {}
        for t in self._trials():
            if t.number not in self._kept and t.state.is_finished():
                about = t.user_attrs
                whole = _KEY in about and _OUTCOME in about
                self._kept[t.number] = (about[_KEY], Outcome.of_tree(about[_OUTCOME])) if whole else None
            kept = self._kept.get(t.number)
            if kept is not None:
                found.setdefault(*kept)
        return found

    def _trials(self) -> list[Any]:
        with _reached(self.where):
            found: list[Any] = self._study.get_trials(deepcopy=False)
        return found

    def claim(self, jobs: Iterable[Job], spec: Spec) -> tuple[Job, Claim] | None:
        """One of the jobs that nobody works on, claimed; None if there is none.

        A job whose worker has shown no sign of life for ``STALE`` seconds is free again.
        """
        wanted = {job.key(spec): job for job in jobs}
        taken = set()
        for t in self._trials():
            key = t.user_attrs.get(_KEY)
            if key in wanted and not t.state.is_finished():
                if self._stale(t):
                    self._give_up(t)
                else:
                    taken.add(key)
        free = next((key for key in wanted if key not in taken), None)
        if free is None:
            return None
        with _reached(self.where):
            claim = Claim(self, self._begun(free, wanted[free], spec))
        if self._earlier(free, claim.id):
            claim.drop()
            return None
        return wanted[free], claim

    def _begun(self, key: str, job: Job, spec: Spec) -> int:
        """A new trial of the job, running, in one write; its point stands where Optuna and its dashboard look for it."""
        import optuna

        params: dict[str, float] = {}
        distributions: dict[str, optuna.distributions.BaseDistribution] = {}
        for name, value in job.point.items():
            space = spec.arm(job.label).space[name]
            low, high = min(space.low, value), max(space.high, value)  # widened, perhaps
            params[f"{job.label} {name}"] = value
            distributions[f"{job.label} {name}"] = optuna.distributions.FloatDistribution(
                low, high, log=space.scale == "log"
            )
        about = {_KEY: key, "optimizer": job.label, "seed": job.seed, "kind": job.kind}
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, params=params, distributions=distributions, user_attrs=about
        )
        storage = self._storage
        found: int = storage.create_new_trial(storage.get_study_id_from_name(self.name), template_trial=trial)
        return found

    def _earlier(self, key: str, number: int) -> bool:
        """Whether another worker has taken the same job before."""
        others = (t for t in self._trials() if t.user_attrs.get(_KEY) == key and t._trial_id < number)
        return any(_OUTCOME in t.user_attrs or (t.state.name == "RUNNING" and not self._stale(t)) for t in others)

    def _stale(self, trial: Any) -> bool:
        """Whether a trial's worker has been silent for long, by this process's own clock."""
        life, now = trial.user_attrs.get(_LIFE), time.monotonic()
        before = self._seen.get(trial.number)
        if before is None or before[0] != life:
            self._seen[trial.number] = (life, now)
            return False
        return now - before[1] > STALE

    def _give_up(self, trial: Any) -> None:
        import optuna

        with suppress(Exception):  # another worker may have done so already
            self._storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.FAIL)


class Claim:
    """A trial that this process works on; ``id`` is Optuna's."""

    def __init__(self, store: Store, id: int) -> None:
        self.id, self._store, self._storage, self._beats = id, store, store._storage, 0

    def live(self) -> None:
        """A sign of life."""
        self._beats += 1
        self._storage.set_trial_user_attr(self.id, _LIFE, f"{os.getpid()}.{self._beats}")

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Signs of life from a thread of their own while something runs."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(BEAT):
                with suppress(Exception):  # a storage that cannot be reached now may be so later
                    self.live()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def finish(self, outcome: Outcome) -> None:
        """Keep what the training gave."""
        import optuna

        states = optuna.trial.TrialState
        # Given up as dead, perhaps, and done by somebody else.
        with _reached(self._store.where), suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._storage.set_trial_user_attr(self.id, _OUTCOME, outcome.tree())
            if outcome.error:
                self._storage.set_trial_state_values(self.id, states.FAIL)
            else:
                self._storage.set_trial_state_values(self.id, states.COMPLETE, [outcome.score])

    def drop(self) -> None:
        """Not to be done here."""
        import optuna

        with suppress(Exception):
            self._storage.set_trial_state_values(self.id, optuna.trial.TrialState.PRUNED)


def hidden(where: str) -> str:
    """A storage's URL without its password."""
    scheme, found, rest = where.partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}@{place}" if found and at else where


def check(where: str) -> None:
    """Refuse what is neither the URL of a database nor a path.

    Raises:
        OptionError: it is not.
    """
    if not where or ("://" in where and not where.startswith(_DATABASES)):
        forms = ", ".join(f"{name}..." for name in _DATABASES)
        raise OptionError(f"{hidden(where)!r} is no storage: give {forms} or the path of a journal file.")


def _open(where: str | Path) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _reached(str(where)):
        if isinstance(where, str) and "://" in where:
            if where.startswith("postgresql://"):
                where = where.replace("postgresql://", "postgresql+psycopg://", 1)
            return optuna.storages.RDBStorage(where)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental, Optuna says
            from ravine.comparison._study.study_journal import journal

            # A worker that is killed while it writes leaves its lock: others wait so long for it.
            return optuna.storages.JournalStorage(journal(str(where), LOCK))


@contextmanager
def _reached(where: str) -> Iterator[None]:
    """What a storage raises that cannot be used, as an error of ours."""
    try:
        yield
    except (OptionError, DataError):
        raise
    except ImportError as error:
        raise DataError(
            f"The storage {hidden(where)} needs a database driver that is not installed; for PostgreSQL "
            "pip install 'ravine[postgresql]'."
        ) from error
    except (ValueError, KeyError) as error:  # what Optuna's reader raises for lines it cannot read
        raise DataError(
            f"The storage {hidden(where)} is no journal of trials, or it is damaged: {error}. Name another."
        ) from error
    except OSError as error:
        raise DataError(f"The storage {hidden(where)} cannot be used: {error.strerror or error}.") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("sqlalchemy", "psycopg", "optuna"):
            raise
        line = str(error).strip().partition("\n")[0]
        raise DataError(f"The storage {hidden(where)} cannot be reached: {line}") from error
