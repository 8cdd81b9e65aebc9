"""How often a study calls an optimizer different from itself: whole studies, trained, from declaration to verdict.

The same optimizer takes part under two names (``sgd`` and ``sgd:dampening=0``), the search space of the second moved by a
factor. At most 5% of studies may say that one of them is not the best. Two optimizers that do differ are told apart the
same way, with other names.

Run: ``python benchmarks/same_twice.py [--task breast-cancer] [-o sgd -o sgd:dampening=0] [--moved 1 1.5 3] [--studies 200]
[--preset quick] [--jobs 2] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from scipy import stats

from ravine.comparison._study.declare import declare
from ravine.comparison._study.stages import stage
from ravine.comparison._study.study_record import StudyRecord
from ravine.comparison._study.trial import TrialResult, run
from ravine.optim._search_space import default_space
from ravine.optim._spec import parse
from ravine.tasks import Task, find


@lru_cache(1)
def _task(name: str) -> Task:
    return find(name)


def verdict(number: int, *, task: str, labels: tuple[str, str], moved: float, preset: str) -> tuple[int, bool, int]:
    """How many may be the best, whether the study is settled, and how many seeds it took."""
    found, optimizers = _task(task), [parse(label) for label in labels]
    wide = default_space(optimizers[1])
    lr = replace(wide["lr"], low=wide["lr"].low * moved, high=wide["lr"].high * moved)
    spec = declare(found, task, optimizers, preset=preset, study_seed=number, space={labels[1]: {**wide, "lr": lr}})
    ready = {one.label: one.for_task(found.name) for one in optimizers}
    results: dict[str, TrialResult] = {}
    while (now := stage(spec, results)).name != "done":
        for trial in now.trials:
            results[trial.key(spec)] = run(spec, found, trial, ready[trial.label])
    losses = StudyRecord(spec, results).judge().losses
    assert losses is not None
    return len(losses.top), losses.settled, losses.looks[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="breast-cancer")
    parser.add_argument("-o", dest="labels", action="append")
    parser.add_argument("--moved", type=float, nargs="+", default=[1.0, 1.5, 3.0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    labels = tuple(options.labels or ("sgd", "sgd:dampening=0"))
    rows = []
    print(f"{options.task}, {options.preset}, {' and '.join(labels)}: {options.studies} studies")
    print(f"{'moved':>6}{'called different':>18}{'95% interval':>16}{'settled':>9}{'seeds':>7}")
    for moved in options.moved:
        one = partial(verdict, task=options.task, labels=labels, moved=moved, preset=options.preset)
        with ProcessPoolExecutor(options.jobs) as pool:
            found = list(pool.map(one, range(options.studies)))
        different = sum(top == 1 for top, _, _ in found)
        ends = stats.binomtest(different, len(found)).proportion_ci(0.95)
        settled = sum(s for _, s, _ in found) / len(found)
        seeds = sum(n for _, _, n in found) / len(found)
        share = different / len(found)
        print(
            f"{moved:6g}{share:18.3f}{f'{ends.low:.3f} to {ends.high:.3f}':>16}{settled:9.2f}{seeds:7.1f}", flush=True
        )
        rows.append(
            {"moved": moved, "different": share, "low": ends.low, "high": ends.high, "settled": settled, "seeds": seeds}
        )
    if options.json:
        tree = {
            "task": options.task,
            "preset": options.preset,
            "optimizers": labels,
            "studies": options.studies,
            "rows": rows,
        }
        options.json.write_text(json.dumps(tree, indent=1) + "\n")


if __name__ == "__main__":
    main()
