"""How a study should be cut into trainings: designs tried on recorded trainings, with optimizers that are the same.

A grid of learning rates and seeds is trained once for each optimizer. A study of a design then costs nothing: it draws
points in a search space, reads their losses off the grid (interpolated between rates, a seed's column for a seed), chooses and
judges. The same optimizer takes part twice, with search spaces of which one is moved by a factor: whoever is called
different from itself is a false verdict. Two optimizers that do differ show the power.

- ``one tuning``: the best of K points, each with one seed; the best 3 again with 2 more; then n fresh seeds at that one point,
  and a paired t-test over the seeds.
- ``repeats``: n times over: the best of K points with a seed of its own, then one fresh seed at that point; a paired t-test
  over the repeats. Seeds of a repeat are the same for both optimizers. Its points are evenly spaced from a random place of
  the optimizer's own; ``shared`` takes the same place for both, ``scrambled`` scrambled Halton points, the same for both.

Run: ``python benchmarks/study_designs.py [--task digits] [--studies 2000] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from scipy.stats import qmc

from ravine._one_thread import one_thread
from ravine.comparison._study.declare import declare
from ravine.comparison._study.trial import Trial, run
from ravine.optim._spec import parse
from ravine.optim.search import Range
from ravine.tasks import find

OPTIMIZERS = ("sgd", "momentum:momentum=0.9", "adam:betas=(0.9, 0.999)")
RATES, SEEDS = 33, 32
MOVED = (1.0, 1.5, 2.0, 3.0)
_DIVERGED = 3.0  # a loss that counts for a run that diverged: above that of guessing

Array = np.ndarray[Any, np.dtype[np.float64]]


class Grid:
    """The losses of one optimizer by learning rate and seed, between the rates by interpolation."""

    def __init__(self, task: str, optimizer: str) -> None:
        found, one = find(task), parse(optimizer)
        spec = declare(found, task, [one], preset="quick")
        space = spec.optimizers[0].space["lr"]
        # Wider than the declared range, so that it can be moved.
        self.low, self.high = space.low, space.high
        ends = np.log10(space.low) - 0.5, np.log10(space.high) + 0.5
        self.rates = np.linspace(*ends, RATES)
        at = one.for_task(found.name)
        self.losses = np.array(
            [
                [
                    run(spec, found, Trial(one.label, {"lr": 10.0**rate}, seed, "tune"), at).score
                    for seed in range(SEEDS)
                ]
                for rate in self.rates
            ]
        )
        self.losses = np.minimum(np.where(np.isfinite(self.losses), self.losses, _DIVERGED), _DIVERGED)

    def loss(self, rate: float, seed: int) -> float:
        return float(np.interp(np.log10(rate), self.rates, self.losses[:, seed % SEEDS]))

    def drawn(self, count: int, moved: float, seed: int, shifted: bool) -> list[float]:
        space = Range(self.low * moved, self.high * moved)
        if not shifted:
            shares = qmc.Halton(1, scramble=True, rng=seed).random(count)[:, 0]
        else:
            shares = qmc.Halton(1, scramble=False).random(count)[:, 0] + np.random.default_rng(seed).random()
        return [space.value(float(share % 1)) for share in shares]


def one_tuning(
    grid: Grid, moved: float, study: int, rng: np.random.Generator, count: int, seeds: int, shared: bool = True
) -> Array:
    order = rng.permutation(SEEDS)
    tried = grid.drawn(count, moved, study, False)
    tried.sort(key=lambda rate: grid.loss(rate, order[0]))
    best = min(tried[:3], key=lambda rate: sum(grid.loss(rate, s) for s in order[:3]))
    return np.array([grid.loss(best, s) for s in order[3 : 3 + seeds]])


def repeats(
    grid: Grid,
    moved: float,
    study: int,
    rng: np.random.Generator,
    count: int,
    seeds: int,
    shared: bool = False,
    shifted: bool = True,
) -> Array:
    order = rng.integers(0, SEEDS, (seeds, 2))
    found = []
    for i, (tuning, fresh) in enumerate(order):
        tried = grid.drawn(count, moved, study * 1000 + i, shifted)
        found.append(grid.loss(min(tried, key=lambda rate: grid.loss(rate, tuning)), fresh))
    return np.array(found)


def called_different(design: Callable[..., Array], a: Grid, b: Grid, moved: float, studies: int, **size: Any) -> float:
    """The share of studies in which the paired t-test finds a difference at .05."""
    found = 0
    for study in range(studies):
        first = design(a, 1.0, study, np.random.default_rng(study), **size)
        own = 0 if size.get("shared") else 10**6
        second = design(b, moved, study + own, np.random.default_rng(study), **size)
        difference = first - second
        if np.ptp(difference) > 0:
            found += stats.ttest_1samp(difference, 0).pvalue < 0.05
        else:
            found += difference[0] != 0
    return found / studies


DESIGNS: dict[str, tuple[Callable[..., Array], dict[str, Any], int]] = {
    # its size, and how many trainings of an optimizer that is
    "one tuning, 8 points, 5 seeds": (one_tuning, {"count": 8, "seeds": 5, "shared": True}, 8 + 6 + 5),
    "one tuning, 16 points, 10 seeds": (one_tuning, {"count": 16, "seeds": 10, "shared": True}, 16 + 6 + 10),
    "10 repeats of 4, scrambled, shared": (repeats, {"count": 4, "seeds": 10, "shared": True, "shifted": False}, 50),
    "10 repeats of 4 points, shared": (repeats, {"count": 4, "seeds": 10, "shared": True}, 50),
    "5 repeats of 4 points": (repeats, {"count": 4, "seeds": 5}, 25),
    "10 repeats of 2 points": (repeats, {"count": 2, "seeds": 10}, 30),
    "10 repeats of 4 points": (repeats, {"count": 4, "seeds": 10}, 50),
    "10 repeats of 8 points": (repeats, {"count": 8, "seeds": 10}, 90),
    "20 repeats of 4 points": (repeats, {"count": 4, "seeds": 20}, 100),
    "20 repeats of 8 points": (repeats, {"count": 8, "seeds": 20}, 180),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits")
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with one_thread(), torch.random.fork_rng(devices=[]):
        grids = {name: Grid(options.task, name) for name in OPTIMIZERS}
    rows = []
    print(f"{options.task}: the share of {options.studies} studies that call two optimizers different\n")
    print(
        f"{'design':36}{'trainings':>10}"
        + "".join(f"{n.split(':')[0]:>10}" for n in OPTIMIZERS)
        + "  sgd-adam  momentum-adam"
    )
    for title, (design, size, trainings) in DESIGNS.items():
        same = {
            name: max(called_different(design, grid, grid, moved, options.studies, **size) for moved in MOVED)
            for name, grid in grids.items()
        }
        sgd, momentum, adam = grids.values()
        power = [called_different(design, one, adam, 1.0, options.studies, **size) for one in (sgd, momentum)]
        print(
            f"{title:36}{trainings:>10}"
            + "".join(f"{v:10.3f}" for v in same.values())
            + f"{power[0]:10.3f}{power[1]:15.3f}",
            flush=True,
        )
        rows.append({"design": title, "trainings": trainings, "same": same, "power": power})
    if options.json:
        options.json.write_text(
            json.dumps({"task": options.task, "studies": options.studies, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
