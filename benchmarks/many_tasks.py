"""How often the intervals over several tasks are wrong: simulated studies of known truth.

Run: ``python benchmarks/many_tasks.py [--studies 1000] [--json FILE]``. 1,000 studies take about forty minutes on one thread.

A cell is a number of tasks, of runs on each, and a shape of the noise. Four optimizers take part; their true scores differ
by optimizer and task, runs of a seed share a part of their noise, and the last task is ten times as noisy as the first.
The truth of an interquartile mean or of a probability of improvement is that of 400,000 runs. Each number is a share of
the studies:

    joint         every interval of "against the best over the tasks" holds the true difference: different, and all equal
    worse         one that is the best, or tied with it, is called "not the best": different, all equal
    ranks         every true rank lies in its range
    iqm, better   the intervals of interquartile means and of probabilities of improvement hold the truth, each by itself
    plain         the same with plain percentiles (Agarwal et al., 2021): n of n runs drawn
    area          the interval of the mean profile holds that of 400,000 seeds
"""

from __future__ import annotations

import argparse
import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from ravine.comparison._across import (
    Estimate,
    Resampling,
    improvement_of,
    interquartile_means,
    profiles_of,
    ranks_of,
    with_best_over_tasks,
)

Array = np.ndarray[Any, np.dtype[np.float64]]

NAMES = ("a", "b", "c", "d")
MEANS = np.array([0.9, 0.86, 0.86, 0.7])
SHAPES = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "skewed": lambda rng, size: 1 - rng.exponential(1.0, size),  # a few runs are much worse
    "t3": lambda rng, size: rng.standard_t(3, size) / np.sqrt(3),
}
_SPREAD, _TRUE = 0.03, 400_000


def levels(tasks: int, equal: bool) -> Array:
    """The true mean scores: (tasks, optimizers)."""
    if equal:
        return np.full((tasks, len(NAMES)), MEANS[0])
    return MEANS + 0.05 * np.cos(np.arange(len(NAMES)) + np.arange(tasks)[:, None])


def draw(rng: np.random.Generator, tasks: int, runs: int, shape: str, equal: bool) -> list[dict[str, Array]]:
    """The scores of a study."""
    found = []
    for task in range(tasks):
        spread = _SPREAD * 10 ** (task / max(1, tasks - 1)) / 3
        own, shared = SHAPES[shape](rng, (len(NAMES), runs)), SHAPES[shape](rng, runs)
        values = levels(tasks, equal)[task, :, None] + spread * (0.8 * own + 0.6 * shared)
        found.append(dict(zip(NAMES, values, strict=True)))
    return found


def steps_of(study: list[dict[str, Array]]) -> list[dict[str, Array]]:
    """Steps that fall with the score; below .65 the target is missed."""
    return [{n: np.where(s < 0.65, np.inf, 100 * np.exp(5 * (0.9 - s))) for n, s in task.items()} for task in study]


def cell(tasks: int, runs: int, shape: str, studies: int, seed: int = 0) -> dict[str, float]:
    """The shares of one cell."""
    rng = np.random.default_rng([seed, tasks, runs, sorted(SHAPES).index(shape)])
    truth = draw(rng, tasks, _TRUE, shape, False)
    means = dict(zip(NAMES, (-levels(tasks, False).mean(0)).tolist(), strict=True))
    iqm = {n: e.value for n, e in interquartile_means(truth, _Plain([_TRUE] * tasks)).items()}
    chance = {(a, b): float(np.mean([_chance(t[a], t[b]) for t in truth])) for a, b in permutations(NAMES, 2)}
    area = {n: float(np.mean([a[n] for a in map(_areas, steps_of(truth))])) for n in NAMES}
    kept: dict[str, list[float]] = {}

    def keep(name: str, value: float) -> None:
        kept.setdefault(name, []).append(float(value))

    for _ in range(studies):
        for equal in (False, True):
            study = draw(rng, tasks, runs, shape, equal)
            found = with_best_over_tasks([{n: -s for n, s in t.items()} for t in study])
            true = dict.fromkeys(NAMES, 0.0) if equal else means
            name = "equal" if equal else "different"
            gaps = {n: true[n] - min(v for m, v in true.items() if m != n) for n in NAMES}
            keep(f"joint {name}", all(s.low <= gaps[s.name] <= s.high for s in found.standings))
            best = [n for n in NAMES if true[n] <= min(true.values())]
            keep(f"worse {name}", any(n in found.others for n in best))
        study = draw(rng, tasks, runs, shape, False)
        found = with_best_over_tasks([{n: -s for n, s in t.items()} for t in study])
        order = sorted(NAMES, key=lambda n: means[n])
        ranks = ranks_of(found)
        keep("ranks", all(ranks[n][0] <= order.index(n) + 1 <= ranks[n][1] for n in NAMES))
        keep("found best", found.top == ["a"])
        seed = int(rng.integers(2**31))
        for name, resampling in (
            ("", Resampling([[runs]] * tasks, resamples=1000, seed=seed)),
            ("plain ", _Percentiles([runs] * tasks, seed)),
        ):
            for n, e in interquartile_means(study, resampling).items():
                keep(f"{name}iqm", e.low <= iqm[n] <= e.high)
        for a, b in (("a", "b"), ("b", "c"), ("a", "d")):
            e = improvement_of(study, a, b)
            keep("better", e.low <= chance[a, b] <= e.high)
            low, high = _bootstrap(study, a, b, rng)
            keep("plain better", low <= chance[a, b] <= high)
        for n, p in profiles_of(steps_of(study)).items():
            keep("area", p.area.low <= area[n] <= p.area.high)
    return {name: float(np.mean(values)) for name, values in kept.items()}


class _Plain(Resampling):
    """No resamples: the truth from very many runs."""

    def __init__(self, runs: list[int]) -> None:
        self._runs = runs
        self.freedom = 1

    def weights(self, task: int, runs: int) -> Array:
        return np.full((2, runs), 1 / runs)


class _Percentiles(Resampling):
    """As Agarwal et al. (2021) draw: n of n runs, and the percentiles as they are."""

    def __init__(self, runs: list[int], seed: int) -> None:
        rng = np.random.default_rng(seed)
        drawn = [rng.multinomial(n, np.full(n, 1 / n), size=1000) / n for n in runs]
        self._weights = [
            {n: np.concatenate([np.full((1, n), 1 / n), each])} for n, each in zip(runs, drawn, strict=True)
        ]

    def estimate(self, values: Array, alpha: float = 0.05) -> Estimate:
        low, high = np.quantile(values[1:], [alpha / 2, 1 - alpha / 2])
        return Estimate(float(values[0]), float(low), float(high))


def _areas(steps: dict[str, Array]) -> dict[str, float]:
    """The mean of each profile from 1 to 4 on one task, by the integral over tau of the share below it."""
    fastest = np.min(list(steps.values()), axis=0)
    with np.errstate(invalid="ignore"):
        ratios = {n: np.where(np.isfinite(s), s / fastest, np.inf) for n, s in steps.items()}
    return {n: float(np.mean(np.clip(4 - r, 0, 3) / 3)) for n, r in ratios.items()}


def _bootstrap(study: list[dict[str, Array]], one: str, other: str, rng: np.random.Generator) -> tuple[float, float]:
    """The interval of the probability of improvement from plain percentiles."""
    total = np.zeros(1000)
    for task in study:
        mine, theirs = task[one], task[other]
        first, second = (rng.multinomial(len(x), np.full(len(x), 1 / len(x)), 1000) / len(x) for x in (mine, theirs))
        total += np.einsum("bi,ij,bj->b", first, np.sign(mine[:, None] - theirs) / 2 + 0.5, second, optimize=True)
    low, high = np.quantile(total / len(study), [0.025, 0.975])
    return float(low), float(high)


def _chance(one: Array, other: Array) -> float:
    ordered = np.sort(other)
    low, high = (np.searchsorted(ordered, one, side=side) for side in ("left", "right"))
    return float((low + high).mean() / 2 / len(other))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = []
    for tasks in (2, 3, 5):
        for runs in (5, 10, 20):
            for shape in SHAPES:
                row = {"tasks": tasks, "runs": runs, "shape": shape} | cell(tasks, runs, shape, given.studies)
                rows.append(row)
                if len(rows) == 1:
                    print(*(f"{name:>16}" for name in row))
                print(*(f"{v:16.3f}" if isinstance(v, float) else f"{v:>16}" for v in row.values()), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
