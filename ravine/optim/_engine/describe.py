"""An optimizer and its parameters in words: for errors, and for ``print(optimizer)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ravine._fallback_characters import printable
from ravine.formula import Program
from ravine.formula._plain_text import formula_lines
from ravine.optim._hyperparameters import TORCH_ONLY


def describe(p: Tensor, groups: Sequence[dict[str, Any]], given: str | None) -> str:
    """A parameter: its name, or its place, and its shape.

    Args:
        p: the parameter.
        groups: the optimizer's groups.
        given: the name that it was given since.
    """
    if given is not None:
        return f"parameter {given!r} (shape {tuple(p.shape)})"
    for g, group in enumerate(groups):
        for i, q in enumerate(group["params"]):
            if q is p:
                name = repr(group["param_names"][i]) if "param_names" in group else f"{i} of group {g}"
                return f"parameter {name} (shape {tuple(p.shape)})"
    return f"a parameter of shape {tuple(p.shape)}"


def optimizer_text(
    name: str,
    groups: Sequence[dict[str, Any]],
    programs: Callable[[dict[str, Any], str], Mapping[int | None, Program]],
    storage: str,
) -> str:
    """An optimizer: the size, formula and options of each group, and how states are kept."""
    lines = [f"{name} ("]
    for i, group in enumerate(groups):
        size = sum(p.numel() for p in group["params"])
        lines.append(f"Parameter Group {i}: {size:,} numbers in {len(group['params'])} tensors")
        for ndim, program in (some := programs(group, f" (parameter group {i})")).items():
            if len(some) > 1:
                lines.append(f"  Parameters of {ndim} dimension{'s' * (ndim != 1)}:")
            lines += [f"    {line}" for line in formula_lines(program)]
        shown = {k: v for k, v in sorted(group.items()) if k not in ("params", "param_names", *TORCH_ONLY)}
        lines.append("    " + ", ".join(f"{k}={v}" for k, v in shown.items()))
    lines += [storage] if storage else []
    return printable("\n".join([*lines, ")"]))
