"""How often a study calls an optimizer different from itself: whole studies, trained, from declaration to verdict.

The same optimizer takes part under two names (``sgd`` and ``sgd:dampening=0``), the search space of the second moved by a
factor. At most 5% of studies may say that one of them is not the best. Two optimizers that do differ are told apart the
same way, with other names: there, 95% should say so.

How many of them call the second one worse is counted apart: with a moved range it may be. Where a study is judged once, a coin then
decides for every seed which of the two has which run, and how often these are told apart is ``by chance``: there is no difference.

Studies run side by side in a process and fill each other's blocks of trainings; a training's numbers do not depend on that.
A training that several of them ask for (the first optimizer's is the same whatever the second's space is moved by) is run once.

Run: ``python benchmarks/same_twice.py [--task breast-cancer] [-o sgd -o sgd:dampening=0] [--moved 1 1.5 3 | --different]
[--studies 200] [--preset quick] [--halving] [--jobs 2] [--json FILE]``, or ``--all`` for all cells of ``CELLS``. Of a cell that
stands in the JSON file already only the studies that are missing are made and added, so ``--studies 400`` goes on where 200 stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from ravine import _files as files
from ravine.comparison._judge.values import paired, values_of
from ravine.comparison._judge.with_best import WithBest, with_best
from ravine.comparison._study.declare import declare
from ravine.comparison._study.stages import Stage, stage, stage_after
from ravine.comparison._study.study_record import StudyRecord
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import TrialResult
from ravine.comparison._study.trial_runner import TrialRunner
from ravine.optim._search_space import default_space
from ravine.optim._spec import OptimizerSpec, parse
from ravine.tasks import Task, find

_SIDE_BY_SIDE = 25  # studies of one process
_ROOT = Path(__file__).parents[1]
_SWAPS = 50
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
        pairs = {name: value for name, value in asdict(self).items() if name != "halving" or value}
        return pairs | {"optimizers": list(self.optimizers)}


DIFFERENT = (
    Cell("digits", "quick", ("sgd", "sgd:lr=0.001"), 1.0, same=False),
    Cell("ravine", "quick", ("sgd", "rmsprop"), 1.0, same=False),
    Cell("examples/small_gpt.py", "quick", ("adam", "sgd"), 1.0, same=False),
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


class Found(NamedTuple):
    """What is counted of a study.

    Attributes:
        different: whether one of the two is called not the best.
        second_worse: whether that is the second.
        settled, seeds: whether more runs could change nothing, and how many there were.
        by_chance: see ``Study``.
    """

    different: bool
    second_worse: bool
    settled: bool
    seeds: int
    by_chance: float | None


class Study:
    """One study while it runs."""

    def __init__(self, spec: StudySpec) -> None:
        self.spec, self.results = spec, dict[str, TrialResult]()
        self._go_on(stage(spec, {}))

    def _go_on(self, now: Stage) -> None:
        self.now: Stage = now
        self.missing = {trial.key(self.spec): trial for trial in now.trials}

    def take(self, known: Mapping[str, TrialResult]) -> None:
        """Take what is known of the trials that it needs now, and go on to the next stages as long as all of one is."""
        while found := self.missing.keys() & known.keys():
            self.results |= {key: known[key] for key in found}
            self._go_on(stage_after(self.spec, self.now, self.results))

    @property
    def losses(self) -> WithBest:
        """What it says of the losses."""
        found = StudyRecord(self.spec, self.results).judge().losses
        assert found is not None
        return found

    @property
    def found(self) -> Found:
        """What is counted of it."""
        losses, second = self.losses, self.spec.optimizers[1].label
        different = losses.best is not None
        return Found(
            different, different and losses.best != second, losses.settled, losses.looks[-1], self._by_chance()
        )

    def _by_chance(self) -> float | None:
        """How often two of which a coin decides who has which run are told apart; None where more looks would need more runs."""
        if len(self.spec.looks) > 1:
            return None
        values, _ = paired(values_of(StudyRecord(self.spec, self.results).judged_runs))
        both = np.stack(list(values.values()))
        coins = np.random.default_rng(self.spec.seed).integers(2, size=(_SWAPS, both.shape[1]), dtype=bool)
        swapped = (np.where(coin, both[::-1], both) for coin in coins)
        return sum(len(with_best(dict(zip(values, each, strict=True))).top) == 1 for each in swapped) / _SWAPS


def verdicts(numbers: Sequence[int], cells: Sequence[Cell]) -> list[list[Found]]:
    """The verdict of each of these studies, by cell; those of cells that differ in their spaces only run side by side."""
    task, optimizers = _task(cells[0].task), [parse(label) for label in cells[0].optimizers]
    specs = [spec for cell in cells for spec in _specs(numbers, cell, task, optimizers)]
    each = [study.found for study in side_by_side(specs, task, optimizers)]
    return [each[first : first + len(numbers)] for first in range(0, len(each), len(numbers))]


def _task(name: str) -> Task:
    """A task by its name, or by its file in this repository."""
    return find(str(_ROOT / name) if name.endswith(".py") else name)


def _specs(numbers: Sequence[int], cell: Cell, task: Task, optimizers: Sequence[OptimizerSpec]) -> list[StudySpec]:
    """The studies of a cell."""
    space: dict[str, Any] = {}
    wide = default_space(optimizers[1])
    moved = cell.moved * (1 + _HAIR if cell.same else 1)
    if "lr" in wide and moved != 1:
        lr = replace(wide["lr"], low=wide["lr"].low * moved, high=wide["lr"].high * moved)
        space = {optimizers[1].label: {**wide, "lr": lr}}
    return [
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


def side_by_side(specs: Sequence[StudySpec], task: Task, optimizers: Sequence[OptimizerSpec]) -> list[Study]:
    """Studies that differ in their seeds and spaces only, run to their end."""
    studies = [Study(spec) for spec in specs]
    runner = TrialRunner(specs[0], task, {one.label: one.for_task(task.name) for one in optimizers})
    known = dict[str, TrialResult]()
    # Whole blocks as long as there are any: those of the studies that are behind come first.
    while waiting := {k: t for study in sorted(studies, key=_done_by) for k, t in study.missing.items()}:
        keys = {id(trial): key for key, trial in waiting.items()}
        chosen = runner.next_block(list(waiting.values()))
        made = {keys[id(t)]: result for t, result in zip(chosen, runner.run(chosen), strict=True)}
        known |= made
        for study in studies:
            if not made.keys().isdisjoint(study.missing):
                study.take(known)
    return studies


def _done_by(study: Study) -> int:
    return len(study.results)


def measure(cells: Sequence[Cell], numbers: range, jobs: int, pool: Executor) -> list[dict[str, Any]]:
    """What these studies of each cell end with; the cells differ in their spaces only."""
    began = time.perf_counter()
    size = max(1, min(_SIDE_BY_SIDE, -(-len(numbers) // (4 * jobs))))  # parts end together, though some take longer
    parts = [numbers[first : first + size] for first in range(0, len(numbers), size)]
    found = list(pool.map(partial(verdicts, cells=cells), parts))
    seconds = (time.perf_counter() - began) / len(cells)
    return [_row(cell, [one for part in found for one in part[i]], seconds) for i, cell in enumerate(cells)]


def _row(cell: Cell, found: Sequence[Found], seconds: float) -> dict[str, Any]:
    """What is written of a cell; ``seconds`` is its share of the time."""
    by_chance = [one.by_chance for one in found if one.by_chance is not None]
    shares = {
        "different": float(np.mean([one.different for one in found])),
        "second_worse": float(np.mean([one.second_worse for one in found])),
        "by_chance": float(np.mean(by_chance)) if by_chance else None,
        "settled": float(np.mean([one.settled for one in found])),
        "seeds": float(np.mean([one.seeds for one in found])),
    }
    return _with_interval({**cell.tree, "studies": len(found), **shares, "seconds": round(seconds, 1)})


def _with_interval(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the 95% interval of the share of studies that call the two different."""
    studies = row["studies"]
    ends = stats.binomtest(round(row["different"] * studies), studies).proportion_ci(0.95)
    return row | {"low": float(ends.low), "high": float(ends.high)}


def _together(before: dict[str, Any] | None, more: dict[str, Any]) -> dict[str, Any]:
    """Of two rows of other studies of one cell, that of all of them."""
    if before is None:
        return more
    a, b = before["studies"], more["studies"]
    joined = before | {"studies": a + b, "seconds": round(before["seconds"] + more["seconds"], 1)}
    for name in ("different", "second_worse", "by_chance", "settled", "seeds"):
        if before[name] is not None:
            joined[name] = (a * before[name] + b * more[name]) / (a + b)
    return _with_interval(joined)


def _rows(path: Path | None) -> list[dict[str, Any]]:
    """The rows of cells that were measured before. Those of studies that were judged without the limit have no share by chance."""
    rows = json.loads(path.read_text()) if path is not None and path.exists() else []
    return [row for row in rows if "by_chance" in row]


def _row_of(cell: Cell, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    wanted = {"halving": False} | cell.tree
    return next((row for row in rows if wanted.items() <= ({"halving": False} | row).items()), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="run all cells of CELLS, those that differ first")
    parser.add_argument("--task", default="breast-cancer")
    parser.add_argument("-o", dest="labels", action="append")
    parser.add_argument("--moved", type=float, nargs="+", default=[1.0, 1.5, 3.0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--preset", default="quick")
    parser.add_argument(
        "--different", action="store_true", help="the two are different optimizers, so no space is moved"
    )
    parser.add_argument("--halving", action="store_true", help="stop the worse half of the points early")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    first, second = options.labels or SAME[0]
    cells: Sequence[Cell] = CELLS
    if not options.all:
        cells = [
            Cell(options.task, options.preset, (first, second), moved, not options.different, options.halving)
            for moved in ([1.0] if options.different else options.moved)
        ]
    heads = f"{'called different':>16}{'95% interval':>16}{'second worse':>14}{'by chance':>11}"
    print(f"{heads}{'settled':>9}{'seeds':>7}{'seconds':>9}")
    rows = _rows(options.json)
    with ProcessPoolExecutor(options.jobs) as pool:
        for together, done in _groups(cells, rows):
            if done < options.studies:
                made = measure(together, range(done, options.studies), options.jobs, pool)
                for cell, more in zip(together, made, strict=True):
                    before = _row_of(cell, rows)
                    rows = [*(row for row in rows if row is not before), _together(before, more)]
                if options.json:
                    files.write(options.json, (json.dumps(rows, indent=1) + "\n").encode())
            for cell in together:
                row = _row_of(cell, rows)
                assert row is not None
                interval = f"{row['low']:.3f} to {row['high']:.3f}"
                chance = "-" if row["by_chance"] is None else f"{row['by_chance']:.3f}"
                print(
                    f"{row['different']:16.3f}{interval:>16}{row['second_worse']:14.3f}{chance:>11}{row['settled']:9.2f}"
                    f"{row['seeds']:7.1f}{row['seconds']:9.1f}  {cell}",
                    flush=True,
                )


def _groups(cells: Sequence[Cell], rows: Sequence[dict[str, Any]]) -> list[tuple[list[Cell], int]]:
    """Cells that differ only in how far the space is moved, and so share trainings, with how many studies they have already."""
    groups: dict[tuple[Cell, int], list[Cell]] = {}
    for cell in cells:
        row = _row_of(cell, rows)
        groups.setdefault((replace(cell, moved=1.0), 0 if row is None else row["studies"]), []).append(cell)
    return [(together, done) for (_, done), together in groups.items()]


if __name__ == "__main__":
    main()
