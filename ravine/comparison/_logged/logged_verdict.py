"""``ravine.comparison.judge_files``: the verdict on runs that other programs have logged."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ravine.comparison._curves import RunCurve, columns_of, groups_text, read_curves
from ravine.comparison._judge import Metric, StepsToTarget, Target, parse_margin, steps_to, with_best
from ravine.comparison._judge.few_finished import no_equivalence_text, without_doubtful_margin
from ravine.comparison._judge.limited_differences import far_from_others
from ravine.comparison._judge.margin import usual_spread
from ravine.comparison._judge.measurements import Array, FreshRun, OptimizerRuns
from ravine.comparison._judge.number_text import count, listed
from ravine.comparison._judge.target import check_target
from ravine.comparison._judge.verdict_text import far_out_text, margin_text, verdict_text
from ravine.comparison._judge.with_best import check_alpha, with_best_unpaired
from ravine.comparison._logged import logged_notes
from ravine.comparison._logged.logged_result import LoggedResult
from ravine.comparison._study.storage_errors import without_password
from ravine.errors import ComparisonError, OptionError, for_both, shown


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
        margin: the largest difference that does not matter, ``"0.01"``, or ``"1%"`` of the best mean; empty: the spread from
            one run to the next, the median over the better half of the optimizers with at least 5 runs, or else 0.
        target: a value to be reached; then the steps to it are counted, too.
        alpha: the chance of any wrong statement.

    Raises:
        OptionError, DataError, PackageError: see ``read_curves``.
        ComparisonError: fewer than two optimizers have two runs.
    """
    check_alpha(alpha)
    check_target(target, "value")
    if margin != "":
        parse_margin(margin)
    if not isinstance(higher_is_better, bool | np.bool_):
        raise OptionError(f"higher_is_better = {shown(higher_is_better)}: give True or False.")
    named = columns_of(columns)
    if not higher_is_better:
        _refuse_higher([named.get("value"), tag])
    paths = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, str | bytes) else [paths]
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise OptionError(f"paths {shown(path)}: give the path of a file of logged runs, or a list of such paths.")
    curves = read_curves(paths, columns=named, tag=tag)
    if not higher_is_better:
        _refuse_higher(curves.metrics)
    by_name = {name: curves.of(name) for name in curves.optimizers}
    notes = [groups_text(curves.grouped)] if curves.grouped else []
    notes += [logged_notes.numbered(curves.numbered)] if curves.numbered else []
    metrics = [name for name in curves.metrics if name != "value"]
    notes += [f"The value is {listed(metrics)}."] if metrics else []
    single = [name for name, runs in by_name.items() if len(runs) < 2]
    by_name = {name: runs for name, runs in by_name.items() if len(runs) > 1}
    if len(by_name) < 2:
        raise ComparisonError(
            f"A comparison needs two optimizers with at least two runs each; {', '.join(map(str, paths))} has "
            f"{count(len(by_name), 'such optimizer')}{f', and {listed(single)} with one run' if single else ''}."
        )
    if single:
        notes.append(f"Note: with one run only, and so left out: {listed(single)}.")
    by_name = {name: sorted(runs, key=lambda curve: curve.run) for name, runs in by_name.items()}
    sign = -1.0 if higher_is_better else 1.0
    names = [{curve.run for curve in runs} for runs in by_name.values()]
    paired = all(each == names[0] for each in names)
    first = [sign * v for runs in by_name.values() for curve in runs for v in curve.values[:1]]
    if not first:
        raise ComparisonError("No run has a value that is a number.")
    worst = max(first)
    values = {name: np.array([_end(c, sign, worst) for c in runs]) for name, runs in by_name.items()}
    width, why = _margin(margin, by_name, values)
    judged = with_best if paired else with_best_unpaired
    diverged = {name: [curve.diverged for curve in runs] for name, runs in by_name.items()}
    judgement = without_doubtful_margin(
        judged(values, margin=width, alpha=alpha), diverged, lambda: judged(values, alpha=alpha)
    ).with_diverged([name for name, lost in diverged.items() if all(lost)])
    metric = Metric("value at the end", higher_is_better)
    notes += logged_notes.few_runs(values)
    if judgement.margin < width:
        notes.append(f"Note: {no_equivalence_text('runs')}")
    elif width:
        notes.append(margin_text(judgement, metric, why))
    elif not margin:
        notes += logged_notes.no_margin(values)
    notes += [f"{outside}."] if (outside := far_out_text(judgement)) else []
    notes += [*logged_notes.ends(by_name), *logged_notes.diverged(by_name)]
    notes += [] if paired else logged_notes.independent(by_name, values)
    steps: Mapping[str, StepsToTarget] = {}
    if target is not None:
        try:
            steps = steps_to(Target(sign * target), _as_runs(by_name, sign))
        except ComparisonError:
            notes.append(f"Note: every run meets the target of {target:g} at its first value, so it tells nothing.")
    # how many more of which optimizer would settle it is not said of independent runs
    sentence = verdict_text(judgement, metric, diverged, more=paired)
    read = [without_password(str(path)) for path in paths]
    return LoggedResult(sentence, judgement, metric, paired, steps, notes, curves, by_name, target, read)


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


def _refuse_higher(names: Iterable[str | None]) -> None:
    """Refuse to look for the lowest accuracy.

    Raises:
        OptionError: by its name, the value is better if it is higher.
    """
    for name in filter(None, names):
        if any(word in _HIGHER for word in re.split("[^a-z0-9]+", str(name).replace("_", " ").lower())):
            wrong = f"{name!r} is better if it is higher, and the lowest value would be called the best: say so by"
            raise for_both(OptionError(f"{wrong} higher_is_better=True."), f"{wrong} --higher.")


def _margin(text: str, by_name: Mapping[str, Sequence[RunCurve]], values: Mapping[str, Array]) -> tuple[float, str]:
    """The margin and where it comes from; 0 where none was declared and no optimizer has enough runs.

    Taken from the runs themselves it still makes no statement less certain: intervals hold whatever it is, and that all
    differences are within so many is read off them.
    """
    if text:
        parsed, share = parse_margin(text)
        best = abs(min(float(v.mean()) for v in values.values()))
        return (parsed * best if share else parsed), f"declared as {text}"
    finished = [
        np.array([value for value, run in zip(values[name], runs, strict=True) if not run.diverged])
        for name, runs in by_name.items()
    ]
    # a run far out would make a margin in which all are equivalent
    usual = [ends[~far_from_others(ends)] for ends in finished if ends.size >= logged_notes.ENOUGH]
    return usual_spread(usual), "the spread from one run to the next"


def _end(curve: RunCurve, sign: float, worst: float) -> float:
    """The value that counts, lower is better; of a run that diverged the one it began with."""
    if not curve.diverged:
        return sign * float(curve.values[-1])
    return sign * float(curve.values[0]) if curve.values.size else worst


def _as_runs(by_name: Mapping[str, Sequence[RunCurve]], sign: float) -> list[OptimizerRuns]:
    """The runs as the target needs them, lower is better; the same name of a run is the same seed everywhere."""
    seeds = {name: i for i, name in enumerate(sorted({c.run for runs in by_name.values() for c in runs}))}
    return [
        OptimizerRuns(
            name,
            runs=[
                FreshRun(seeds[c.run], c.steps, sign * c.values, _end(c, sign, np.inf), {}, c.diverged) for c in runs
            ],
        )
        for name, runs in by_name.items()
    ]
