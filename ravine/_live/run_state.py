"""How a training stands, from what its folder says: whether it runs, how far it is, how long it will take, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ravine._live.live_words import about, figure
from ravine.train._best_epoch import best_epoch
from ravine.train._recorder import epochs_text

StateWord = Literal["waiting", "running", "silent", "done", "stopped", "failed", "gone", "damaged"]
_SILENCE = 30.0  # seconds without a line, after which a run that said nothing of its end may have been killed


@dataclass(frozen=True)
class RunState:
    """How a training stands.

    Attributes:
        word: the state in a word.
        message: what a stranger should know, in a sentence.
        detail: more of it; may be empty.
        progress: the fraction of the fit that is done, from 0 to 1; None where that is not known.
        left: about how many seconds it still takes; None where that is not known.
    """

    word: StateWord
    message: str
    detail: str = ""
    progress: float | None = None
    left: float | None = None


@dataclass(frozen=True)
class RunFacts:
    """What a state is made of.

    Attributes:
        config: what ``config.json`` says; empty where there is none.
        fits: what the recorder was told of each fit.
        epochs: the rows of the table.
        steps: how many steps were recorded.
        seconds: of a step, the mean of the last ones.
        written: when the last line was written, in seconds since 1970.
        trouble: ``gone`` or ``damaged`` and a sentence, where the folder cannot be read.
    """

    config: Mapping[str, Any]
    fits: Sequence[Mapping[str, Any]]
    epochs: Sequence[Mapping[str, Any]]
    steps: int
    seconds: float
    written: float
    trouble: tuple[Literal["gone", "damaged"], str] | None = None


def state_of(facts: RunFacts, now: float) -> RunState:
    """The state at that time, in seconds since 1970."""
    progress, left = _progress(facts)
    if facts.trouble is not None:
        return RunState(*facts.trouble, progress=progress)
    if not facts.steps:
        return RunState("waiting", "Waiting for the first step", "The page fills as soon as something is trained.")
    fit: Mapping[str, Any] = facts.fits[-1] if facts.fits else {}
    if "end" in fit:
        return _ended(facts, fit["end"])
    wanted = fit.get("epochs", facts.config.get("epochs"))
    if not facts.fits and wanted is not None and len(facts.epochs) >= wanted:  # a folder of an older version
        return _ended(facts, {"how": "done", "text": ""})
    where = _where(facts, wanted)
    if now - facts.written > max(_SILENCE, 20 * facts.seconds, 3 * _validation(facts)):
        silent = about(now - facts.written)
        return RunState(
            "silent",
            f"No news for {silent}: the run was killed, or a step takes very long",
            f"The last that was written is of {where}.",
            progress,
        )
    coming = f", about {about(left)} left" if left is not None and math.isfinite(left) else ""
    return RunState("running", f"Training: {where}{coming}", "", progress, left)


def _ended(facts: RunFacts, end: Mapping[str, Any]) -> RunState:
    how, text, epochs = end.get("how"), str(end.get("text", "")), list(facts.epochs)
    lasted = sum(float(row.get("time", 0.0)) for row in epochs)
    trained = f"{epochs_text(len(epochs))} in {about(lasted)}" if epochs else f"{facts.steps:,} steps"
    best = best_epoch(epochs)
    lowest = f"; lowest valid_loss {figure(best['valid_loss'])} after epoch {best['epoch']}" if best else ""
    if how == "done":
        return RunState("done", f"Done: {trained}{lowest}", "", 1.0)
    if how == "stopped":
        return RunState("done", f"Ended early: {trained}{lowest}", text, None)
    if how == "interrupted":
        resume = "Run the same command with --resume to go on." if facts.config.get("task") else ""
        return RunState("stopped", f"Stopped by hand after {facts.steps:,} steps{lowest}", resume, _progress(facts)[0])
    return RunState("failed", f"Failed after {facts.steps:,} steps", text, _progress(facts)[0])


def _where(facts: RunFacts, wanted: int | None) -> str:
    fit: Mapping[str, Any] = facts.fits[-1] if facts.fits else {"step": 0}
    done = sum(1 for row in facts.epochs if row["step"] > fit["step"]) + max(
        fit.get("epoch", 0) - bool(fit.get("batch")), 0
    )
    at = min(done + 1, wanted) if wanted else done + 1
    return f"epoch {at:,} of {wanted:,}" if wanted else f"epoch {at:,}"


def _progress(facts: RunFacts) -> tuple[float | None, float | None]:
    """The fraction that is done, and the seconds that the rest takes at the pace of this fit so far."""
    fit: Mapping[str, Any] = facts.fits[-1] if facts.fits else {"step": 0}
    epochs = fit.get("epochs", facts.config.get("epochs"))
    batches = fit.get("batches") or facts.config.get("steps_per_epoch") or _batches_seen(facts.epochs)
    if not epochs or not batches:
        return None, None
    before = max(fit.get("epoch", 0) - bool(fit.get("batch")), 0) * batches + fit.get("batch", 0)
    here = facts.steps - fit["step"]
    done, total = before + here, epochs * batches
    spent = facts.written - fit["at"] if "at" in fit else here * facts.seconds
    left = max(0.0, spent / here * (total - done)) if here > 0 else None
    return min(1.0, done / total), left


def _batches_seen(epochs: Sequence[Mapping[str, Any]]) -> int | None:
    """The batches of the last epoch, where the data has no length."""
    ends = [0, *(int(row["step"]) for row in epochs[-2:])]
    return ends[-1] - ends[-2] if epochs else None


def _validation(facts: RunFacts) -> float:
    """The seconds of the last epoch in which no step was made: validation, mostly."""
    if not facts.epochs:
        return 0.0
    row, steps = facts.epochs[-1], _batches_seen(facts.epochs) or 0
    return max(0.0, float(row.get("time", 0.0)) - steps * facts.seconds)
