"""The trials of a study as they were begun, one after the other: what somebody sees who looks at its storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

_STATES: dict[str, Literal["running", "done", "free"]] = {"RUNNING": "running", "COMPLETE": "done", "FAIL": "done"}


@dataclass(frozen=True)
class LoggedTrial:
    """A trial that was begun.

    Attributes:
        number: how many were begun before it.
        label, kind, seed: which optimizer, what for, with which seed.
        point: the hyperparameters that were searched.
        state: ``running``, ``done``, also with an error, or ``free``, where its worker gave it back.
        score: the validation loss at its end; None where there is none.
        failed: whether it raised an error.
        ended: when, in seconds since 1970; None while it runs.
        heartbeat: changes as long as its worker is alive.
    """

    number: int
    label: str
    kind: str
    seed: int
    point: Mapping[str, float]
    state: Literal["running", "done", "free"]
    score: float | None
    failed: bool
    ended: float | None
    heartbeat: Any


def logged(trial: Any, heartbeat: Any) -> LoggedTrial:
    """A trial as Optuna's storage has it."""
    attributes = trial.user_attrs
    label, name = str(attributes.get("optimizer", "")), trial.state.name
    return LoggedTrial(
        number=trial.number,
        label=label,
        kind=str(attributes.get("kind", "")),
        seed=int(attributes.get("seed", 0)),
        point={key.removeprefix(f"{label} "): value for key, value in trial.params.items()},
        state=_STATES.get(name, "free"),
        score=trial.values[0] if trial.values else None,
        failed=name == "FAIL",
        ended=None if trial.datetime_complete is None else trial.datetime_complete.timestamp(),
        heartbeat=heartbeat,
    )
