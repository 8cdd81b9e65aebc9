"""How often the verdicts of a study that is looked at several times are wrong, over all looks, and what looks save: simulated.

Run: ``python benchmarks/looks.py [--studies 1000] [--json FILE]``, or with looks of your own, ``--looks 5 10 20``.

The looks are those of the presets ``quick`` and ``settle`` of ``ravine compare``. Optimizers, runs that diverge and shapes of
the noise are those of ``verdicts.py``. One optimizer is better than all others, which are equal, by so many standard
deviations of a paired difference (of runs that do not diverge). The columns are shares of the studies:

    covered     every interval holds the true limited difference to the best of the others, at every look
    at end      the same, of the look at which the study ends
    worse       somebody who is the best, or tied with it, is called "not the best" at some look
    equivalent  somebody who is worse by just the margin is called equivalent to the best: the same studies with that margin,
                which end when all is known up to it; only where there is a difference
    found       the better one is named the only best
    at once     the same, by one look at as many runs as the last look has
    runs        the mean number of runs of an optimizer
    saved       the share of the runs of the last look that this saves

The last lines are the worst row of each target, and how many miss it by more than three standard errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from verdicts import SHAPES, Cell, TargetLine, covers, judged, only_first, rows_on_lines, to_best, worst_row

from ravine.comparison._study.declare import PRESETS

#: By preset: how many optimizers, and by how much one is better.
KINDS = {"quick": ((2, 4, 8), (0.0, 0.5, 1.0, 1.5, 2.0)), "settle": ((2, 5), (0.0, 0.5, 1.0))}
DIVERGED = (0.0, 0.05)
_SPREAD = {
    "outliers": np.sqrt(0.95 + 0.05 * 8.0**2),
    "spread 1:10": np.hypot(1, 10) / np.sqrt(2),
}  # of the hardest pair
_MANY = 40_000  # runs, for what is true


def measure_looks(cell: Cell, difference: float, count: int, looks: tuple[int, ...]) -> dict[str, float | None]:
    """All columns of a row."""
    truth = only_first(cell, -difference * np.sqrt(2) * _SPREAD.get(cell.shape, 1.0))
    values = cell.studies(truth, count, 20)[0]
    limited = to_best(Cell(cell.optimizers, _MANY, cell.shape, cell.diverged).true_differences(truth))
    best = set(range(cell.optimizers)) if not difference else {0}
    margin = float(limited[1:].min()) * (1 - 1e-9)
    studies, at_end, earlier, equivalent = [], [], [], []
    for each in values:
        study = judged(each, looks=looks)
        studies.append(study)
        at_end.append(covers(study, limited))
        earlier.append(all(covers(judged(each[:n], looks=looks), limited) for n in study.looks[:-1]))
        if difference:
            within = judged(each, looks=looks, margin=margin)
            equivalent.append(any(s.equivalent for s in within.standings if s.name != "0"))
    runs = float(np.mean([s.runs for study in studies for s in study.standings]))
    return {
        "covered": float(np.logical_and(at_end, earlier).mean()),
        "at_end": float(np.mean(at_end)),
        "worse": float(np.mean([bool(best & set(map(int, study.others))) for study in studies])),
        "equivalent": float(np.mean(equivalent)) if difference else None,
        "found": float(np.mean([study.top == ["0"] for study in studies])),
        "found_at_once": float(np.mean([judged(each).top == ["0"] for each in values])),
        "runs": runs,
        "saved": 1 - runs / cell.runs,
    }


def look_targets(rows: Sequence[dict[str, Any]], count: int) -> list[TargetLine]:
    """Every target by the looks and whether runs diverge: its worst row, and how many miss it."""
    lines = []
    for looks in dict.fromkeys(row["looks"] for row in rows):
        for diverged in DIVERGED:
            these = [row for row in rows if (row["looks"], row["diverged"]) == (looks, diverged)]
            unequal = [row for row in these if row["difference"]]
            clear = [row for row in these if row["difference"] >= 1]
            error = float(np.sqrt(0.05 * 0.95 / count))
            kind = f"{looks}, {diverged:.0%} diverged"
            lines += [
                worst_row(f"{kind}: coverage at every look, at least .94", these, lambda r: r["covered"], 0.94, error),
                worst_row(f"{kind}: coverage at the end, at least .94", these, lambda r: r["at_end"], 0.94, error),
                worst_row(f"{kind}: false 'not the best', at most .05", these, lambda r: -r["worse"], -0.05, error),
                worst_row(
                    f"{kind}: false 'equivalent', at most .05", unequal, lambda r: -r["equivalent"], -0.05, error
                ),
            ]
            if looks == "settle":
                continue  # what is saved is compared with 20 runs
            for optimizers in dict.fromkeys(row["optimizers"] for row in these):
                some = [row for row in clear if row["optimizers"] == optimizers]
                lines.append(
                    worst_row(
                        f"{kind}: saved at 1 sd, {optimizers} optimizers, .3", some, lambda r: r["saved"], 0.3, 0.0
                    )
                )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="of each row")
    parser.add_argument("--looks", type=int, nargs="+", help="instead of those of the presets")
    parser.add_argument("--json", type=Path, help="where all figures are written")
    options = parser.parse_args()
    plans = {name: PRESETS[name].looks for name in KINDS}
    if options.looks:
        plans = {"own": tuple(options.looks)}
    print(f"{options.studies} studies of each row; looks: {plans}\n")
    names = ("covered", "at end", "worse", "equiv", "found", "at once", "runs", "saved")
    print(f"{'looks':7}{'optimizers':>11}  {'shape':11}{'lost':>5}{'apart':>8}" + "".join(f"{n:>8}" for n in names))
    rows: list[dict[str, Any]] = []
    for plan, looks in plans.items():
        counts, differences = KINDS.get(plan, KINDS["quick"])
        for cell in (Cell(k, looks[-1], s, d) for k in counts for s in SHAPES for d in DIVERGED):
            for difference in differences:
                found = measure_looks(cell, difference, options.studies, looks)
                of = {"optimizers": cell.optimizers, "shape": cell.shape, "diverged": cell.diverged}
                rounded = {key: None if value is None else round(value, 4) for key, value in found.items()}
                rows.append({"looks": plan, **of, "difference": difference, **rounded})
                print(
                    f"{plan:7}{cell.optimizers:>11}  {cell.shape:11}{cell.diverged:>5.0%}{difference:>5.1f} sd"
                    + "".join(
                        f"{'-' if v is None else format(v, '.3f' if v <= 1 else '.1f'):>8}" for v in found.values()
                    ),
                    flush=True,
                )
    print(f"\n{'target':58}{'worst':>8}{'missed':>11}  worst row")
    lines = look_targets(rows, options.studies)
    for each in lines:
        print(f"{each.target:58}{each.worst:8.3f}{f'{each.missed} of {each.cells}':>11}  {each.cell}")
    if options.json:
        written = {
            "studies": options.studies,
            "targets": [asdict(each) for each in lines],
            "plans": plans,
            "rows": rows,
        }
        options.json.write_text(rows_on_lines(written))


if __name__ == "__main__":
    main()
