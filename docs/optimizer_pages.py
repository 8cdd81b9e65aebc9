"""A page for each named optimizer, made from its class: `conf.py` writes them before Sphinx reads.

What stands there is declared in the optimizer's file: its formula, signature, paper, advice, states. The picture is its path
down the ravine at the rate that it declares for that.
"""

from __future__ import annotations

import functools
import inspect
from pathlib import Path

import torch

from ravine._plotting.style import blank, png, tidy
from ravine.contour._contour_panel import NamedTrajectory, panel
from ravine.contour._plot_data import SurfaceGrid
from ravine.contour._search_record import grid
from ravine.contour._trajectories import follow
from ravine.formula import Program
from ravine.formula._mathml import formula_mathml
from ravine.formula._pieces import Reduced
from ravine.optim import Optimizer
from ravine.optim import _registry as registry
from ravine.optim._spec import parse
from ravine.tasks import Surface, find

#: Steps of a path, and the rate of an optimizer that declares none for the ravine.
STEPS, RATE = 60, 0.1


def page(cls: type[Optimizer], picture: str) -> str:
    """The text of an optimizer's page."""
    name = cls.__name__.lower()
    title, _, _ = (inspect.getdoc(cls) or "").partition("\n")
    optimizer = cls([torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(2))], **_rate(cls))
    programs = optimizer._programs(optimizer.param_groups[0])
    lines = [f"# {cls.__name__}", "", title.replace("``", "`"), ""]
    for ndim, program in programs.items():
        if len(programs) > 1:
            lines += [f"Of parameters with {ndim} dimension{'s' * (ndim != 1)}:", ""]
        lines += [f'<div class="formula">{formula_mathml(program)}</div>', ""]
    lines += ["θ is the parameter, g its gradient, u the update, t the number of the step.", ""]
    lines += ["## When to take it", "", cls.advice, "", f"Paper: {cls.reference}.", ""]
    lines += ["## State", "", _states(programs), ""]
    lines += ["## Down the ravine", "", f"![The path of {cls.__name__} down the ravine]({picture})", ""]
    lines += [f"`ravine contour ravine -o {name}` follows it from other starts and at other rates.", ""]
    lines += [
        "## Signature",
        "",
        f"`ravine show {name}` prints it on a terminal, with the kernel if you ask for it.",
        "",
    ]
    lines += [
        "```{eval-rst}",
        f".. autoclass:: ravine.optim.{cls.__name__}",
        "   :no-members:",
        "   :no-index:",
        "```",
        "",
    ]
    return "\n".join(lines)


def _rate(cls: type[Optimizer]) -> dict[str, float]:
    lr = inspect.signature(cls).parameters.get("lr")
    return {"lr": 0.1} if lr is not None and lr.default is lr.empty else {}


def _states(programs: dict[int | None, Program]) -> str:
    """What is kept, and how many bytes of it a float32 parameter has."""
    said = []
    for ndim, program in programs.items():
        each = [name for name, initial in program.states.items() if not isinstance(initial, Reduced)]
        lines = [name for name in program.states if name not in each]
        text = f"{4 * len(each)} bytes for each float32 element" + (
            f" ({', '.join(f'`{n}`' for n in each)})" if each else ""
        )
        if lines:
            text += f"; a number for each row or column: {', '.join(f'`{n}`' for n in lines)}"
        if program.tensors:
            text += f"; matrices of their own: {', '.join(f'`{n}`' for n in program.tensors)}"
        if program.kept:
            per = {"tensor": "parameter", "group": "group"}
            text += "; one number: " + ", ".join(f"`{n}` for each {per[k.per]}" for n, k in program.kept.items())
        reads = len(program.passes) - 1
        text += f". {'One pass' if not reads else f'{reads + 1} passes'} over memory."
        said.append(text if len(programs) == 1 else f"With {ndim} dimension{'s' * (ndim != 1)}: {text}")
    return "\n\n".join(said)


@functools.cache
def _ravine() -> tuple[Surface, SurfaceGrid]:
    task = find("ravine")
    assert task.surface is not None
    xs, ys, values = grid(task.surface)
    return task.surface, SurfaceGrid(xs, ys, values, task.surface.start, task.surface.minimum)


def draw(cls: type[Optimizer], file: Path) -> None:
    """The path of an optimizer down the ravine, as a picture."""
    surface, heights = _ravine()
    lr = cls.rates.get("ravine", RATE)
    ((path,),) = follow(parse(cls.__name__.lower()), surface, (lr,), (surface.start,), STEPS)
    figure = blank(6.4, 3.6)
    axes = figure.add_subplot()
    panel(axes, heights, [NamedTrajectory(f"{cls.__name__}, lr {lr:g}", path.points, diverged_at=path.diverged_at)])
    axes.set_title(f"{cls.__name__} on the ravine, {STEPS} steps at lr {lr:g}", fontsize=9, loc="left")
    tidy(axes)
    file.write_bytes(png(figure))


def write_pages(folder: Path) -> list[str]:
    """Write the pages and pictures that are not there or are of another version; the names of all pages."""
    folder.mkdir(exist_ok=True)
    names = []
    for cls in registry.classes():
        name = cls.__name__.lower()
        names.append(name)
        text = page(cls, f"{name}.png")
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text or not path.with_suffix(".png").exists():
            path.write_text(text, encoding="utf-8")
            draw(cls, path.with_suffix(".png"))
    for old in folder.glob("*.*"):
        if old.stem not in names:
            old.unlink()
    return names
