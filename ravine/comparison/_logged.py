"""``ravine.comparison.judge_files``: the verdict on runs that other programs have logged."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ravine._fallback_characters import printable
from ravine._plotting.frames import frame
from ravine._plotting.terminal_tables import FittedTable, table
from ravine.comparison._curves import Curves, RunCurve, parse_columns, read_curves
from ravine.comparison._judge import (
    Metric,
    StepsToTarget,
    Target,
    WithBest,
    parse_margin,
    steps_to,
    with_best,
)
from ravine.comparison._judge.measurements import FreshRun, OptimizerRuns
from ravine.comparison._judge.number_text import count, listed, number
from ravine.comparison._judge.verdict_text import far_out_text, verdict_text
from ravine.comparison._judge.with_best import check_alpha, with_best_unpaired
from ravine.errors import ComparisonError, OptionError, for_both, shown


@dataclass(frozen=True, eq=False, repr=False)
class LoggedResult:
    """What logged runs show.

    Attributes:
        sentence: the verdict: who may be the best, who is not.
        with_best: every optimizer against the best of the others, in the value at the end of each run; of values where
            more is better, in their negatives.
        metric: what was compared.
        paired: whether runs of the same name are pairs; else differences are judged as those of independent runs.
        steps: the steps to the target, by optimizer; empty without a target.
        notes: what a reader has to know.
        curves: what was read.
    """

    sentence: str
    with_best: WithBest
    metric: Metric
    paired: bool
    steps: Mapping[str, StepsToTarget]
    notes: Sequence[str]
    curves: Curves

    def __repr__(self) -> str:
        return f"LoggedResult({len(self.with_best.standings)} optimizers, {len(self.curves)} runs)"

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), color_system=None)
        console.print(self.table())
        lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        return printable("\n".join([self.sentence, "", *(line.rstrip() for line in lines), *self.notes]))

    def table(self) -> FittedTable:
        """A row for each optimizer, best first, for ``console.print``."""
        sign = -1.0 if self.metric.higher_is_better else 1.0
        heads = ["optimizer", "runs", self.metric.name, "against the best of the others", "verdict"]
        heads += ["reached target", "restricted mean"] if self.steps else []
        rows = []
        for s in self.with_best.standings:
            low, high = sorted((sign * s.low, sign * s.high))
            verdict = f"{s.verdict}, within the margin" if s.equivalent and self.with_best.margin else s.verdict
            row = [s.name, str(s.runs), number(sign * s.mean, 4), f"{number(low)} to {number(high)}", verdict]
            if self.steps:
                row += [self.steps[s.name].reached_text, number(self.steps[s.name].restricted_mean, 3)]
            rows.append(row)
        return table(heads, rows)

    def standings(self) -> Any:
        """The same as a pandas DataFrame; of values where more is better, of their negatives.

        Raises:
            PackageError: pandas is not installed.
        """
        return frame([vars(standing) for standing in self.with_best.standings])


def judge_files(
    paths: str | Path | Sequence[str | Path],
    *,
    columns: Mapping[str, str] | str | None = None,
    tag: str | None = None,
    higher_is_better: bool = False,
    margin: str = "",
    target: float | None = None,
    alpha: float = 0.05,
) -> LoggedResult:
    """Judge runs that any program has logged, as ``ravine.compare`` judges its own.

    Compared is the last value of each run. Runs of the same name are pairs if all optimizers have the same names. How the
    optimizers were tuned is not known, so the luck of tuning is in no interval: the verdict is about these settings.

    Args:
        paths: tables (CSV, or JSON lines) with a row for each optimizer, run and step, folders with TensorBoard's event
            files, or Optuna storages.
        columns: which column is what, where the names are none of the usual ones: ``"optimizer=method,value=val_loss"``.
        tag: the scalar of TensorBoard.
        higher_is_better: whether more is better, as of an accuracy.
        margin: the largest difference that does not matter, ``"0.01"``, or ``"1%"`` of the best mean; empty: none.
        target: a value to be reached; then the steps to it are counted, too.
        alpha: the chance of any wrong statement.

    Raises:
        OptionError, DataError, PackageError: see ``read_curves``.
        ComparisonError: fewer than two optimizers have two runs.
    """
    check_alpha(alpha)
    if target is not None and not np.isfinite(target):
        raise OptionError(f"target = {target}: a value to be reached, a finite number.")
    if not higher_is_better:
        _refuse_higher(columns, tag)
    paths = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, str | bytes) else [paths]
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise OptionError(f"paths {shown(path)}: give the path of a file of logged runs, or a list of such paths.")
    curves = read_curves(paths, columns=columns, tag=tag)
    by_name = {name: curves.of(name) for name in curves.optimizers}
    notes, single = [], [name for name, runs in by_name.items() if len(runs) < 2]
    by_name = {name: runs for name, runs in by_name.items() if len(runs) > 1}
    if len(by_name) < 2:
        raise ComparisonError(
            f"A comparison needs two optimizers with at least two runs each; {', '.join(map(str, paths))} has "
            f"{count(len(by_name), 'such optimizer')}{f', and {listed(single)} with one run' if single else ''}."
        )
    if single:
        notes.append(f"Note: with one run only, and so left out: {listed(single)}.")
    sign = -1.0 if higher_is_better else 1.0
    names = [{curve.run for curve in runs} for runs in by_name.values()]
    paired = all(each == names[0] for each in names)
    first = [sign * v for runs in by_name.values() for curve in runs for v in curve.values[:1]]
    if not first:
        raise ComparisonError("No run has a value that is a number.")
    worst = max(first)
    values = {name: np.array([_end(c, sign, worst) for c in _sorted(runs)]) for name, runs in by_name.items()}
    parsed, share = parse_margin(margin) if margin else (0.0, False)
    width = parsed * abs(min(float(v.mean()) for v in values.values())) if share else parsed
    judged = with_best if paired else with_best_unpaired
    judgement = judged(values, margin=width, alpha=alpha)
    metric = Metric("value at the end", higher_is_better)
    notes += [*([f"{outside}."] if (outside := far_out_text(judgement)) else []), *_ends(by_name)]
    diverged = {name: sum(c.diverged for c in runs) for name, runs in by_name.items()}
    notes += [
        f"Note: {name} diverged in {n} of {count(len(by_name[name]), 'run')}, which count as the value they began with."
        for name, n in diverged.items()
        if n
    ]
    if not paired:
        notes.append("Runs have other names in other optimizers, so they are judged as independent, not as pairs.")
    steps: Mapping[str, StepsToTarget] = {}
    if target is not None:
        try:
            steps = steps_to(Target(sign * target), _as_runs(by_name, sign))
        except ComparisonError:
            notes.append(f"Note: every run meets the target of {target:g} at its first value, so it tells nothing.")
    # how many more of which optimizer would settle it is not said of independent runs
    lost = [name for name, runs in by_name.items() if all(curve.diverged for curve in runs)]
    sentence = verdict_text(judgement, metric, lost, more=paired)
    return LoggedResult(sentence, judgement, metric, paired, steps, notes, curves)


_HIGHER = [
    "accuracy",
    "acc",
    "top1",
    "top5",
    "auc",
    "auroc",
    "auprc",
    "f1",
    "r2",
    "precision",
    "recall",
    "reward",
    "bleu",
    "rouge",
    "miou",
    "iou",
    "dice",
    "psnr",
    "ssim",
]


def _refuse_higher(columns: Mapping[str, str] | str | None, tag: str | None) -> None:
    """Refuse to look for the lowest accuracy.

    Raises:
        OptionError: by its name, the value is better if it is higher.
    """
    named = parse_columns(columns) if isinstance(columns, str) else dict(columns or {})
    for name in filter(None, (named.get("value"), tag)):
        if any(word in _HIGHER for word in re.split("[^a-z0-9]+", str(name).replace("_", " ").lower())):
            wrong = f"{name!r} is better if it is higher, and the lowest value would be called the best: say so by"
            raise for_both(OptionError(f"{wrong} higher_is_better=True."), f"{wrong} --higher.")


def _sorted(runs: Sequence[RunCurve]) -> list[RunCurve]:
    return sorted(runs, key=lambda curve: curve.run)


def _end(curve: RunCurve, sign: float, worst: float) -> float:
    """The value that counts, lower is better; of a run that diverged the one it began with."""
    if not curve.diverged:
        return sign * float(curve.values[-1])
    return sign * float(curve.values[0]) if curve.values.size else worst


def _ends(by_name: Mapping[str, Sequence[RunCurve]]) -> list[str]:
    """That runs end at different steps, so that not the same is compared."""
    last = {float(c.steps[-1]) for runs in by_name.values() for c in runs if not c.diverged}
    if len(last) < 2:
        return []
    return [f"Note: runs end at different steps, from {number(min(last), 4)} to {number(max(last), 4)}."]


def _as_runs(by_name: Mapping[str, Sequence[RunCurve]], sign: float) -> list[OptimizerRuns]:
    """The runs as the target needs them, lower is better; the same name of a run is the same seed everywhere."""
    seeds = {name: i for i, name in enumerate(sorted({c.run for runs in by_name.values() for c in runs}))}
    return [
        OptimizerRuns(
            name,
            runs=[
                FreshRun(seeds[c.run], c.steps, sign * c.values, _end(c, sign, np.inf), {}, c.diverged)
                for c in _sorted(runs)
            ],
        )
        for name, runs in by_name.items()
    ]
