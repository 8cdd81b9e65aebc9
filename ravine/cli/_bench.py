"""``ravine bench``: what is measured, on which device.

What needs more than torch, NumPy, click and rich is imported where it is used: a machine with a GPU may have no more, and Triton.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from ravine._bench.cases import CASES
from ravine.cli._bench_options import BenchOptions
from ravine.cli._options import WholeInRange
from ravine.cli._screen import say
from ravine.errors import OptionError

DTYPES = ("float32", "float64", "bfloat16", "float16")


_WITHOUT_TASK = "does not go with a task: leave one of them out"


@click.command()
@click.argument("task", required=False)
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where to step; cuda has cases of its own."
)
@click.option(
    "--elements", type=WholeInRange(min=1 << 16), help="Elements of the large case on a GPU; default: 1,073,741,824."
)
@click.option(
    "--case",
    "cases",
    multiple=True,
    metavar="NAME",
    help=f"Time only this case ({', '.join(CASES)}); repeat it for more.",
)
@click.option(
    "-o",
    "--optimizer",
    "optimizers",
    multiple=True,
    metavar="NAME",
    help="Time only this optimizer; repeat it for more.",
)
@click.option("--all", "every", is_flag=True, help="Every optimizer and every case, also those that must be asked for.")
@click.option("--dtype", type=click.Choice(DTYPES), help="Of parameters and gradients; default: float32.")
@click.option("--threads", type=WholeInRange(min=1), help="Threads of a step; default: torch's number.")
@click.option(
    "--rounds",
    type=WholeInRange(min=1),
    help="How often the candidates take turns; with --first-step, how many processes start.",
)
@click.option("--compile", "with_compile", is_flag=True, help="Also time torch.compile, which takes long to compile.")
@click.option("--first-step", is_flag=True, help="Time the first step of fresh processes instead.")
@click.option("--endurance", is_flag=True, help="Make 10,000 steps instead, each with a new learning rate.")
@click.option("--watch", "watching", is_flag=True, help="Time the cost of watching and clipping instead.")
@click.option("--targets", is_flag=True, help="Compare the figures with the targets; exit with 1 if one is missed.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
def command(task: str | None, device: str, elements: int | None, **chosen: Any) -> None:
    """Time optimizer steps against torch and the memory limit.

    With a TASK (a name, or a file of your own), time whole training steps instead: the optimizer's share of a step on this
    machine, and how much faster or slower torch's optimizer would make it.

    The candidates take turns in one run: Ravine's step, torch's default, foreach and fused steps, and the memory
    limit (``mul_`` in place). With --targets and nothing else chosen, step times, first steps and endurance
    all run.
    """
    options = BenchOptions(**chosen)
    if options.json_file and not options.json_file.parent.is_dir():
        raise OptionError(f"--json {options.json_file}: there is no folder {options.json_file.parent}")
    if task in CASES:
        raise OptionError(f"{task} is a case, not a task: ravine bench --case {task}")
    if task:
        for name, given in (("device", device != "cpu"), ("elements", elements)):
            if given:
                raise OptionError(f"--{name} {_WITHOUT_TASK}")
        measured = "cases", "dtype", "with_compile", "first_step", "endurance", "watching", "targets"
        options.refuse(*measured, why=_WITHOUT_TASK)
        from ravine.cli import _cpu_bench

        _cpu_bench.of_task(task, options)
        return
    if device == "cuda":
        of_cpu = "cases", "dtype", "threads", "rounds", "with_compile", "first_step", "endurance", "watching"
        options.refuse(*of_cpu, why="is for --device cpu: leave it out here")
        _on_gpu(elements, options)
        return
    if elements:
        raise OptionError("--elements is for --device cuda: leave it out here")
    from ravine.cli import _cpu_bench

    _cpu_bench.run(options)


def _on_gpu(elements: int | None, options: BenchOptions) -> None:
    """All cases of a GPU, line by line."""
    from ravine._bench import gpu_bench

    rows, verdicts = gpu_bench.run(options.optimizers, elements, lambda text: say(text))
    for text in gpu_bench.verdict_lines(verdicts):
        say(text)
    if options.json_file:
        options.json_file.write_text(json.dumps(gpu_bench.as_json(rows, verdicts), indent=1) + "\n", encoding="utf-8")
    if options.targets and any(verdict.met is False for verdict in verdicts):
        sys.exit(1)
