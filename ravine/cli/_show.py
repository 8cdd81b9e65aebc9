"""``ravine show NAME``: an optimizer as it runs, printed from its program; also the user's own from a file."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from ravine.errors import OptionError, nearest

if TYPE_CHECKING:
    from ravine.optim._registry import Named


_HELP = """Print an optimizer's formula, hyperparameters, state, bytes moved, source and kernel.

NAME is an optimizer of ravine.optim, or your own: FILE.py:NAME.
"""


@click.command(help=_HELP)
@click.argument("name")
@click.option("--kernel", is_flag=True, help="Print the code that is generated from the formula, too.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option that changes the formula: centered=True.",
)
def command(name: str, kernel: bool, settings: tuple[str, ...]) -> None:
    import torch

    from ravine.backends.cpu import kernel_source
    from ravine.formula._mathematics import formula_lines
    from ravine.formula._notation import display_name
    from ravine.optim._common import parameters_of

    found, file = _found(name)
    known = parameters_of(found.cls)
    options = (
        {"lr": 1e-2, **found.options}
        if "lr" in known and known["lr"].default is known["lr"].empty
        else dict(found.options)
    )
    options |= dict(_setting(s, list(known)) for s in settings)
    first = next(iter(inspect.signature(found.cls).parameters), None)  # the parameters
    open_kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [k for k, p in known.items() if p.default is p.empty and p.kind not in open_kinds and k != first]
    missing = [key for key in needed if key not in options]
    if missing:
        raise OptionError(f"{name} needs {', '.join(missing)}: {' '.join(f'--set {key}=...' for key in missing)}")
    optimizer = found.cls([torch.nn.Parameter(torch.zeros(1))], **options)
    program = optimizer.program()
    group = optimizer.param_groups[0]
    console = Console(highlight=False)

    place = file or f"{found.cls.__module__}.{found.cls.__qualname__}"
    console.print(f"[bold]{found.name}[/]  ({place})", soft_wrap=True)
    console.print(f"Source: {found.source or 'no paper is named'}\n", soft_wrap=True, markup=False)
    console.print(
        "[bold]Formula[/]  θ parameter, g gradient, u update, t step; all operations per element", soft_wrap=True
    )
    for line in formula_lines(program):
        console.print(f"    {line}", markup=False, soft_wrap=True)

    table = Table(
        title="Hyperparameters",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 3, 0, 0),
    )
    for heading in ("name", "in the formula", "value" if settings else "default"):
        table.add_column(heading)
    used = {n.partition("[")[0] for n in program.hypers}
    chooses = {*inspect.signature(found.cls.formula or found.cls).parameters, "maximize", "clip_norm", "ema_decay"}
    for key in (k for k in group if k != "params" and k != "fused"):
        symbol = "β₁, β₂" if key == "betas" else display_name(key)
        shown = symbol if key in used else "chooses the formula" if key in chooses else "not in this formula"
        table.add_row(key, shown, str(group[key]))
    console.print()
    console.print(table)

    itemsize = dict.fromkeys(program.buffers, 4)
    kept = ", ".join(
        f"{n} (starts at {v:g})" if isinstance(v, float) else f"{n} (starts as {v!r})"
        for n, v in program.states.items()
    )
    console.print(
        f"\n[bold]State[/]  {kept or 'none'}: {4 * len(program.states)} bytes per float32 parameter", soft_wrap=True
    )
    moved = program.traffic(itemsize)
    final = program.passes[-1]
    detail = f"reads {', '.join(final.reads)}; writes {', '.join(final.writes)}"
    extra = f", after {len(program.passes) - 1} reading pass(es) for norms" if len(program.passes) > 1 else ""
    console.print(f"[bold]Memory[/]  {moved} bytes moved per float32 element and step: {detail}{extra}", soft_wrap=True)
    if kernel:
        for i in range(len(program.passes)):
            console.print("\n[bold]Numbers[/]  once a step, in double precision\n", soft_wrap=True)
            console.print(program.number_source(i), markup=False, soft_wrap=True)
            console.print(
                "\n[bold]Kernel[/]  compiled by numba; every thread takes chunks until none is left\n", soft_wrap=True
            )
            console.print(
                kernel_source(program, i, dict.fromkeys(program.buffers, torch.float32)), markup=False, soft_wrap=True
            )


def _found(name: str) -> tuple[Named, str]:
    """The optimizer, and the file that it is from."""
    from ravine.optim import Optimizer
    from ravine.optim import _optimizer_file as own
    from ravine.optim import _registry as registry

    written = None if name.lower() in registry.names() else own.split(name)
    if written is None:
        return registry.lookup(name), ""
    if written.options:
        raise OptionError(f"{name}: give options by --set, such as --set {written.options.partition(',')[0]}")
    cls = own.load(written.file, written.name)
    if not issubclass(cls, Optimizer):
        raise OptionError(f"{name} is derived from torch.optim.Optimizer: it has no formula that could be shown.")
    return registry.Named(cls.__name__, cls, cls.reference), written.file


def _setting(text: str, known: list[str]) -> tuple[str, Any]:
    import ast

    key, equals, value = text.partition("=")
    if not equals:
        raise OptionError(f"--set {text}: write KEY=VALUE, such as --set centered=True")
    if key not in known or key == "params":
        raise OptionError(f"unknown option {key!r}. {nearest(key, [k for k in known if k != 'params'])}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        raise OptionError(f"--set {text}: {value!r} is not a number, True, False or a tuple of numbers") from None
