"""An optimizer and its parameters in words: for errors, for ``print(optimizer)`` and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ravine._fallback_characters import printable
from ravine._whole_numbers import count
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


def optimizer_text(optimizer: Any) -> str:
    """An optimizer: the size, formula and options of each group, and how states are kept."""
    lines = [f"{type(optimizer).__name__} ("]
    for i, group in enumerate(optimizer.param_groups):
        size = sum(p.numel() for p in group["params"])
        lines.append(f"Parameter Group {i}: {count(size, 'number')} in {count(len(group['params']), 'tensor')}")
        for ndim, program in (some := optimizer._programs(group, f" (parameter group {i})")).items():
            if len(some) > 1:
                lines.append(f"  Parameters of {ndim} dimension{'s' * (ndim != 1)}:")
            lines += [f"    {line}" for line in formula_lines(program)]
        shown = {k: v for k, v in sorted(group.items()) if k not in ("params", "param_names", *TORCH_ONLY)}
        lines.append("    " + ", ".join(f"{k}={v}" for k, v in shown.items()))
    storage = str(optimizer._storage)
    return printable("\n".join([*lines, *([storage] if storage else []), ")"]))


def optimizer_in_notebook(optimizer: Any) -> str:
    """The same as HTML, with its formula as mathematics."""
    from ravine.optim._engine.optimizer_html import optimizer_html  # which training does not need

    return optimizer_html(optimizer)
