"""``ravine bench`` on the CPU: step times, first steps, endurance, watching, and whole training steps."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TypeVar

import torch
from rich.console import Console
from rich.measure import Measurement
from rich.progress import Progress
from rich.table import Table

from ravine._bench import tables
from ravine._bench.cases import CASES, find_cases, find_configurations, takes
from ravine._bench.endurance import Endurance, endure
from ravine._bench.first_step import FirstStep, time_first_step
from ravine._bench.machine import facts
from ravine._bench.step_times import Row, time_steps
from ravine._bench.targets import TARGETS, THREADS, evaluate
from ravine._bench.watching import Watching, time_fit, time_watching
from ravine._bench.whole_step import time_whole_steps
from ravine._plotting.progress_lines import ProgressLines
from ravine._plotting.terminal_tables import table
from ravine.cli._bench_options import BenchOptions
from ravine.cli._screen import say
from ravine.comparison._judge.number_text import count
from ravine.errors import OptionError
from ravine.optim._spec import parse
from ravine.tasks import find
from ravine.tasks._dry_run import dry_run, threads_for

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")


def run(options: BenchOptions) -> None:
    """What the options ask for."""
    chosen = find_configurations(options.optimizers, options.every)
    first_step, endurance, watching = options.first_step, options.endurance, options.watching
    stepping = not (first_step or endurance or watching)
    if not stepping:  # first steps and endurance have one case, and all but steps one dtype
        unused = ["dtype", "with_compile"]
        unused += ([] if watching else ["cases"]) + ([] if first_step or watching else ["rounds"])
        options.refuse(*unused, why="is for step times: leave it out here")
    if options.targets and stepping:
        first_step = endurance = watching = True
    if options.targets and options.dtype not in (None, "float32"):
        raise OptionError(f"the targets are for float32, not {options.dtype}: leave out --targets or --dtype")
    cases = options.cases
    if (options.targets or watching) and not cases:
        cases = tuple({target.case: None for target in TARGETS if target.case in CASES})
    to_time = find_cases(cases, options.every)
    dtype, rounds = options.dtype or "float32", options.rounds

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(
            width=100, highlight=False
        )  # a file or a pipe has no width, and these tables need more than 80
    rows: list[Row] = []
    first: list[FirstStep] = []
    long: list[Endurance] = []
    watched: list[Watching] = []
    with _threads(options.threads):
        machine = facts()
        console.print(f"{machine['cpu']}, {count(torch.get_num_threads(), 'thread')}, torch {machine['torch']}")
        for case in to_time if stepping else []:
            how = {"dtype": getattr(torch, dtype), "rounds": rounds, "with_compile": options.with_compile}
            time_one = partial(time_steps, case, **how)
            fitting = [one for one in chosen if takes(one, case)]
            if not fitting:
                console.print(f"{case.title}: none of these optimizers steps rows alone")
                continue
            timed = _each(fitting, time_one, f"{case.title}: {{}}")
            rows += timed
            _print(console, tables.step_table(timed))
        if rows:
            console.print(tables.STEP_LEGEND)
        if first_step:
            # Each round of these takes seconds: the rounds of step times are not theirs.
            processes = 1 if stepping else rounds or 1
            first = _each(chosen, partial(time_first_step, rounds=processes), "first step: {}")
            _print(console, tables.first_step_table(first))
        if endurance:
            long = _each(chosen, endure, "endurance: {}")
            _print(console, tables.endurance_table(long))
        if watching:
            for case in to_time:
                fitting = [one for one in chosen if takes(one, case)]
                watched += _each(fitting, partial(time_watching, case, rounds=rounds), f"watch, {case.title}: {{}}")
            watched += _each([None], lambda _: time_fit(rounds=rounds), "watch, fit")
            _print(console, tables.watching_table(watched))
    verdicts = evaluate([*rows, *first, *long, *watched]) if options.targets else []
    if options.targets:
        _print(console, tables.target_table(verdicts))
        if machine["threads"] != THREADS:
            console.print(f"The targets are for {count(THREADS, 'thread')}; this was {machine['threads']}.")
    if options.json_file:
        figures = tables.as_json(machine, dtype, rows, first, long, watched, verdicts)
        options.json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if any(verdict.met is False for verdict in verdicts):
        sys.exit(1)


def of_task(name: str, options: BenchOptions) -> None:
    """The optimizer's share of a training step."""
    task = find(name)
    specs = [parse(label, task.name) for label in options.optimizers or ("rmsprop",)]
    console = Console(highlight=False)
    results = []
    for spec in specs:
        operations = dry_run(task, spec)
        with _threads(options.threads or threads_for(operations)):
            results.append(time_whole_steps(task, spec, rounds=options.rounds))
        say(results[-1].sentence)
        _print(console, tables.whole_step_table(results[-1]))
    if options.json_file:
        rows = [asdict(one) | {"share": {who: one.share(who) for who in one.seconds}} for one in results]
        options.json_file.write_text(json.dumps({"machine": facts(), "tasks": rows}, indent=1) + "\n", encoding="utf-8")


def _print(console: Console, made: Table) -> None:
    """A table; where the terminal is too narrow for it, with its cells broken between words, or below each other."""
    needed = Measurement.get(console, console.options.update(max_width=1000), made).maximum
    if needed <= console.width:
        console.print(made)
        return
    rows = [[str(cell) for cell in cells] for cells in zip(*(column.cells for column in made.columns), strict=True)]
    heads = [str(column.header) for column in made.columns]
    console.print(table(heads, rows, str(made.title or "")))
    if made.caption:
        console.print(made.caption)


def _each(chosen: Sequence[_Thing], measure: Callable[[_Thing], _Result], label: str) -> list[_Result]:
    """Measure one after the other, with a progress bar on standard error, or now and then a line if that is no terminal."""
    console = Console(stderr=True)
    results: list[_Result] = []
    lines = ProgressLines()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(chosen))
        for configuration in chosen:
            title = label.format(getattr(configuration, "label", ""))
            progress.update(task, description=title)
            if not console.is_terminal and lines.due():
                say(f"{title} ({len(results) + 1} of {len(chosen)})", err=True)
                lines.written()
            results.append(measure(configuration))
            progress.advance(task)
    return results


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Let torch, and so everything that is timed, use this many threads."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(number or before)
        yield
    finally:
        torch.set_num_threads(before)
