"""The judgement on runs that nobody here made: 547 public trainings of a 124 M-parameter GPT, by 56 optimizer configurations.

The runs are those of the optimization track of KellerJordan/modded-nanogpt (records/track_3_optimization, MIT licence); the
figures of its records stand in its README. A CSV file with the columns optimizer, run, step and val_loss has to be there;
it is no part of this project.

Run: ``python benchmarks/nanogpt.py FILE.csv [--json FILE]``. It prints

- the pooled standard deviation of the final loss, over the configurations with at least so many runs to one step;
- how many of the track's records beat the record before them, by the page's own rule for pairs;
- the records, each against the one before, by ``with_best_unpaired``: its mean loss minus the other's, as if both had taken as
  many steps (by what the page says a step is worth), with an interval; all intervals hold together with 95% (Bonferroni).
  Where the runs of one of them are not in the file, or it has only one, the spread is the pooled one, and a mean that is not
  there is the page's;
- how often intervals from 8 of the runs of a large configuration hold the mean of all of them: of the difference to the same
  runs with a known number added, by ``with_best``. Drawn without replacement, 8 of n have (1 - 8/n) of the variance of 8 of
  many, so intervals are narrowed by the root of that;
- what ``with_best`` says of the large configurations among themselves: by pairs of runs, which are paired by nothing but
  their number.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import stats

from ravine.comparison._judge.critical_values import critical_values_of_many, t_statistics
from ravine.comparison._judge.with_best import with_best, with_best_of_pairs, with_best_unpaired

#: The page's records: number, steps, mean loss, runs, and the folder of its runs.
RECORDS = (
    (1, 3600, 3.2777, 1, "7b8270c5"),
    (3, 3500, 3.2767, 1, "311d7833"),
    (5, 3325, 3.2782, 10, "20260430_muonh"),
    (9, 3250, 3.2771, 8, "20260501_skylight001"),
    (11, 3225, 3.2785, 16, "20260501_contra_muon"),
    (13, 3210, 3.2785, 10, "20260504_muloco_normuonh"),
    (14, 3150, 3.2776, 4, "20260504_contra_muon_mlp_soapish"),
    (16, 3125, 3.2784, 8, "20260506_trustlight"),
    (20, 3030, 3.2790, 30, "20260509_contra_soft_muon"),
    (29, 2990, 3.2787, 11, "20260511_dampen_radial_gradient_component"),
    (30, 2930, 3.2784, 16, "20260514_aurora_proj_pruned_extended_contra"),
    (34, 2925, 3.2781, 8, "20260520_rre_extrapolation_pr300_2925"),
    (38, 2900, 3.2786, 9, "20260520_tail_refinterp_2900"),
    (40, 2890, 3.2788, 16, "20260522_ema_nesterov_aurora_proj"),
    (41, 2875, 3.2790, 20, "20260523_circuit_muon"),
    (42, 2860, 3.2789, 16, "20260525_aurora_ema_ref"),
    (43, 2850, 3.2786, 13, ""),
    (44, 2750, 3.2789, 20, "20260609_soap_f1_auxb2_clean"),
    (45, 2720, 3.2786, 10, "20260611_tailema_2720_submission"),
    (46, 2690, 3.2783, 8, "20260619_cwd_rowfloor_tailema"),
)
_LOSS_OF_A_STEP, _NEEDED = 0.0045 / 100, 0.004  # the page's
_ROUNDING = 0.0001  # of the page's means

Curves = dict[str, dict[int, dict[int, float]]]


def read(file: Path) -> Curves:
    """Optimizer to run to step to loss."""
    curves: Curves = defaultdict(lambda: defaultdict(dict))
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            curves[row["optimizer"]][int(row["run"])][int(row["step"])] = float(row["val_loss"])
    return curves


def final(curves: Curves, least: int) -> dict[str, np.ndarray]:
    """The losses at the step at which most runs of an optimizer end, if at least so many do."""
    losses = {}
    for name, runs in curves.items():
        ends = [max(curve) for curve in runs.values()]
        step = max(set(ends), key=ends.count)
        values = np.array([curve[step] for curve in runs.values() if max(curve) == step])
        if len(values) >= least:
            losses[name] = values
    return losses


def pooled(losses: dict[str, np.ndarray]) -> float:
    squares = sum((len(v) - 1) * v.var(ddof=1) for v in losses.values())
    return float(np.sqrt(squares / sum(len(v) - 1 for v in losses.values())))


def beaten(curves: Curves | None = None) -> list[tuple[int, float]]:
    """By record, how strongly it beats the one before: the page's rule, on its figures or, where they are there, the runs'."""
    figures = []
    for number, steps, mean, runs, folder in RECORDS:
        at = [c[steps] for c in (curves or {}).get(folder, {}).values() if steps in c]
        enough = len(at) >= max(2, runs // 2)
        figures.append((number, steps, float(np.mean(at)) if enough else mean, len(at) if enough else runs))
    strengths = []
    for (_, steps, mean, runs), (number, fewer, own, n) in pairwise(figures):
        gain = mean - own + (steps - fewer) * _LOSS_OF_A_STEP
        strengths.append((number, float(gain / np.sqrt(1 / runs + 1 / n))))
    return strengths


@dataclass(frozen=True)
class Record:
    """A record, and its loss minus that of the one before, as if it had taken as many steps; the first has none before it."""

    number: int
    name: str
    steps: int
    runs: int
    mean: float
    in_file: bool  # whether its runs are there; else the figures are the page's
    difference: float | None = None
    joint: tuple[float, float] | None = None  # the interval that holds together with those of all records
    single: tuple[float, float] | None = None  # the one that holds by itself
    page: bool | None = None  # whether it beats the one before by the page's rule
    verdict: str | None = None  # of the joint interval


def compared(curves: Curves) -> list[Record]:
    """Every record against the one before."""
    page = {number: bool(strength >= _NEEDED) for number, strength in beaten()}
    found: list[Record] = []
    before = np.empty(0)
    for number, steps, mean, n, folder in RECORDS:
        runs = runs_of(curves, folder, steps)
        in_file = len(runs) == n and abs(float(runs.mean()) - mean) < _ROUNDING
        losses = runs if in_file else np.full(n, mean)
        record = Record(number, folder.partition("_")[2], steps, n, float(losses.mean()), in_file)
        if found:
            values = {"new": losses - (found[-1].steps - steps) * _LOSS_OF_A_STEP, "old": before}
            joint, single = (
                tuple(round(x, 6) for x in against(values, curves, alpha))
                for alpha in (0.05 / (len(RECORDS) - 1), 0.05)
            )
            verdict = "better" if joint[2] < 0 else "worse" if joint[1] > 0 else "not known"
            record = replace(
                record, difference=joint[0], joint=joint[1:], single=single[1:], page=page[number], verdict=verdict
            )
        found.append(replace(record, mean=round(record.mean, 6)))
        before = losses
    return found


def runs_of(curves: Curves, folder: str, steps: int) -> np.ndarray:
    """The losses of a record's runs at its steps: of those of its folder that were planned to take equally many."""
    of_folder = [c for name, runs in curves.items() if folder and name.startswith(folder) for c in runs.values()]
    ends = [max(curve) for curve in of_folder]
    return np.array([c[steps] for c in of_folder if max(c) == max(set(ends), key=ends.count) and steps in c])


def against(values: Mapping[str, np.ndarray], curves: Curves, alpha: float) -> tuple[float, float, float]:
    """New minus old, and the interval: of the runs, or where one side has a mean alone, by the spread of all configurations."""
    if all(np.ptp(v) > 0 for v in values.values()):
        return with_best_unpaired(values, alpha=alpha).pairs["new", "old"]
    losses = final(curves, 2)
    freedom = np.full((2, 2), float(sum(len(v) - 1 for v in losses.values())))
    means = np.array([v.mean() for v in values.values()])
    square = np.full((2, 2), pooled(losses) ** 2 * sum(1 / len(v) for v in values.values()))
    of_pairs = (*t_statistics(means[:, None] - means, square, means[:, None]), freedom)
    sizes, critical = [len(v) for v in values.values()], critical_values_of_many(2, alpha)
    study = with_best_of_pairs(list(values), means.tolist(), sizes, *of_pairs, critical, margin=0.0, alpha=alpha)
    return study.pairs["new", "old"]


def table(records: Sequence[Record]) -> str:
    """The records in Markdown, differences in thousandths of the loss; those whose runs are not in the file are marked."""
    lines = [
        "| record | steps | runs | mean loss | minus the one before, in 0.001 | the page | here |",
        "|---" * 7 + "|",
    ]
    for r in records:
        name = f"{r.number}{' ' if r.name else ''}{r.name}{'' if r.in_file else ' *'}"
        last = "– | – | –"
        if r.difference is not None and r.joint is not None:
            low, high = r.joint
            page = "better" if r.page else "not known"
            last = f"{1e3 * r.difference:.1f} ({1e3 * low:.1f} to {1e3 * high:.1f}) | {page} | {r.verdict}"
        lines.append(f"| {name} | {r.steps} | {r.runs} | {r.mean:.4f} | {last} |")
    return "\n".join(lines)


def coverage(losses: np.ndarray, draws: int, size: int = 8) -> float:
    """How often the interval of ``size`` runs holds the mean of all."""
    rng, held = np.random.default_rng(0), 0
    mean, narrowed = losses.mean(), np.sqrt(1 - size / len(losses))
    known = np.full(size, mean)  # an optimizer whose loss has no noise
    for _ in range(draws):
        low, high = with_best({"runs": rng.choice(losses, size, replace=False), "known": known}).pairs["runs", "known"][
            1:
        ]
        middle, reach = (low + high) / 2, (high - low) / 2 * narrowed
        held += abs(middle) <= reach
    return held / draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="optimizer, run, step, val_loss")
    parser.add_argument("--draws", type=int, default=4000, help="subsamples of each large configuration")
    parser.add_argument("--large", type=int, default=20, help="how many runs make a configuration large")
    parser.add_argument("--json", type=Path, help="where the figures of the records are written")
    options = parser.parse_args()
    curves = read(options.file)
    print(f"{sum(map(len, curves.values()))} runs of {len(curves)} configurations\n")
    for least in (2, 5, 8):
        losses = final(curves, least)
        print(
            f"pooled standard deviation of {len(losses)} configurations with {least} and more runs: {pooled(losses):.5f}"
        )

    for source, strengths in (("its page", beaten()), ("the runs, where they are there", beaten(curves))):
        better = [number for number, strength in strengths if strength >= _NEEDED]
        print(f"\nby the figures of {source}, {len(better)} of {len(strengths)} records beat the one before: {better}")

    records = compared(curves)
    print(f"\n{table(records)}")
    for kind in ("joint", "single"):
        better = [r.number for r in records if (interval := getattr(r, kind)) is not None and interval[1] < 0]
        print(f"by {kind} intervals {len(better)} of {len(records) - 1} beat the one before: {better}")
    if options.json:
        rows = ",\n".join(json.dumps(asdict(r)) for r in records)
        options.json.write_text(f"[\n{rows}\n]\n")

    print(f"\nintervals from 8 runs, {options.draws} draws, hold the mean of all")
    large = {name: v for name, v in final(curves, options.large).items() if np.ptp(v) > 0}
    for name, values in sorted(large.items(), key=lambda item: -len(item[1])):
        print(
            f"{name[:44]:46}{len(values):3} runs{coverage(values, options.draws):8.3f}{stats.skew(values):8.2f} skewness"
        )

    count = min(map(len, large.values()))
    study = with_best({name: values[:count] for name, values in large.items()})
    print(f"\nby the first {count} runs of each: best {study.top}")
    for s in study.standings:
        print(f"{s.name[:44]:46}{s.mean:9.5f}{s.low:10.5f} to{s.high:9.5f}  {s.verdict}")


if __name__ == "__main__":
    main()
