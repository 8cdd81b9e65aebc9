"""How often a limited paired difference is wrongly called one, and how often found: simulated, by how far away the limit is.

Run: ``python benchmarks/limits.py [--studies 200000] [--json FILE]``. It takes a minute on one thread.

A study has paired runs of two optimizers. Its differences are limited to so many times their usual size
(``limited_differences.py``), or not at all ("none"), and judged as ``ravine compare`` judges a study of two optimizers at
one look: by the critical value of a paired t-test at 5%.

The first table is the level, the share of studies of two equal optimizers that call one of them worse. Noise has five
shapes, and a share of all runs diverges: these count as the loss that they began with, ten spreads above (of
the wider one), the same for both runs of a pair. The last row is the power, the share of studies that find the worse of two optimizers which differ
by 1.2 standard deviations of a paired difference, and of which both diverge in a twentieth of 20 runs, forty spreads above.

A share of 200,000 studies is known to .0005, and the worst of 175 lies about 2.5 of these off.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ravine.comparison._judge.critical_values import critical_values
from ravine.comparison._judge.limited_differences import usual_size

Array = np.ndarray[Any, np.dtype[np.float64]]

LIMITS = {"3": 3.0, "4": 4.0, "5": 5.0, "6": 6.0, "none": np.inf}
RUNS, DIVERGED = (8, 10, 12, 14, 20), (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "skewed": lambda rng, size: rng.exponential(1.0, size) - 1,
    "outliers": lambda rng, size: np.where(rng.random(size) < 0.05, 8.0, 1.0) * rng.standard_normal(size),
    "t3": lambda rng, size: rng.standard_t(3, size) / np.sqrt(3),
    "spread 1:10": lambda rng, size: rng.standard_normal(size) * np.array([1.0, 10.0])[:, None, None],
}
_LARGEST_SPREAD = {"spread 1:10": 10.0}
POWER = {"runs": 20, "shape": "normal", "diverged": 0.05, "start": 40.0, "difference": 1.2}
_START = 10.0  # spreads above


def differences(
    rng: np.random.Generator, studies: int, runs: int, shape: str, diverged: float, start: float, difference: float
) -> Array:
    """The second optimizer minus the first, (runs, studies); the difference is in standard deviations of a normal one."""
    size = (2, runs, studies)
    values = SHAPES[shape](rng, size)
    values[1] += difference * np.sqrt(2)
    began = start + rng.standard_normal(size[1:])
    first, second = np.where(rng.random(size) < diverged, began, values)
    return second - first


def statistics(differences: Array) -> dict[str, Array]:
    """The t-statistic of every study, by the limit."""
    usual, found = usual_size(differences), {}
    for name, most in LIMITS.items():
        limited = np.clip(differences, -most * usual, most * usual)
        with np.errstate(divide="ignore", invalid="ignore"):  # where all runs tie
            found[name] = np.nan_to_num(limited.mean(0) / limited.std(0, ddof=1)) * np.sqrt(len(limited))
    return found


def level(studies: int, runs: int, shape: str, diverged: float) -> dict[str, Any]:
    """How often equal optimizers are called different, by the limit."""
    rng = np.random.default_rng([runs, list(SHAPES).index(shape), round(100 * diverged)])
    start = _START * _LARGEST_SPREAD.get(shape, 1.0)
    found = statistics(differences(rng, studies, runs, shape, diverged, start, 0.0))
    critical = critical_values(2, (runs,))[2, 0]
    shares = {name: float((np.abs(t) > critical).mean()) for name, t in found.items()}
    return {"runs": runs, "shape": shape, "diverged": diverged} | shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200_000, help="of each kind")
    parser.add_argument("--json", type=Path, help="where all figures are written")
    options = parser.parse_args()

    print(f"{options.studies} studies of each kind\n\n{'equal: one is worse':32}" + "".join(f"{x:>8}" for x in LIMITS))
    levels = [level(options.studies, n, s, d) for s in SHAPES for d in DIVERGED for n in RUNS]
    for row in levels:
        print(f"{row['runs']:>4} runs, {row['shape']:11}{row['diverged']:>5.0%} diverge  " + _shares(row))
    worst = {name: max(levels, key=lambda row, name=name: row[name]) for name in LIMITS}
    for name, row in worst.items():
        print(f"worst, {name:4}: {row[name]:.4f} at {row['runs']} runs, {row['shape']}, {row['diverged']:.0%} diverge")

    critical = critical_values(2, (POWER["runs"],))[2, 0]
    found = statistics(differences(np.random.default_rng(0), options.studies, **POWER))
    power = {name: float((t > critical).mean()) for name, t in found.items()}
    print(f"\n{'the worse of two is found':32}" + _shares(power))
    if options.json:
        at = ("runs", "shape", "diverged")
        written = {
            "studies": options.studies,
            "worst": {name: {key: row[key] for key in at} | {"share": row[name]} for name, row in worst.items()},
            "power": POWER | power,
        }
        head = json.dumps(written, indent=1).removesuffix("\n}")
        rows = ",\n".join("  " + json.dumps(row) for row in levels)
        options.json.write_text(f'{head},\n "levels": [\n{rows}\n ]\n}}\n')


def _shares(row: dict[str, Any]) -> str:
    return "".join(f"{row[name]:8.4f}" for name in LIMITS)


if __name__ == "__main__":
    main()
