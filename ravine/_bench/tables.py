"""The results as tables for the terminal and as JSON."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from ravine._bench.candidates import COMPILE, TORCH
from ravine._bench.cases import CASES
from ravine._bench.endurance import Endurance
from ravine._bench.first_step import FirstStep
from ravine._bench.step_times import Row
from ravine._bench.targets import Verdict
from ravine._bench.watching import Watching
from ravine._bench.whole_step import WholeStep


def duration(seconds: float | None) -> str:
    """Three digits and a unit: ``18.2 ms``; a dash for None."""
    if seconds is None:
        return "-"
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns")):
        value = seconds * factor
        # 0.9995 would be written as 1.00, so it belongs to the larger unit
        if value >= 0.9995 or unit == "ns":
            break
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"


def _times(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.{2 if figure < 9.995 else 1}f}"


def _table(title: str, *headers: str, words: int = 1, caption: str | None = None) -> Table:
    """A table whose first ``words`` columns are words, and the rest figures."""
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index >= words else "left", no_wrap=True)
    return table


def whole_step_table(times: WholeStep) -> Table:
    """A training step in its parts: who steps, a line each."""
    parts = list(next(iter(times.seconds.values())))
    threads = f"{times.threads} thread{'s' * (times.threads != 1)}"
    title = f"a batch of {times.task}: {times.parameters:,} parameters in {times.tensors} tensors, {threads}"
    table = _table(title, "", *parts, "whole", "gain")
    for who, seconds in times.seconds.items():
        name = who if who == "ravine" else f"torch, {who}"
        gain = "" if who == "ravine" else _times(times.gain(who))
        table.add_row(name, *(duration(seconds[part]) for part in parts), duration(times.whole(who)), gain)
    return table


def step_table(rows: Sequence[Row]) -> Table:
    """The step times on one case: an optimizer a line."""
    with_compile = any(COMPILE in row.timings or COMPILE in row.failures for row in rows)
    ways = [*TORCH, COMPILE] if with_compile else list(TORCH)
    rates = [row.stream_rate for row in rows if row.stream_rate]
    lines = [f"{row.optimizer}, {way}: {why}" for row in rows for way, why in row.failures.items()]
    if rates:
        lines.insert(0, f"memory stream: {statistics.median(rates) / 1e9:.1f} GB/s")
    for row in rows:
        if (products := row.figures["matrix products"]) is not None:
            lines.append(f"{row.optimizer}: matrix products are {products:.0%} of the step")
        if (share := row.figures["share of the dense step"]) is not None:
            lines.append(f"{row.optimizer}: {share:.2%} of the time that a step on a whole gradient takes")
    restless = [row.optimizer for row in rows if not row.steady]
    if restless:
        lines.append(f"the machine was busy, and these are not to be relied on: {', '.join(restless)}")
    title = CASES[rows[0].case].title
    headers = ("optimizer", "ravine", "±", *ways, "× best", "× fused", "limit ×")
    table = _table(title, *headers, caption=escape("\n".join(lines)) or None)
    for row in rows:
        cells = [
            "failed" if way in row.failures else duration(row.timings[way].median if way in row.timings else None)
            for way in ways
        ]
        ours = row.timings["ravine"]
        figures = [_times(row.figures[name]) for name in ("best of torch", "torch fused", "stream limit")]
        table.add_row(row.optimizer, duration(ours.median), f"{ours.spread:.0%}", *cells, *figures)
    return table


STEP_LEGEND = (
    "default, foreach, fused, compile: torch's. × best: the best of the first three over ravine's time;\n"
    "× fused: torch fused over ravine's time; higher is better. ±: interquartile range of ravine's time.\n"
    "limit ×: ravine's time over what its bytes take at the memory stream's rate; 1 is the limit."
)


def first_step_table(results: Sequence[FirstStep]) -> Table:
    """The first step of fresh processes."""
    table = _table("First step, imports not counted", "optimizer", "empty cache", "warm cache")
    for result in results:
        table.add_row(result.optimizer, duration(result.empty), duration(result.warm))
    return table


def endurance_table(results: Sequence[Endurance]) -> Table:
    """The long runs."""
    title = f"{results[0].steps:,} steps, a new learning rate at each"
    table = _table(title, "optimizer", "a step", "kernels compiled", "memory before", "after", "blocks")
    for r in results:
        memory = ["-" if b is None else f"{b / 2**20:.1f} MiB" for b in (r.resident_before, r.resident_after)]
        table.add_row(r.optimizer, duration(r.seconds), str(r.kernels), *memory, f"{r.blocks:+d}")
    return table


def watching_table(results: Sequence[Watching]) -> Table:
    """Watching and clipping: an optimizer on a case a line."""
    headers = ("case", "optimizer", "off", "on", "on / off", "clip", "torch's", "× torch's")
    table = _table("Watching and clipping", *headers, words=2, caption=WATCHING_LEGEND)
    for r in results:
        off, on, clip, theirs = (duration(r.timings[k].median) if k in r.timings else "-" for k in _WATCHING)
        ratio = r.figures["watch on / off"]
        cells = ["-" if ratio is None else f"{ratio:.3f}", clip, theirs, _times(r.figures["torch's clipping / ours"])]
        table.add_row(r.case, r.optimizer, off, on, *cells)
    return table


_WATCHING = ("off", "on", "clip", "torch")
WATCHING_LEGEND = (
    "off, on: a step without and with the watch. clip: with clip_norm, watch on.\n"
    "torch's: clip_grad_norm_, then the fastest of torch's steps.\n"
    "fit: a batch of learn.fit on the MLP, watch and recorder on against both off."
)


def target_table(verdicts: Sequence[Verdict]) -> Table:
    """A line for each target that holds, with the figure nearest to missing it; one for each figure that misses."""
    table = _table("Targets (float32, 2 threads)", "case", "figure", "target", "optimizer", "measured", "", words=4)
    table.columns[-1].justify = "left"
    for target, group in itertools.groupby(verdicts, key=lambda verdict: verdict.target):
        bound = f"{'at most' if target.at_most else 'at least'} {target.bound:g}"
        held = [v for v in group if v.value is not None and v.optimizer is not None]
        held.sort(key=lambda v: v.value or 0.0, reverse=target.at_most)
        missed = [v for v in held if not v.met]
        for v in missed or held[:1]:
            word = "met" if len(held) == 1 else f"all {len(held)} met"
            if missed:
                word = "[bold]MISSED[/bold]"
            elif not target.beaten(v.value or 0.0):
                word = "met (a tie)"
            table.add_row(target.case, target.figure, bound, v.optimizer, f"{v.value:.3g}", word)
        if not held:
            who = ", ".join(target.names) or "every one"
            table.add_row(target.case, target.figure, bound, who, "-", "not run")
    return table


def as_json(
    machine: Mapping[str, object],
    dtype: str,
    rows: Sequence[Row],
    first_steps: Sequence[FirstStep],
    endurances: Sequence[Endurance],
    watchings: Sequence[Watching],
    verdicts: Sequence[Verdict],
) -> dict[str, Any]:
    """Everything that was measured, for ``json.dump``: times in seconds, memory in bytes, rates in bytes/s."""
    return {
        "machine": dict(machine),
        "dtype": dtype,
        "steps": [{**asdict(row), "figures": row.figures} for row in rows],
        "first_step": [{**asdict(result), "figures": result.figures} for result in first_steps],
        "endurance": [{**asdict(run), "figures": run.figures} for run in endurances],
        "watching": [{**asdict(result), "figures": result.figures} for result in watchings],
        "targets": [{**asdict(verdict), "met": verdict.met} for verdict in verdicts],
    }
