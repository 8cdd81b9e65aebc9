"""A claim on a trial: what the process that works on it writes to the storage."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ravine.comparison._study.trial import TrialResult

#: What a claim keeps of its trial: the result, and that its worker is alive.
RESULT, SIGN_OF_LIFE = "ravine result", "ravine heartbeat"


class Claim:
    """A trial that this process works on.

    Args:
        id: Optuna's.
        storage: Optuna's, in which it is.
        do: does what needs the storage, as the store does, which waits for a database that is away.
        pause: seconds between two heartbeats.

    Attributes:
        ended: whether somebody else has ended it, as far as the last heartbeat knows.
    """

    def __init__(self, id: int, storage: Any, do: Callable[[Callable[[], None]], None], pause: float) -> None:
        self.id, self.pause, self._storage, self._do, self._count = id, pause, storage, do, 0
        self.ended = False

    def __repr__(self) -> str:
        return f"Claim({self.id})"

    def beat(self) -> None:
        """Show that this process is alive, and see whether the trial was ended."""
        import optuna

        self._count += 1
        try:
            self._storage.set_trial_user_attr(self.id, SIGN_OF_LIFE, f"{os.getpid()}.{self._count}")
        except optuna.exceptions.UpdateFinishedTrialError:
            self.ended = True

    def finish(self, result: TrialResult) -> None:
        """Keep what the trial gave."""
        self._do(lambda: self._keep(result))

    def _keep(self, result: TrialResult) -> None:
        import optuna

        states = optuna.trial.TrialState
        # Kept already, when the connection broke; or given up as dead, and done by somebody else.
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._storage.set_trial_user_attr(self.id, RESULT, result.to_tree())
            if result.error:
                self._storage.set_trial_state_values(self.id, states.FAIL)
            else:
                self._storage.set_trial_state_values(self.id, states.COMPLETE, [result.score])

    def release(self) -> None:
        """Give the trial back: it is free for others."""
        import optuna

        with suppress(Exception):
            self._storage.set_trial_state_values(self.id, optuna.trial.TrialState.PRUNED)
