"""``ravine show NAME``: an optimizer as it runs, printed from its program; also the user's own from a file."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ravine.errors import OptionError

if TYPE_CHECKING:
    from ravine.formula import Program
    from ravine.optim import Optimizer
    from ravine.optim._spec import OptimizerSpec


_HELP = """Print an optimizer's formula, hyperparameters, state, bytes moved, source and kernel.

NAME is an optimizer of ravine.optim, or your own: FILE.py:NAME. Options follow as in the other commands:
rmsprop:centered=True,momentum=0.9.
"""


@click.command(help=_HELP)
@click.argument("name")
@click.option("--kernel", is_flag=True, help="Also print the code that is generated from the formula.")
@click.option("--assembly", is_flag=True, help="Also print what LLVM makes of it on this processor.")
def command(name: str, kernel: bool, assembly: bool) -> None:
    from ravine.optim import _registry as registry
    from ravine.optim._spec import parse

    spec = parse(name)
    optimizer = _build(spec)
    program = optimizer.program()
    console = Console(highlight=False)
    cls = type(optimizer)
    place = spec.code or f"{cls.__module__}.{cls.__qualname__}"
    source = cls.reference if spec.code else registry.lookup(spec.name).source
    console.print(f"[bold]{cls.__name__ if spec.code else spec.name}[/]  ({place})", soft_wrap=not console.is_terminal)
    console.print(f"Source: {source or 'no paper is named'}\n", soft_wrap=not console.is_terminal, markup=False)
    _print_formula(console, program)
    _print_hyperparameters(console, optimizer, program, "value" if spec.given else "default")
    _print_memory(console, program)
    if kernel or assembly:
        _print_kernels(console, program, assembly)


def _build(spec: OptimizerSpec) -> Optimizer:
    """The optimizer, of one parameter."""
    import torch

    from ravine.optim import Optimizer
    from ravine.optim._signature import option_parameters

    if not (isinstance(spec.factory, type) and issubclass(spec.factory, Optimizer)):
        raise OptionError(f"{spec.label} is an optimizer of torch's kind: it has no formula that could be shown.")
    lr = option_parameters(spec.factory).get("lr")
    if lr is not None and lr.default is lr.empty:  # the formula is the same for every rate
        spec = replace(spec, supplied={"lr": 1e-2, **spec.supplied})
    optimizer = spec.build([torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimizer, Optimizer)
    return optimizer


def _print_formula(console: Console, program: Program) -> None:
    from ravine.formula._plain_text import formula_lines

    legend = "θ parameter, g gradient, u update, t step; all operations per element"
    console.print(f"[bold]Formula[/]  {legend}", soft_wrap=not console.is_terminal)
    for line in formula_lines(program):
        console.print(
            Padding(Text(line), (0, 0, 0, 4)) if console.is_terminal else Text(f"    {line}"),
            soft_wrap=not console.is_terminal,
        )


def _print_hyperparameters(console: Console, optimizer: Optimizer, program: Program, values: str) -> None:
    from ravine.formula._notation import display_name

    table = Table(
        title="Hyperparameters",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 3, 0, 0),
    )
    for heading in ("name", "in the formula", values):
        table.add_column(heading)
    from ravine.optim._common import OF_GROUPS

    read: dict[str, list[str]] = {}
    for each in sorted(program.hypers):
        read.setdefault(each.partition("[")[0], []).append(display_name(each))
    formula = type(optimizer).formula or type(optimizer)
    choosing = {*inspect.signature(formula).parameters, "maximize", *OF_GROUPS}
    for name, value in {**optimizer.defaults, **optimizer.param_groups[0]}.items():
        if name in optimizer.defaults and name != "fused":
            role = "chooses the formula" if name in choosing else "not in this formula"
            table.add_row(name, ", ".join(read.get(name, [role])), str(value))
    console.print()
    console.print(table)


def _print_memory(console: Console, program: Program) -> None:
    states = ", ".join(
        f"{name} (starts at {value:g})" if isinstance(value, float) else f"{name} (starts as {value!r})"
        for name, value in program.states.items()
    )
    size = f"{4 * len(program.states)} bytes per float32 parameter"
    console.print(f"\n[bold]State[/]  {states or 'none'}: {size}", soft_wrap=not console.is_terminal)
    moved = program.traffic(dict.fromkeys(program.buffers, 4))
    final = program.passes[-1]
    detail = f"reads {', '.join(final.reads)}; writes {', '.join(final.writes)}"
    reading = len(program.passes) - 1
    extra = f", after {reading} reading pass{'es' * (reading > 1)} for norms" if reading else ""
    console.print(
        f"[bold]Memory[/]  {moved} bytes moved per float32 element and step: {detail}{extra}",
        soft_wrap=not console.is_terminal,
    )


def _print_kernels(console: Console, program: Program, with_assembly: bool) -> None:
    import torch

    from ravine.backends.cpu import kernel_source
    from ravine.backends.cpu._compiler import assembly

    dtypes = dict.fromkeys(program.buffers, torch.float32)
    for i in range(len(program.passes)):
        console.print("\n[bold]Numbers[/]  once a step, in double precision\n", soft_wrap=True)
        console.print(program.number_source(i), markup=False, soft_wrap=True)
        heading = "compiled to machine code; every thread takes chunks until none is left"
        console.print(f"\n[bold]Kernel[/]  {heading}\n", soft_wrap=True)
        source = kernel_source(program, i, dtypes)
        console.print(source, markup=False, soft_wrap=True)
        if with_assembly:
            console.print("\n[bold]Assembly[/]\n")
            console.print(assembly(source), markup=False, soft_wrap=True)
