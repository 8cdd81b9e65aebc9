"""Findings of the literature on optimizers, repeated at a size that two processors do in minutes: the figures of docs/evidence.md.

Each experiment is a study, or a few, that ``ravine compare`` makes with the same options:

- ``gap``: Adam against SGD, where the gap is said to be large (a language model) and small (an MLP, a CNN); Kunstner et al.,
  Noise is not the main factor behind the gap between SGD and Adam on transformers, 2023, https://arxiv.org/abs/2304.13960
- ``budget``: how much faster than AdamW, by how well AdamW is tuned; Wen et al., Fantastic pretraining optimizers and where to
  find them, 2025, https://arxiv.org/abs/2509.02046
- ``horizon``: the order of optimizers by the length of the training;
- ``dialects``: whether it matters which library's RMSProp it is;
- ``states``: whether states in 16 and 8 bits cost anything (docs/memory.md), with rates that are the same for all.

Run: ``python benchmarks/evidence.py [EXPERIMENT ...] [--json docs/results/evidence.json]``. A study that was stopped goes on;
the file gets each experiment when it is done.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import ravine
from ravine.comparison import Result

GPT, CNN = "examples/small_gpt.py", "examples/digits_cnn.py"
_SGD_AND_ADAM, _FULL = ("sgd", "momentum", "adam"), {"preset": "full"}
_DIALECTS = tuple(f"rmsprop-{name}" for name in ("torch", "tensorflow", "keras", "lasagne"))
#: The rate of each optimizer, and what else would be tuned, for each dtype of its states.
_STATES = tuple(
    f"{optimizer}{dtype}"
    for optimizer in ("adamw:lr=0.002,betas=(0.9,0.999)", "rmsprop:lr=0.001,alpha=0.99")
    for dtype in ("", ",state_dtype='bfloat16'", ",state_dtype='8bit'")
)
#: By experiment and study: the task, the optimizers, and the other options of ``ravine compare``.
EXPERIMENTS: Mapping[str, Mapping[str, tuple[str, tuple[str, ...], Mapping[str, Any]]]] = {
    "gap": {
        "MLP": ("digits", _SGD_AND_ADAM, _FULL),
        "CNN": (CNN, _SGD_AND_ADAM, _FULL),
        "GPT": (GPT, _SGD_AND_ADAM, _FULL),
    },
    "budget": {"GPT": (GPT, ("adamw:lr=0.0003", "adamw:lr=0.001", "adamw", "lion"), {"points": 8})},
    "horizon": {
        f"{steps} steps": ("digits", ("momentum", "adagrad", "rmsprop", "adam"), {"steps": steps})
        for steps in (30, 120, 480)
    }
    | {
        f"rosenbrock, {steps} steps": (
            "rosenbrock",
            ("adagrad", "adam"),
            {"steps": steps, "seeds": 100, "study_seed": 1},
        )
        for steps in (20, 500)
    },
    "states": {
        "MLP": ("digits", _STATES, {"seeds": 40, "margin": "2%"}),
        "CNN": ("fashion-mnist-cnn", _STATES, {"steps": 1000, "margin": "2%"}),
        "GPT": (GPT, _STATES, {"seeds": 20, "margin": "1%"}),
        "text-gpt": ("text-gpt", _STATES, {"steps": 60, "seeds": 5, "margin": "1%"}),
        "text-gpt, 150 steps": (
            "text-gpt",
            _STATES[:3],
            {"steps": 150, "seeds": 5, "schedule": "cosine", "margin": "2%"},
        ),
    },
    "dialects": {"MLP": ("digits", _DIALECTS, {}), "GPT": (GPT, _DIALECTS, {})},
}
_RESAMPLES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "experiments", nargs="*", metavar="EXPERIMENT", help=f"some of {', '.join(EXPERIMENTS)}; else all"
    )
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--folder", type=Path, default=Path("ravine-out/evidence"), help="where the studies are kept")
    parser.add_argument("--jobs", type=int, help="trainings at a time")
    chosen = parser.parse_args()
    if unknown := set(chosen.experiments) - set(EXPERIMENTS):
        parser.error(f"there is no experiment {', '.join(sorted(unknown))}; there are {', '.join(EXPERIMENTS)}")
    for name in chosen.experiments or EXPERIMENTS:
        found: dict[str, Any] = {}
        for study, (task, optimizers, options) in EXPERIMENTS[name].items():
            print(f"{name}, {study}")
            out = chosen.folder / f"{name}-{study.replace(' ', '-').lower()}"
            result = ravine.compare(task, list(optimizers), out=out, jobs=chosen.jobs, **options)
            print(result)
            found[study] = figures(result) | ({"speed_up": speed_ups(result)} if name == "budget" else {})
            if name == "states":
                found[study]["against_float32"] = against_float32(result)
        if chosen.json is not None:
            before = json.loads(chosen.json.read_text()) if chosen.json.is_file() else {}
            chosen.json.write_text(json.dumps(before | {name: found}, indent=1) + "\n")


def figures(result: Result) -> dict[str, Any]:
    """The verdict, and each optimizer's fresh runs against the best of the others."""
    judgement = result.judgement
    standings = {s.name: s for s in judgement.losses.standings}
    return {
        "machine": result.origin.machine,
        "sentence": judgement.sentence,
        "margin": judgement.losses.margin,
        "optimizers": {
            runs.name: {
                "seeds": len(runs.runs),
                "mean_loss": _mean([run.score for run in runs.runs if not run.diverged]),
                "diverged": sum(run.diverged for run in runs.runs),
                "against_the_best": [standings[runs.name].low, standings[runs.name].high],
            }
            for runs in result.record.runs
        },
        "target": None if judgement.target is None else judgement.target.loss,
        "steps_to_target": {name: taken.restricted_mean for name, taken in judgement.steps.items()},
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def against_float32(result: Result) -> dict[str, list[float]]:
    """By how much the loss of narrow states is above that of float32 ones of the same optimizer, as a share of that: the mean
    over the seeds, which are the same, and its 95% interval by Student's t, widened for the number of pairs (Bonferroni)."""
    losses = {runs.name: np.array([run.score for run in runs.runs]) for runs in result.record.runs}
    pairs = {name: name.partition(",state_dtype")[0] for name in losses if "state_dtype" in name}
    found = {}
    for name, wide in pairs.items():
        share = (losses[name] - losses[wide]) / losses[wide].mean()
        half = stats.t.ppf(1 - 0.025 / len(pairs), len(share) - 1) * share.std(ddof=1) / np.sqrt(len(share))
        found[name] = [float(share.mean()), float(share.mean() - half), float(share.mean() + half)]
    return found


def speed_ups(result: Result) -> list[dict[str, Any]]:
    """How many times fewer steps an optimizer takes to the loss with which AdamW ends, as AdamW was tuned.

    The steps are those at which its mean curve over the seeds, made of straight lines, first has that loss; the interval
    is of 2,000 bootstrap samples of seeds, the same for both.
    """
    runs = {each.name: each for each in result.record.runs}
    faster = {name: np.array([run.losses for run in runs[name].runs]) for name in ("adamw", "lion")}
    steps = np.asarray(runs["adamw"].runs[0].steps, dtype=float)
    baselines = {f"lr={lr}": [run.score for run in runs[f"adamw:lr={lr}"].runs] for lr in ("0.0003", "0.001")}
    baselines |= {f"tuned, {k} points": list(losses) for k, losses in sorted(runs["adamw"].budget.items())}
    random, rows = np.random.default_rng(0), []
    samples = random.integers(len(faster["lion"]), size=(_RESAMPLES, len(faster["lion"])))
    for baseline, losses in baselines.items():
        ends = np.asarray(losses, dtype=float)
        for name, curves in faster.items():
            resampled = [steps[-1] / _reaches(steps, curves[i].mean(0), ends[i].mean()) for i in samples]
            low, high = np.quantile(resampled, [0.025, 0.975])
            value = steps[-1] / _reaches(steps, curves.mean(0), ends.mean())
            rows.append({"baseline": baseline, "optimizer": name, "speed_up": value, "low": low, "high": high})
    return rows


def _reaches(steps: np.ndarray, curve: np.ndarray, loss: float) -> float:
    """The step at which the curve first has that loss; past the end where it does not, as its last piece goes on."""
    below = np.flatnonzero(curve[1:] <= loss)
    at = int(below[0]) + 1 if len(below) else len(curve) - 1
    slope = (curve[at] - curve[at - 1]) / (steps[at] - steps[at - 1])
    return float(steps[at] + (loss - curve[at]) / slope) if slope < 0 else float("inf")


if __name__ == "__main__":
    main()
