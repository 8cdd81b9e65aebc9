"""The sentences beside the verdict on logged runs: what was left out, what counts as what, and what to be careful with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ravine.comparison._curves import RunCurve
from ravine.comparison._judge.limited_differences import far_from_others
from ravine.comparison._judge.measurements import Array
from ravine.comparison._judge.number_text import count, diverged_text, listed, number

#: Runs of an optimizer that say something of how much runs differ.
ENOUGH = 5


def numbered(optimizers: Sequence[str]) -> str:
    """What the runs of these optimizers are, of which an Optuna storage has only the number."""
    return (
        f"Each trial of {listed(optimizers)} is a run that goes by its number, and the same number stands for the same seed. If it does "
        "not, give trials a user attribute run with a name of their own."
    )


def few_runs(values: Mapping[str, Array]) -> list[str]:
    """That an optimizer has so few runs that chance may have made the verdict."""
    few = [f"{count(len(v), 'run')} of {name}" for name, v in values.items() if len(v) < ENOUGH]
    if not few:
        return []
    return [
        f"Note: {listed(few)} hardly show how much runs vary, so the verdict may be chance. Take at least {ENOUGH} of each."
    ]


def no_margin(values: Mapping[str, Array]) -> list[str]:
    """That no difference is too small to matter, where runs are too few to say how small that is."""
    if all(len(v) >= ENOUGH for v in values.values()):  # they do not vary at all
        return []
    return [f"Any difference counts, however small: it takes {ENOUGH} runs to estimate a margin, and none is declared."]


def independent(runs: Mapping[str, Sequence[RunCurve]], values: Mapping[str, Array]) -> list[str]:
    """That runs are no pairs, and which of them are far out: nothing limits those.

    Args:
        runs: of each optimizer.
        values: of the same runs, in the same order.
    """
    notes = ["Runs have other names in other optimizers, so they are judged as independent, not as pairs."]
    out = [
        f"{run.run} of {name}"
        for name, v in values.items()
        for run, far in zip(runs[name], far_from_others(v), strict=True)
        if far
    ]
    if out:
        notes.append(
            f"Note: far out from the other runs of the same optimizer: {listed(out)}. This widens the intervals: unlike the "
            "differences of pairs, independent runs are not limited. Runs with the same seed are pairs if they have the same name."
        )
    return notes


def ends(by_name: Mapping[str, Sequence[RunCurve]]) -> list[str]:
    """That runs end at different steps, so that not the same is compared."""
    finished = [c for runs in by_name.values() for c in runs if not c.diverged]
    last = {float(c.steps[-1]) for c in finished}
    if len(last) < 2:
        return []
    notes = [f"Note: runs end at different steps, from {number(min(last), 4)} to {number(max(last), 4)}."]
    # what pandas writes of a run that diverged
    blank = [c for c in finished if c.blank_from is not None and c.steps[-1] < max(last)]
    if blank:
        named = listed([f"run {c.run} of {c.optimizer}" for c in blank])
        notes.append(
            f"Note: {named} {'has' if len(blank) == 1 else 'have'} rows after the last value that are empty or null, which is not "
            "measured. Write nan there if the run diverged."
        )
    return notes


def diverged(by_name: Mapping[str, Sequence[RunCurve]]) -> list[str]:
    """How many runs diverged, and what they count as; the means that are shown leave them out."""
    lost = {name: sum(c.diverged for c in runs) for name, runs in by_name.items()}
    notes = [
        f"Note: {name} {diverged_text(n, len(by_name[name]))}, which the verdict counts as the value they began with."
        for name, n in lost.items()
        if n
    ]
    empty = [f"run {c.run} of {c.optimizer}" for runs in by_name.values() for c in runs if not c.values.size]
    if empty:
        notes.append(
            f"Note: {listed(empty)} diverged before the first number, and so count{'s' * (len(empty) == 1)} as the worst first "
            "value of all runs."
        )
    return notes
