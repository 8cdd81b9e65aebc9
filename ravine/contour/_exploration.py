"""``ravine.contour.explore``: follow optimizers down a function, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ravine import _files as files
from ravine._one_thread import one_thread
from ravine._plotting.notebook_html import html_rows, output, picture
from ravine._plotting.style import png, small_png
from ravine.contour._contour_figure import draw
from ravine.contour._contour_page import page
from ravine.contour._contour_panel import outside
from ravine.contour._paths_json import to_json
from ravine.contour._plot_data import PlotData, plot_data
from ravine.contour._search_record import Entry, SearchRecord
from ravine.contour._trajectories import dry_run, follow, learning_rates
from ravine.errors import OptionError, nearest, shown
from ravine.optim._signature import option_names
from ravine.optim._spec import OptimizerSpec
from ravine.optim._spec_objects import OptimizerLike, specs_of
from ravine.tasks import _surfaces as surfaces
from ravine.tasks._starts import starts as starts_of

DEFAULTS = ("sgd", "momentum", "rmsprop:alpha=0.9", "adam")
"""What is shown unless the user says otherwise."""

_ANY_RATE = 1.0  # stands where the rates that are tried will stand
_MOST = {"rates": 101, "starts": 50, "steps": 10_000}
_MOST_TRAJECTORIES = 20_000


@dataclass(frozen=True, eq=False, repr=False)
class Exploration:
    """Search paths of optimizers on a function: everything that was tried, as a picture, a page, a table and a file.

    Attributes:
        record: the function, the rates, the starts, and every trajectory.
    """

    record: SearchRecord

    @cached_property
    def plot_data(self) -> PlotData:
        """What picture and page show, computed once."""
        return plot_data(self.record)

    def plot(self) -> Any:
        """The picture of ``contour.png``, as a matplotlib figure."""
        return draw(self.plot_data)

    def write(self, folder: Path | str) -> list[Path]:
        """Write ``paths.json``, ``contour.png`` and ``contour.html`` into a folder; the numbers first.

        Raises:
            OptionError: a file cannot be written.
        """
        place, written = Path(folder), []
        place.mkdir(parents=True, exist_ok=True)
        makers: Mapping[str, Callable[[], bytes]] = {
            "paths.json": lambda: to_json(self.record),
            "contour.png": lambda: png(self.plot()),
            "contour.html": lambda: page(self.plot_data),
        }
        for name, make in makers.items():
            files.write(place / name, make())
            written.append(place / name)
        return written

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows: each optimizer at its best rate, the best first."""
        heads = ["optimizer", "best lr", "final value", "steps outside", "paths diverged"]
        return heads, [self._row(entry) for entry in self.record.ranked]

    def _row(self, entry: Entry) -> list[str]:
        """At the best rate the geometric mean of the final values, and the share of steps outside the window."""
        record, best = self.record, self.record.best(entry)
        window = record.surface.window
        steps = np.concatenate([outside(t.points[1:], window) for t in entry.trajectories[best]])
        with np.errstate(divide="ignore"):
            mean = float(np.exp(np.log(record.excess(entry)[best]).mean()))
        return [
            entry.spec.label,
            f"{record.rates[best]:g}",
            f"{mean:.2e}" if np.isfinite(mean) else "diverged",
            f"{steps.mean():.1%}" if len(steps) else "",
            f"{np.count_nonzero(~np.isfinite(entry.finals))} of {entry.finals.size}",
        ]

    def __repr__(self) -> str:
        return repr(self.record).replace("SearchRecord", "Exploration")

    def _repr_html_(self) -> str:
        heads, rows = self.table()
        label, rate, final, *_ = rows[0]
        ends = "every path diverged" if final == "diverged" else f"{label} ends lowest, at {final} with lr {rate}"
        tried = repr(self).removeprefix("Exploration(").removesuffix(")")
        drawing = picture(small_png(self.plot()), f"Search paths: {tried}")
        return output(f"{self.record.name}: {ends}", html_rows(heads, rows), drawing)


@dataclass(frozen=True, eq=False, repr=False)
class ExplorationPlan:
    """What will be tried: checked, and every optimizer has made a step. :meth:`run` does it.

    Attributes:
        record: the function, the rates and the starts, with entries that have no trajectories yet.
    """

    record: SearchRecord

    def __repr__(self) -> str:
        return repr(self.record).replace("SearchRecord", "ExplorationPlan")

    def run(self, on_step: Callable[[str], None] = lambda label: None) -> Exploration:
        """Follow every optimizer; ``on_step`` is called with its label after each of its steps.

        Raises:
            OptionError: an optimizer's step fails.
            TrainingError: the function fails.
        """
        r, entries = self.record, []
        with one_thread():
            for entry in r.entries:

                def stepped(label: str = entry.spec.label) -> None:
                    on_step(label)

                trajectories = follow(entry.spec, r.surface, r.rates, r.starts, r.steps, stepped)
                entries.append(replace(entry, trajectories=trajectories))
        return Exploration(replace(r, entries=tuple(entries)))


def explore(
    function: str | Path,
    optimizers: OptimizerLike = DEFAULTS,
    *,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    rates: int = 13,
    lowest: float = 1e-4,
    highest: float = 1.0,
    starts: int = 5,
    steps: int = 300,
    seed: int = 0,
) -> Exploration:
    """Follow optimizers down a function of two variables, all at the same learning rates from the same starts.

    Args:
        function: ``"rosenbrock"``, ``"beale"``, ``"ravine"``, or the path of a Python file with one.
        optimizers: as :func:`ravine.compare` takes them, without a learning rate.
        sweep: values of one more hyperparameter, ``{"alpha": [0.5, 0.9, 0.99]}``: each is an optimizer of its own.
        rates: how many learning rates, evenly spaced in the logarithm from ``lowest`` to ``highest``.
        lowest, highest: the ends of the range, at most four decades apart.
        starts: how many starting points: the function's own, and others spread over its window.
        steps: how long each trajectory is.
        seed: decides the further starts.

    Raises:
        OptionError: an argument, or an optimizer's option, cannot be what it is.
        DataError: a file is missing or raises.
        TrainingError: the function fails.
    """
    return plan(
        function,
        optimizers,
        sweep=sweep,
        rates=rates,
        lowest=lowest,
        highest=highest,
        starts=starts,
        steps=steps,
        seed=seed,
    ).run()


def plan(
    function: str | Path,
    optimizers: OptimizerLike = DEFAULTS,
    *,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    rates: int = 13,
    lowest: float = 1e-4,
    highest: float = 1.0,
    starts: int = 5,
    steps: int = 300,
    seed: int = 0,
) -> ExplorationPlan:
    """What :func:`explore` will do: everything that can be wrong is found before anything takes long."""
    for name, count in (("rates", rates), ("starts", starts), ("steps", steps)):
        least = 2 if name == "rates" else 1
        if not least <= count <= _MOST[name]:
            raise OptionError(f"{name} = {count}: give {least} to {_MOST[name]:,}.")
    name, surface = surfaces.find(str(function))
    key, values = _swept(sweep or {})
    entries = _entries(optimizers, key, values)
    if len(entries) * rates * starts > _MOST_TRAJECTORIES:
        raise OptionError(
            f"{len(entries)} optimizers x {rates} rates x {starts} starts are more than {_MOST_TRAJECTORIES} paths; "
            "try fewer."
        )
    record = SearchRecord(
        name,
        surface,
        learning_rates(lowest, highest, rates),
        starts_of(surface, starts, seed),
        steps,
        seed,
        tuple(entries),
        key,
        tuple(map(repr, values)),
    )
    with one_thread():
        for entry in entries:  # what is wrong with an option is said before anything takes long
            dry_run(entry.spec, surface, record.rates)
    return ExplorationPlan(record)


def _swept(sweep: Mapping[str, Sequence[Any]]) -> tuple[str | None, list[Any]]:
    """The hyperparameter that is swept, and its values."""
    if not sweep:
        return None, []
    example = "sweep={'alpha': [0.5, 0.9, 0.99]}"
    if not isinstance(sweep, Mapping):
        raise OptionError(f"sweep {shown(sweep)}: give a hyperparameter with its values, {example}.")
    if len(sweep) > 1:
        raise OptionError(f"One hyperparameter can be swept at a time, not {', '.join(sweep)}.")
    ((key, values),) = sweep.items()
    if key == "lr":
        raise OptionError("A sweep is for a hyperparameter other than lr; the number of rates sets the learning rates.")
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
        raise OptionError(f"The sweep of {key} is {shown(values)}: give a list of values, {example}.")
    if not len(values):
        raise OptionError(f"The sweep of {key} has no values.")
    if len(set(map(repr, values))) < len(values):
        raise OptionError(f"The sweep of {key} has a value twice.")
    return key, list(values)


def _entries(optimizers: OptimizerLike, key: str | None, values: Sequence[Any]) -> list[Entry]:
    """Each optimizer once, or if it has the swept hyperparameter once for each value."""
    entries: list[Entry] = []
    known: set[str] = set()
    for spec in specs_of(optimizers, None, _ANY_RATE):
        if "lr" in spec.given:
            raise OptionError(f"{spec.label}: every optimizer is tried with all learning rates; leave lr out.")
        own = option_names(spec.factory)
        known.update(own)
        if key is None or key not in own:
            entries.append(Entry(spec, (), spec.label))
            continue
        if key in spec.given:
            raise OptionError(f"{spec.label}: {key} is swept; leave it out here.")
        entries += [Entry(_with(spec, key, value), (), spec.label, repr(value)) for value in values]
    if key is not None and key not in known:
        raise OptionError(f"None of the optimizers has an option {key!r} to sweep. {nearest(key, known - {'lr'})}")
    return entries


def _with(spec: OptimizerSpec, key: str, value: Any) -> OptimizerSpec:
    joint = "," if spec.given else "" if spec.label.endswith(":") else ":"
    return replace(spec, label=f"{spec.label}{joint}{key}={value!r}", given={**spec.given, key: value})
