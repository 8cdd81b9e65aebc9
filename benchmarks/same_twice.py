"""How often a study calls an optimizer different from itself: whole studies, trained, from declaration to verdict.

The same optimizer takes part under two names (``sgd`` and ``sgd:dampening=0``), the search space of the second moved by a
factor. At most 5% of studies may say that one of them is not the best. Two optimizers that do differ are told apart the
same way, with other names: there, 95% should say so.

Studies run side by side in a process and fill each other's blocks of trainings; a training's numbers do not depend on that.

Run: ``python benchmarks/same_twice.py [--task breast-cancer] [-o sgd -o sgd:dampening=0] [--moved 1 1.5 3] [--studies 200]
[--preset quick] [--halving] [--jobs 2] [--json FILE]``, or ``--all`` for all cells of ``CELLS``. A cell that stands in the JSON file
already is not run again, so what was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from scipy import stats

from ravine import _files as files
from ravine.comparison._judge.with_best import WithBest
from ravine.comparison._study.declare import declare
from ravine.comparison._study.stages import Stage, stage, stage_after
from ravine.comparison._study.study_record import StudyRecord
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import Trial, TrialResult
from ravine.comparison._study.trial_runner import TrialRunner
from ravine.optim._search_space import default_space
from ravine.optim._spec import OptimizerSpec, parse
from ravine.tasks import Task, find

_SIDE_BY_SIDE = 25  # studies of one process
_HAIR = 1e-9  # a study refuses two that are the same to the last digit

SAME = (("sgd", "sgd:dampening=0"), ("momentum", "momentum:nesterov=False"), ("adam", "adam:eps=1e-8"))


@dataclass(frozen=True)
class Cell:
    """Studies that differ in their seed only."""

    task: str
    preset: str
    optimizers: tuple[str, str]
    moved: float
    same: bool
    halving: bool = False

    def __str__(self) -> str:
        halved = ", with halving" if self.halving else ""
        return f"{self.task}, {self.preset}, {' and '.join(self.optimizers)}, moved by {self.moved:g}{halved}"

    @property
    def tree(self) -> dict[str, Any]:
        """For JSON; without halving as it was written before there was any."""
        return {name: value for name, value in asdict(self).items() if name != "halving" or value}


DIFFERENT = (
    Cell("digits", "quick", ("sgd", "sgd:lr=0.001"), 1.0, same=False),
    Cell("ravine", "quick", ("sgd", "rmsprop"), 1.0, same=False),
)
CELLS = (
    *DIFFERENT,
    *(
        Cell(task, preset, pair, moved, same=True)
        for preset, moved, task, pair in product(
            ("quick", "standard"), (1.0, 3.0, 1.5, 2.0), ("breast-cancer", "digits"), SAME
        )
    ),
)


class Study:
    """One study while it runs."""

    def __init__(self, spec: StudySpec) -> None:
        self.spec, self.results = spec, dict[str, TrialResult]()
        self.now: Stage = stage(spec, {})

    def keep(self, trials: Iterable[Trial], results: Iterable[TrialResult]) -> None:
        """Take results, and go on to the next stage where the last ones are in."""
        self.results |= {trial.key(self.spec): result for trial, result in zip(trials, results, strict=True)}
        self.now = stage_after(self.spec, self.now, self.results)

    @property
    def losses(self) -> WithBest:
        """What it says of the losses."""
        found = StudyRecord(self.spec, self.results).judge().losses
        assert found is not None
        return found


def verdicts(numbers: Sequence[int], cell: Cell) -> list[tuple[int, bool, int]]:
    """The verdict of each of these studies, which run side by side."""
    task, optimizers = find(cell.task), [parse(label) for label in cell.optimizers]
    space: dict[str, Any] = {}
    wide = default_space(optimizers[1])
    moved = cell.moved * (1 + _HAIR if cell.same else 1)
    if "lr" in wide and moved != 1:
        lr = replace(wide["lr"], low=wide["lr"].low * moved, high=wide["lr"].high * moved)
        space = {optimizers[1].label: {**wide, "lr": lr}}
    specs = [
        declare(
            task,
            cell.task,
            optimizers,
            preset=cell.preset,
            halving=cell.halving,
            study_seed=number,
            space=space or None,
        )
        for number in numbers
    ]
    found = [study.losses for study in side_by_side(specs, task, optimizers)]
    return [(len(losses.top), losses.settled, losses.looks[-1]) for losses in found]


def side_by_side(specs: Sequence[StudySpec], task: Task, optimizers: Sequence[OptimizerSpec]) -> list[Study]:
    """Studies that differ in their seed only, run to their end."""
    studies = [Study(spec) for spec in specs]
    runner = TrialRunner(specs[0], task, {one.label: one.for_task(task.name) for one in optimizers})
    while waiting := [(study, trial) for study in studies for trial in study.now.trials]:
        # whole blocks as long as there are any: those of the studies that are behind come first
        waiting.sort(key=lambda pair: len(pair[0].results))
        chosen = runner.next_block([trial for _, trial in waiting])
        made = dict(zip(map(id, chosen), runner.run(chosen), strict=True))
        for study in studies:
            mine = [trial for trial in study.now.trials if id(trial) in made]
            if mine:
                study.keep(mine, [made[id(trial)] for trial in mine])
    return studies


def measure(cell: Cell, studies: int, jobs: int, pool: Executor) -> dict[str, Any]:
    """What the studies of a cell end with."""
    began = time.perf_counter()
    size = max(1, min(_SIDE_BY_SIDE, -(-studies // jobs)))
    parts = [range(first, min(first + size, studies)) for first in range(0, studies, size)]
    found = [one for part in pool.map(partial(verdicts, cell=cell), parts) for one in part]
    different = sum(top == 1 for top, _, _ in found)
    ends = stats.binomtest(different, len(found)).proportion_ci(0.95)
    return {
        **cell.tree,
        "studies": studies,
        "different": different / len(found),
        "low": float(ends.low),
        "high": float(ends.high),
        "settled": sum(settled for _, settled, _ in found) / len(found),
        "seeds": sum(seeds for _, _, seeds in found) / len(found),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _done(path: Path | None, cell: Cell, studies: int) -> dict[str, Any] | None:
    """The row of a cell that was measured before."""
    wanted = json.loads(json.dumps({**cell.tree, "studies": studies}))
    rows = json.loads(path.read_text()) if path is not None and path.exists() else []
    return next((row for row in rows if wanted.items() <= row.items()), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="run all cells of CELLS, those that differ first")
    parser.add_argument("--task", default="breast-cancer")
    parser.add_argument("-o", dest="labels", action="append")
    parser.add_argument("--moved", type=float, nargs="+", default=[1.0, 1.5, 3.0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--halving", action="store_true", help="stop the worse half of the points early")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    first, second = options.labels or SAME[0]
    cells: Sequence[Cell] = CELLS
    if not options.all:
        cells = [
            Cell(options.task, options.preset, (first, second), moved, same=True, halving=options.halving)
            for moved in options.moved
        ]
    print(f"{'called different':>16}{'95% interval':>16}{'settled':>9}{'seeds':>7}{'seconds':>9}")
    with ProcessPoolExecutor(options.jobs) as pool:
        for cell in cells:
            row = _done(options.json, cell, options.studies)
            if row is None:
                row = measure(cell, options.studies, options.jobs, pool)
                if options.json:
                    rows = json.loads(options.json.read_text()) if options.json.exists() else []
                    files.write(options.json, (json.dumps([*rows, row], indent=1) + "\n").encode())
            interval = f"{row['low']:.3f} to {row['high']:.3f}"
            print(
                f"{row['different']:16.3f}{interval:>16}{row['settled']:9.2f}{row['seeds']:7.1f}{row['seconds']:9.1f}"
                f"  {cell}",
                flush=True,
            )


if __name__ == "__main__":
    main()
