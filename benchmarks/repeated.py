"""Whether two people who make the same comparison come to the same answer: ``ravine compare`` with no options, many times.

Independent studies (other points, other seeds) of the default optimizers. A study claims that each optimizer which may be the
best is better than each that is not, and nothing else; the order inside a group is no claim. It prints

    claims     the share of pairs of optimizers of which a study claims something
    settled    the share of pairs that are settled: one is clearly worse, or they are equivalent within the margin
    agreement  of the pairs that two studies both make a claim of: those with the same one minus those with the opposite one
    tau-b      Kendall's, between the groups of two studies, where both claim something; equal groups are 1; with its interval
    contained  the share of studies whose group of those that may be the best has the one whose mean over all studies is lowest

Beside that mean the file has the median over the studies, which a few runs that diverged do not move.

Run: ``python benchmarks/repeated.py [TASK] [--preset settle] [--at-most SEEDS] [--studies 60] [--jobs 2] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from same_twice import side_by_side
from scipy import stats

from ravine import _files as files
from ravine.comparison._judge.with_best import WithBest
from ravine.comparison._study.declare import declare
from ravine.optim._spec import DEFAULTS, parse
from ravine.tasks import find

_SIDE_BY_SIDE = 6  # studies of one process
_RESAMPLES = 2000


def found(numbers: Sequence[int], name: str, labels: Sequence[str], options: Mapping[str, Any]) -> list[WithBest]:
    """What each of these studies says of the losses."""
    task, optimizers = find(name), [parse(label) for label in labels]
    specs = [declare(task, name, optimizers, study_seed=number, **options) for number in numbers]
    return [study.losses for study in side_by_side(specs, task, optimizers)]


def figures(studies: Sequence[WithBest]) -> dict[str, Any]:
    """The figures of the first lines."""
    labels = sorted(s.name for s in studies[0].standings)
    out = np.array([[label not in study.top for label in labels] for study in studies])
    means = np.array([[study.standing(label).mean for label in labels] for study in studies])
    best = int(means.mean(0).argmin())
    pairs = list(combinations(range(len(labels)), 2))
    claims = np.array([[int(row[j]) - int(row[i]) for i, j in pairs] for row in out])
    both = [(a, b) for a, b in combinations(claims, 2) if (a * b).any()]
    taus = _taus(out)
    settled = [[_settled(study, labels[i], labels[j]) for i, j in pairs] for study in studies]
    contained = int((~out[:, best]).sum())
    return {
        "studies": len(studies),
        "seeds": float(np.mean([study.looks[-1] for study in studies])),
        "claims": float((claims != 0).mean()),
        "settled": float(np.mean(settled)),
        "agreement": float(np.mean([(a * b).sum() / np.abs(a * b).sum() for a, b in both])) if both else None,
        "tau_b": None if np.isnan(taus).all() else float(np.nanmean(taus)),
        "tau_b_interval": None if np.isnan(taus).all() else _interval(taus),
        "best": labels[best],
        "contained": contained / len(studies),
        "contained_interval": list(stats.binomtest(contained, len(studies)).proportion_ci(0.95)),
        "not_the_best": dict(zip(labels, out.mean(0).round(3).tolist(), strict=True)),
        "mean_loss": dict(zip(labels, means.mean(0).round(5).tolist(), strict=True)),
        "median_loss": dict(zip(labels, np.median(means, axis=0).round(5).tolist(), strict=True)),
    }


def _taus(out: np.ndarray) -> np.ndarray:
    """Kendall's tau-b between the groups of every two studies; NaN where one of them claims nothing, and of a study with itself."""
    taus = np.full((len(out), len(out)), np.nan)
    for i, j in combinations(range(len(out)), 2):
        a, b = out[i].astype(int), out[j].astype(int)
        if a.any() and b.any():
            taus[i, j] = taus[j, i] = 1.0 if (a == b).all() else stats.kendalltau(a, b).statistic
    return taus


def _interval(taus: np.ndarray) -> list[float]:
    """The 95% interval of the mean tau, by bootstrap samples of the studies."""
    random, means = np.random.default_rng(0), []
    for _ in range(_RESAMPLES):
        chosen = random.integers(len(taus), size=len(taus))
        some = taus[np.ix_(chosen, chosen)]
        means.append(np.nan if np.isnan(some).all() else np.nanmean(some))
    return np.nanquantile(means, [0.025, 0.975]).tolist()


def _settled(study: WithBest, one: str, other: str) -> bool:
    """Whether the interval of a pair says something: apart from 0, or inside the margin."""
    _, low, high = study.pairs[one, other]
    return low > 0 or high < 0 or max(-low, high) <= study.margin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", default="digits")
    parser.add_argument("--preset", default="settle")
    parser.add_argument("-o", dest="labels", action="append", help="others than the default optimizers")
    parser.add_argument(
        "--at-most",
        type=int,
        help="the largest number of seeds of a study, until it is settled; else the preset's looks",
    )
    parser.add_argument("--steps", type=int, help="of a training; else the preset's")
    parser.add_argument("--studies", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    size = max(1, min(_SIDE_BY_SIDE, -(-chosen.studies // chosen.jobs)))
    parts = [range(first, min(first + size, chosen.studies)) for first in range(0, chosen.studies, size)]
    with ProcessPoolExecutor(chosen.jobs) as pool:
        options = {"preset": chosen.preset, "at_most": chosen.at_most, "steps": chosen.steps}
        labels = chosen.labels or DEFAULTS
        each = pool.map(partial(found, name=chosen.task, labels=labels, options=options), parts)
        row = {"task": chosen.task, **options} | figures([one for part in each for one in part])
    print(json.dumps(row, indent=1))
    if chosen.json:
        before = json.loads(chosen.json.read_text()) if chosen.json.exists() else []
        key = ("task", *options)
        others = [r for r in before if [r[name] for name in key] != [row[name] for name in key]]
        files.write(chosen.json, (json.dumps([*others, row], indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
