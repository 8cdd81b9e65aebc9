"""How often the verdicts of ``ravine compare`` are wrong, and how often they find what is there: simulated studies of known truth.

Run: ``python benchmarks/verdicts.py [--studies 1000] [--json FILE]``. 1,000 studies take about twenty minutes on one thread.

A cell is a number of optimizers, of runs of each, a shape of the noise, and the share of runs that diverge, which count
as the loss that they began with: ten spreads above. Each cell has studies of four truths, all judged by ``with_best``:
all equal; the first and the last tied, the others worse; one better than all others, which are equal; one worse. How
much better or worse is chosen such that Holm's correction of paired t-tests finds it in about half of the studies, where
any difference can be found so often. What runs of a seed have in common cancels in every difference, so there is none of it.

The table, each number a share of the studies; looks.py has studies that are looked at more than once:

    covered    every interval of the study holds the true limited difference to the best of the others: all equal; not
               all equal; of these, the one that is true of as many diverged runs as there were ("seen"); and the
               difference of the means ("mean"), which is not what is judged
    worse      somebody who is the best, or tied with it, is called "not the best": all equal, not all equal
    equiv      somebody who is worse by just the margin is called equivalent to the best; not where a study says it of nobody,
               as too few of its runs ended (``few_finished.py``); in the file also how often it would be ("equivalent_anyway")
    best       the planted best is found as the only best: by us, by Holm
    loser      the planted loser is found not to be the best: by us, by Holm

A limited difference is the mean of differences none of which counts for more than five times the median size
(``limited_differences.py``); the true one is that of 40,000 runs. Of runs of which some diverge it is the mean of a
mixture, and hardly anybody sees the rare part of a mixture in five runs: where a fifth diverge, five runs have none of them
a third of the time. No interval can hold it then; that is why a verdict says how many runs diverged, with an interval of
its own, and why "seen" is a column.

The last lines are the worst cell of each target. A share of N studies is known to about 2 sqrt(share (1 - share) / N), and
the worst of many is the least lucky: beside it stands how many cells miss the target by more than three such errors.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ravine.comparison._judge.critical_values import paired_t
from ravine.comparison._judge.few_finished import without_doubtful_margin
from ravine.comparison._judge.limited_differences import MOST, limited_t, usual_size
from ravine.comparison._judge.with_best import WithBest, with_best

Array = np.ndarray[Any, np.dtype[np.float64]]

OPTIMIZERS, RUNS, DIVERGED = (2, 4, 8), (5, 10, 20), (0.0, 0.2, 0.6)
_OUTLIER, _START = 8.0, 10.0
_LARGEST = 30.0  # difference, in spreads, that is tried
_MANY = 40_000  # runs, for what is true

SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "skewed": lambda rng, size: rng.exponential(1.0, size) - 1,
    "t3": lambda rng, size: rng.standard_t(3, size) / np.sqrt(3),
    "outliers": lambda rng, size: np.where(rng.random(size) < 0.05, _OUTLIER, 1.0) * rng.standard_normal(size),
    "spread 1:10": lambda rng, size: rng.standard_normal(size) * np.geomspace(1, 10, size[-1]),
}
_LARGEST_SPREAD = {"spread 1:10": 10.0}


@dataclass(frozen=True)
class Cell:
    optimizers: int
    runs: int
    shape: str
    diverged: float

    def studies(self, truth: Array, count: int, *stream: int) -> tuple[Array, Array]:
        """The values of so many studies, (studies, runs, optimizers), and the same but for the noise of runs that trained.

        The same noise for the same stream.
        """
        place = [self.optimizers, self.runs, list(SHAPES).index(self.shape), int(100 * self.diverged), *stream]
        rng = np.random.default_rng(place)
        noise = SHAPES[self.shape](rng, (count, self.runs, self.optimizers))
        start = self.start + rng.standard_normal((count, self.runs, 1))
        diverged = rng.random(noise.shape) < self.diverged
        return np.where(diverged, start, truth + noise), np.where(diverged, start, truth)

    @property
    def start(self) -> float:
        """Where runs begin; those that diverge end there."""
        return _START * _LARGEST_SPREAD.get(self.shape, 1.0)

    def true_differences(self, truth: Array) -> Array:
        """The limited differences of this many runs, row minus column; of equal optimizers none."""
        if not truth.any():
            return np.zeros((self.optimizers, self.optimizers))
        return limited_t(self.studies(truth, 1, 30)[0][0])[0]

    def means(self, truth: Array) -> Array:
        return (1 - self.diverged) * truth + self.diverged * self.start


def holm(values: Array, alpha: float = 0.05) -> Array:
    """Which optimizer (row) is shown to be worse than which other: paired t-tests with Holm's correction."""
    t = paired_t(values)[2]
    first, second = np.triu_indices(values.shape[-1], 1)
    p = 2 * stats.t.sf(np.abs(t[:, first, second]), values.shape[1] - 1)
    order = p.argsort(1)
    passed = np.take_along_axis(p, order, 1) <= alpha / (p.shape[1] - np.arange(p.shape[1]))
    found = np.zeros_like(passed)
    np.put_along_axis(found, order, np.logical_and.accumulate(passed, axis=1), 1)
    worse = np.zeros(t.shape, bool)
    worse[:, first, second] = worse[:, second, first] = found
    return worse & (t > 0)


def holm_best(values: Array) -> Array:
    """Whether Holm finds the first optimizer the best of all."""
    return holm(values)[:, 1:, 0].all(1)


def holm_loser(values: Array) -> Array:
    """Whether Holm finds the first optimizer worse than some other."""
    return holm(values)[:, 0].any(1)


def found_half(cell: Cell, sign: float, found: Callable[[Array], Array], count: int = 400) -> float:
    """The difference that Holm finds in half of the studies, or the largest that is tried."""
    low, high = 0.0, _LARGEST * _LARGEST_SPREAD.get(cell.shape, 1.0)
    for _ in range(14):
        middle = (low + high) / 2
        share = found(cell.studies(only_first(cell, sign * middle), count, 9)[0]).mean()
        low, high = (middle, high) if share < 0.5 else (low, middle)
    return high


def measure(cell: Cell, count: int) -> dict[str, float]:
    """All columns of the table."""
    lead, lag = found_half(cell, -1, holm_best), found_half(cell, 1, holm_loser)
    tied = np.full(cell.optimizers, lag)
    tied[[0, -1]] = 0.0
    truths = {
        "equal": np.zeros(cell.optimizers),
        "tied": tied,
        "best": only_first(cell, -lead),
        "loser": only_first(cell, lag),
    }
    if cell.optimizers == 2:
        del truths["tied"]  # nobody is left
    row = {"lead": lead, "lag": lag}
    for stream, (name, truth) in enumerate(truths.items()):
        values, seen = cell.studies(truth, count, stream)
        means = cell.means(truth)
        limited = to_best(replace(cell, runs=_MANY).true_differences(truth))
        margin = float(limited[1:].min()) * (1 - 1e-9) if name == "best" else 0.0
        studies = [judged(each, margin=margin) for each in values]
        row[f"covered_{name}"] = np.mean([covers(study, limited) for study in studies])
        row[f"seen_{name}"] = np.mean(
            [
                covers(study, to_best(seen_differences(some, noisy)))
                for study, some, noisy in zip(studies, seen, values, strict=True)
            ]
        )
        row[f"mean_{name}"] = np.mean([covers(study, to_best(means[:, None] - means)) for study in studies])
        truly_best = set(np.flatnonzero(means <= means.min()).tolist())
        row[f"worse_{name}"] = np.mean([bool(truly_best & set(map(int, study.others))) for study in studies])
        if name == "best":
            row["best"] = np.mean([study.top == ["0"] for study in studies])
            row["best_holm"] = holm_best(values).mean()
            said = [_said(study, each == some) for study, each, some in zip(studies, values, seen, strict=True)]
            for key, kind in (("equivalent", said), ("equivalent_anyway", studies)):
                row[key] = np.mean([any(s.equivalent for s in study.standings if s.name != "0") for study in kind])
        if name == "loser":
            row["loser"] = np.mean(["0" in study.others for study in studies])
            row["loser_holm"] = holm_loser(values).mean()
    return {key: float(value) for key, value in row.items()}


def to_best(differences: Array) -> Array:
    """Each optimizer minus the best of the others, from the differences of all pairs."""
    return np.array([np.delete(row, i).max() for i, row in enumerate(differences)])


def seen_differences(values: Array, noisy: Array) -> Array:
    """The mean of limited differences of every pair of columns, by the limits of the same runs with their noise."""
    limits = MOST * usual_size(noisy[:, :, None] - noisy[:, None, :])
    return np.clip(values[:, :, None] - values[:, None, :], -limits, limits).mean(0)


def judged(values: Array, **options: Any) -> WithBest:
    """The study of these (runs, optimizers), named by their column."""
    return with_best({str(i): column for i, column in enumerate(values.T)}, **options)


def _said(study: WithBest, diverged: NDArray[np.bool_]) -> WithBest:
    """The study as it is reported, where these of its runs (rows) of each optimizer (column) diverged."""
    of_each = {str(i): column.tolist() for i, column in enumerate(diverged.T)}
    nobody = [replace(s, equivalent=False) for s in study.standings]
    return without_doubtful_margin(study, of_each, lambda: replace(study, standings=nobody))


def only_first(cell: Cell, difference: float) -> Array:
    truth = np.zeros(cell.optimizers)
    truth[0] = difference
    return truth


def covers(study: WithBest, difference: Array) -> bool:
    slack = 1e-9 * (1 + np.abs(difference))
    return all(
        s.low - e <= d <= s.high + e
        for s in study.standings
        for d, e in [(difference[int(s.name)], slack[int(s.name)])]
    )


@dataclass(frozen=True)
class TargetLine:
    """The worst cell of a target, and how many cells miss it by more than chance."""

    target: str
    worst: float
    cell: str
    missed: int
    cells: int


def worst_row(
    target: str, rows: list[dict[str, Any]], value: Callable[[dict[str, Any]], float], limit: float, error: float
) -> TargetLine:
    """The worst of these rows, and how many miss the target: their value is below the limit by more than three errors."""
    worst = min(rows, key=value)
    missed = sum(value(row) < limit - 3 * error for row in rows)
    keys = [key for key in ("optimizers", "runs", "shape", "diverged", "truth", "difference") if key in worst]
    if "difference" in worst:
        keys.remove("runs")  # the mean number, no kind
    where = ", ".join(f"{key} {worst[key]}" for key in keys)
    return TargetLine(target, round(-value(worst) if limit < 0 else value(worst), 4), where, missed, len(rows))


def targets(cells: list[dict[str, Any]], count: int) -> list[TargetLine]:
    """Every target: its worst cell, and how many miss it by more than three standard errors."""
    lines = []

    def line(*of_target: Any) -> None:
        lines.append(worst_row(*of_target))

    def of_share(share: float) -> float:
        return float(np.sqrt(share * (1 - share) / count))

    def unequal(kind: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        names = ("tied", "best", "loser")
        return [
            {**row, "truth": name, kind: row[f"{kind}_{name}"]}
            for row in rows
            for name in names
            if f"{kind}_{name}" in row
        ]

    whole, lost = ([row for row in cells if bool(row["diverged"]) == diverged] for diverged in (False, True))
    line("coverage, all equal: at least .94", cells, lambda r: r["covered_equal"], 0.94, of_share(0.94))
    for title, kind, rows in (
        ("not all equal, none diverged", "covered", whole),
        ("the same, of the means", "mean", whole),
        ("not all equal, some diverged", "covered", lost),
        ("the same, of what was seen", "seen", lost),
    ):
        line(
            f"coverage, {title}: at least .94", unequal(kind, rows), lambda r, kind=kind: r[kind], 0.94, of_share(0.94)
        )
    line("false 'not the best', all equal: at most .05", cells, lambda r: -r["worse_equal"], -0.05, of_share(0.05))
    line("the same, not all equal: at most .05", unequal("worse", cells), lambda r: -r["worse"], -0.05, of_share(0.05))
    line("false 'equivalent', none diverged: at most .05", whole, lambda r: -r["equivalent"], -0.05, of_share(0.05))
    line("false 'equivalent', some diverged: at most .05", lost, lambda r: -r["equivalent"], -0.05, of_share(0.05))
    line("power, only best, minus Holm's: at least 0", cells, lambda r: r["best"] - r["best_holm"], 0.0, of_share(0.02))
    line("power, loser, minus Holm's: at least 0", cells, lambda r: r["loser"] - r["loser_holm"], 0.0, of_share(0.02))
    return lines


def shown(row: dict[str, float]) -> list[float]:
    """A row of the table; of the truths that are not all equal the mean."""

    def unequal(kind: str) -> float:
        return float(np.mean([row[key] for key in row if key.startswith(f"{kind}_") and not key.endswith("_equal")]))

    covered = [row["covered_equal"], unequal("covered"), unequal("seen"), unequal("mean")]
    power = [row[key] for key in ("best", "best_holm", "loser", "loser_holm")]
    return [*covered, row["worse_equal"], unequal("worse"), row["equivalent"], *power]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="of each truth, in each cell")
    parser.add_argument("--json", type=Path, help="where all figures are written")
    options = parser.parse_args()
    count = options.studies

    print(f"{count} studies of each truth in each cell\n")
    print(f"{'':35}{'covered':>28}{'worse':>14}{'equiv':>7}{'best':>14}{'loser':>14}")
    head = ("equal", "not", "seen", "mean", "equal", "not", "", "ours", "Holm", "ours", "Holm")
    print(f"{'optimizers':>10}{'runs':>6}  {'shape':11}{'lost':>6}" + "".join(f"{name:>7}" for name in head))
    cells: list[dict[str, Any]] = []
    for cell in (Cell(k, n, s, d) for k in OPTIMIZERS for n in RUNS for s in SHAPES for d in DIVERGED):
        row = measure(cell, count)
        cells.append(asdict(cell) | {key: round(float(value), 4) for key, value in row.items()})
        print(
            f"{cell.optimizers:>10}{cell.runs:>6}  {cell.shape:11}{cell.diverged:>6.0%}"
            + "".join(f"{value:7.3f}" for value in shown(row)),
            flush=True,
        )

    print(f"\n{'target':56}{'worst':>8}{'missed':>11}  worst cell")
    lines = targets(cells, count)
    for each in lines:
        print(f"{each.target:56}{each.worst:8.3f}{f'{each.missed} of {each.cells}':>11}  {each.cell}")
    if options.json:
        written = {"studies": count, "targets": [asdict(each) for each in lines], "cells": cells}
        options.json.write_text(rows_on_lines(written))


def rows_on_lines(written: dict[str, Any]) -> str:
    """JSON with a row a line, so that two files can be compared."""
    parts = []
    for key, value in written.items():
        if isinstance(value, list) and isinstance(value[0], dict):
            rows = ",\n".join("  " + json.dumps(row) for row in value)
            parts.append(f' "{key}": [\n{rows}\n ]')
        else:
            parts.append(f' "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
