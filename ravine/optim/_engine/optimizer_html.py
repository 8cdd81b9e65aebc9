"""An optimizer in a notebook: its formula as mathematics, and the numbers of each group."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from ravine._plotting.notebook_html import drawn, html_rows, output, paragraph, scrolling
from ravine.formula import Program
from ravine.formula._mathml import formula_mathml
from ravine.formula._plain_text import formula_lines
from ravine.optim._hyperparameters import TORCH_ONLY

_GROUPS, _FORMULAS = 8, 4  # that are shown at most


def optimizer_html(optimizer: Any) -> str:
    """The size in words, each formula once with the groups that have it, and a column of numbers for each group."""
    groups = optimizer.param_groups
    formulas: dict[str, tuple[Program, list[str]]] = {}
    read: set[str] = set()  # the hyperparameters that some formula reads
    for i, group in enumerate(groups):
        for ndim, program in optimizer._programs(group, f" (parameter group {i})").items():
            where = f"group {i}" if ndim is None else f"group {i}, {ndim} dimension{'s' * (ndim != 1)}"
            formulas.setdefault("\n".join(formula_lines(program)), (program, []))[1].append(where)
            read |= {hyper.partition("[")[0] for hyper in program.hypers}  # betas[0] is a number of betas
    shown = list(formulas.values())
    parts = []
    for program, places in shown[:_FORMULAS]:
        if len(shown) > 1:
            parts.append(paragraph(f"{', '.join(places[:_GROUPS])}{' …' * (len(places) > _GROUPS)}:", soft=False))
        # without a math font small signs are hard to read at the size of text
        maths = f'<div style="overflow:auto hidden;font-size:1.05em;padding:.3em 0">{_inline(program)}</div>'
        parts.append(drawn(maths, "\n".join(formula_lines(program))))
    if len(shown) > _FORMULAS:
        parts.append(paragraph(f"… and {len(shown) - _FORMULAS} formulas more: print(optimizer) shows all."))
    parts.append(_numbers(groups, read))
    parts.append(paragraph(str(optimizer._storage)))
    return output(_size_text(type(optimizer).__name__, groups), *parts)


def _size_text(name: str, groups: Sequence[dict[str, Any]]) -> str:
    size = sum(p.numel() for group in groups for p in group["params"])
    tensors = sum(len(group["params"]) for group in groups)
    many = f" in {len(groups)} groups" if len(groups) > 1 else ""
    return f"{name}: {size:,} numbers in {tensors:,} tensor{'s' * (tensors != 1)}{many}"


def _numbers(groups: Sequence[dict[str, Any]], read: Set[str]) -> str:
    """A row for each name that a formula reads, and for each option that differs between groups; the others in words."""
    hidden = ("params", "param_names", *TORCH_ONLY)
    names = list(dict.fromkeys(k for group in groups for k in group if k not in hidden))
    different = [k for k in names if len({str(group.get(k)) for group in groups}) > 1]
    listed = [k for k in names if k in read or k in different]
    few = groups[:_GROUPS]
    heads = ["", *(f"group {i}" for i in range(len(few)))] if len(groups) > 1 else ["hyperparameter", "value"]
    rows = [[k, *(_text(group.get(k)) for group in few)] for k in listed]
    if len(groups) > 1:
        rows.append(["numbers", *(f"{sum(p.numel() for p in group['params']):,}" for group in few)])
    rest = ", ".join(f"{k}={groups[0].get(k)}" for k in names if k not in listed) if groups else ""
    more = f"… and {len(groups) - _GROUPS} groups more." if len(groups) > _GROUPS else ""
    table = scrolling(html_rows(heads, rows)) if rows else ""
    return table + paragraph(more) + paragraph(f"Options that do not change from step to step: {rest}" if rest else "")


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _inline(program: Program) -> str:
    """The formula at the left edge, where the texts begin, and not in the middle."""
    return formula_mathml(program).replace('<math display="block" ', "<math ", 1)
