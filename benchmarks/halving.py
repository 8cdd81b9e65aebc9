"""What successive halving saves, and what it loses: full sweeps, trained, and what halving would have chosen of them.

Every point of every tuning is trained in full, and its first quarter by itself, as a study with halving does. Of the same
trainings a study without halving chooses the best point and a study with halving the best of those it did not stop. Where these
differ both are trained afresh with the same seed. The first 4 of 8 points are a tuning with 4 points.

- cost: steps of the tunings with halving, as a share of those without; and that of the tuning with its fresh run.
- kept: how often the point is the same, with its exact 95% interval (Clopper and Pearson, 1934).
- regret: loss of the point that halving chose minus that of the best, by the tuning's own losses (so never below 0), and in
  fresh runs: the mean with the t-interval over seeds, of which each has one mean over the optimizers, and the worst.
- for as many steps: the same, of fresh runs, against the best of so many points, all trained in full, as take about the same
  steps: 6 instead of 8, 3 instead of 4. Negative is better: halving found a lower loss for the same time.

``--same`` adds whole studies in which an optimizer takes part twice (``same_twice.py``), with and without halving.

Run: ``python benchmarks/halving.py [--tunings 32] [--same 100] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from same_twice import Cell, measure
from scipy import stats

from ravine import _files as files
from ravine.comparison._study.declare import declare
from ravine.comparison._study.spaces import Point
from ravine.comparison._study.stacked_task import WIDTH
from ravine.comparison._study.stages import stage
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import Trial, TrialResult
from ravine.comparison._study.trial_runner import TrialRunner
from ravine.comparison._study.tuning import Tuning, final_trial, short_trial, tuning_trial
from ravine.optim._spec import DEFAULTS, parse
from ravine.tasks import find

SWEEPS = (("breast-cancer", "quick"), ("breast-cancer", "standard"), ("digits", "quick"), ("digits", "standard"))
SAME = (
    Cell("breast-cancer", "quick", ("sgd", "sgd:dampening=0"), 3.0, same=True),
    Cell("breast-cancer", "standard", ("adam", "adam:eps=1e-8"), 3.0, same=True),
)
POINTS = 8


class _Sweep:
    """All trainings of many tunings."""

    def __init__(self, task: str, preset: str, tunings: int) -> None:
        found, optimizers = find(task), [parse(label) for label in DEFAULTS]
        self.halved = declare(
            found, task, optimizers, preset=preset, points=POINTS, seeds=tunings, halving=True, study_seed=1_000
        )
        self.full = replace(self.halved, halving=False)
        self.runner = TrialRunner(self.full, found, {one.label: one.for_task(task) for one in optimizers})
        self.results: dict[str, TrialResult] = {}
        self.tunings = stage(self.full, {}).tunings

    def train(self, trials: Iterable[Trial]) -> float:
        """Train those that are not done yet; the seconds of the processor that it took."""
        began = time.process_time()
        wanted = {t.key(self.full): t for t in trials}
        left = [trial for key, trial in wanted.items() if key not in self.results]
        while left:
            block = list(self.runner.next_block(left))
            self.results |= {t.key(self.full): r for t, r in zip(block, self.runner.run(block), strict=True)}
            left = [trial for trial in left if trial.key(self.full) not in self.results]
        return time.process_time() - began

    def every(self, make: Any) -> list[Trial]:
        """A trial for each point of each tuning."""
        return [
            make(self.full, t.config.label, point, number)
            for number in range(self.full.seeds)
            for t in self.tunings
            for point in t.points(number)
        ]

    def needed(self, spec: StudySpec) -> list[Trial]:
        """The tuning trials of a study with that spec."""
        return [
            trial
            for number in range(spec.seeds)
            for tuning in self.tunings
            for trial in tuning.trials(spec, number, self.results)
        ]

    def chosen(self, points: int) -> list[list[tuple[Tuning, Point, Point, Point]]]:
        """Of each seed and optimizer what halving chooses of the first points, the best of these, and the best of as many
        points as take the same steps."""
        return [
            [
                (
                    t,
                    dict(t.best(self.halved, number, self.results, points)),
                    dict(t.best(self.full, number, self.results, points)),
                    dict(t.best(self.full, number, self.results, points * 3 // 4)),
                )
                for t in self.tunings
            ]
            for number in range(self.full.seeds)
        ]

    def fresh(self, t: Tuning, point: Point, number: int) -> float:
        """The loss of the fresh run at a point."""
        return self.loss(final_trial(self.full, t.config.label, point, number))

    def loss(self, trial: Trial) -> float:
        """As it is judged: of one that diverged, or ended above it, the loss that it began with."""
        result = self.results[trial.key(self.full)]
        return min(result.score, result.losses[0])


def sweep(task: str, preset: str, tunings: int) -> list[dict[str, Any]]:
    """The rows of a task and a length: one for each number of points."""
    made = _Sweep(task, preset, tunings)
    made.train(made.every(final_trial)[:WIDTH])  # kernels are compiled, caches are warm
    short = made.train(made.every(short_trial))
    halved = made.train(made.needed(made.halved))
    whole = halved + made.train(made.every(tuning_trial))
    for points in (POINTS, POINTS // 2):
        made.train(
            final_trial(made.full, t.config.label, point, number)
            for number, some in enumerate(made.chosen(points))
            for t, halved_, best, fewer in some
            for point in (halved_, best, fewer)
            if not halved_ == best == fewer
        )
    rows = []
    for points in (POINTS, POINTS // 2):
        steps = _steps(made, points)
        row = {
            "task": task,
            "preset": preset,
            "steps": made.full.steps,
            "points": points,
            "optimizers": len(made.tunings),
            "tunings": tunings,
            "cost": steps[0] / steps[1],
            "cost with fresh run": (steps[0] + steps[2]) / (steps[1] + steps[2]),
        }
        if points == POINTS:
            row["processor time"] = (short + halved) / whole
        rows.append(row | _lost(made, points))
    return rows


def _steps(made: _Sweep, points: int) -> tuple[int, int, int]:
    """The steps of all tunings with so many points: with halving, without, and of their fresh runs."""
    halved, full = (replace(spec, points=points) for spec in (made.halved, made.full))
    tunings = stage(full, {}).tunings
    sums = [
        sum(trial.steps(spec) for n in range(spec.seeds) for t in tunings for trial in t.trials(spec, n, made.results))
        for spec in (halved, full)
    ]
    return sums[0], sums[1], full.seeds * len(tunings) * full.steps


def _lost(made: _Sweep, points: int) -> dict[str, Any]:
    """How often halving chose the best point, and what it lost where it did not."""
    same, best_losses = [], []
    rows: dict[str, list[list[float]]] = {"regret": [], "fresh regret": [], "for as many steps": []}
    for number, some in enumerate(made.chosen(points)):
        lost: dict[str, list[float]] = {name: [] for name in rows}
        for t, halved, best, fewer in some:
            same.append(best == halved)
            tuned = [made.loss(tuning_trial(made.full, t.config.label, p, number)) for p in (halved, best)]
            best_losses.append(tuned[1])
            lost["regret"].append(tuned[0] - tuned[1])
            for name, other in (("fresh regret", best), ("for as many steps", fewer)):
                equal = halved == other
                lost[name].append(0.0 if equal else made.fresh(t, halved, number) - made.fresh(t, other, number))
        for name, values in lost.items():
            rows[name].append(values)
    ends = stats.binomtest(sum(same), len(same)).proportion_ci(0.95)
    return {
        "kept": sum(same),
        "of": len(same),
        "kept share": sum(same) / len(same),
        "kept low": float(ends.low),
        "kept high": float(ends.high),
        "best loss, median": float(np.median(best_losses)),
        **{name: _regret(values) for name, values in rows.items()},
    }


def _regret(rows: Sequence[Sequence[float]]) -> dict[str, float]:
    means = np.mean(rows, axis=1)
    reach = float(stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / math.sqrt(len(means)))
    mean = float(means.mean())
    return {"mean": mean, "low": mean - reach, "high": mean + reach, "worst": float(np.max(rows))}


def _line(row: Mapping[str, Any]) -> str:
    parts = [
        f"{row['task']}, {row['preset']}, {row['points']} points: cost {row['cost']:.3f} (with the fresh run "
        f"{row['cost with fresh run']:.3f})",
        f"kept {row['kept']} of {row['of']}, {row['kept share']:.3f} ({row['kept low']:.3f} to {row['kept high']:.3f})",
    ]
    for name in ("regret", "fresh regret", "for as many steps"):
        one = row[name]
        parts.append(f"{name} {one['mean']:.4f} ({one['low']:.4f} to {one['high']:.4f}, worst {one['worst']:.3f})")
    parts.append(f"best {row['best loss, median']:.4f}")
    parts += [f"processor time {row['processor time']:.2f}"] if "processor time" in row else []
    return "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tunings", type=int, default=32)
    parser.add_argument(
        "--same", type=int, default=0, help="studies of each cell in which an optimizer takes part twice"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {"sweeps": [], "same twice": []}

    def keep() -> None:
        if options.json:
            files.write(options.json, (json.dumps(found, indent=1) + "\n").encode())

    for task, preset in SWEEPS:
        for row in sweep(task, preset, options.tunings):
            found["sweeps"].append(row)
            print(_line(row), flush=True)
        keep()
    with ThreadPoolExecutor(1) as pool:
        for cell in SAME if options.same else ():
            for halving in (False, True):
                [row] = measure([replace(cell, halving=halving)], range(options.same), 1, pool)
                found["same twice"].append({"halving": halving} | {k: v for k, v in row.items() if k != "seconds"})
                print(
                    f"{replace(cell, halving=halving)}: called different {row['different']:.3f} "
                    f"({row['low']:.3f} to {row['high']:.3f}) of {options.same}; {row['seconds']:.0f} s",
                    flush=True,
                )
                keep()


if __name__ == "__main__":
    main()
