"""State dicts in full precision: narrow states as float32, and parameters with what is kept beside them.

The parameter itself stands there as the state ``"param"``, which no formula keeps: loading such a dict sets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.backends._eight_bits import SCALES, decoded, is_code
from ravine.backends._sharded import part
from ravine.formula._compensation import LOW, REST, rests_of, split, whole
from ravine.formula._rounding import KEY

#: The name of a parameter among its states.
PARAM = "param"


def full_precision(tree: dict[str, Any], groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A state dict whose states of 16 and 8 bits are float32, and without what only narrow ones have.

    Args:
        tree: the state dict.
        groups: the optimizer's groups, whose parameters it is of.
    """
    params: dict[Any, Tensor] = {}
    for saved, group in zip(tree["param_groups"], groups, strict=True):
        params.update(zip(saved["params"], group["params"], strict=True))
    state = {i: _full(kept, params.get(i)) for i, kept in tree["state"].items()}
    return {**tree, "state": state}


def _full(kept: Mapping[str, Any], p: Tensor | None) -> dict[str, Any]:
    codes = {n for n, value in kept.items() if n + SCALES in kept and is_code(value.dtype)}
    left_out = {KEY, REST, LOW, *(n + SCALES for n in codes)}
    made = {
        n: decoded(value, kept[n + SCALES])
        if n in codes
        else value.float()
        if isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
        else value
        for n, value in kept.items()
        if n not in left_out
    }
    if REST in kept and p is not None:
        made[PARAM] = in_full(p, kept)
    return made


@torch.no_grad()
def in_full(p: Tensor, kept: Mapping[str, Any]) -> Tensor:
    """A parameter with its compensation, float32."""
    made = torch.empty_like(p.detach(), dtype=torch.float32)
    part(made).copy_(whole(part(p).detach(), {name: part(kept[name]) for name in (REST, LOW) if name in kept}))
    return made


def given_params(state: Mapping[Any, Any], groups: Sequence[Mapping[str, Any]]) -> list[tuple[Tensor, Tensor]]:
    """The parameters that a state to be loaded holds, each with what it is to become; they are taken out of it."""
    found = []
    for p in (p for group in groups for p in group["params"]):
        value = state[p].pop(PARAM, None) if isinstance(state.get(p), dict) else None
        if isinstance(value, Tensor):
            found.append((p, value))
    return found


@torch.no_grad()
def set_params(given: Sequence[tuple[Tensor, Tensor]], state: Mapping[Any, Any], param_bits: object) -> None:
    """Give parameters their values; bfloat16 ones that have compensation get that as well."""
    for p, value in given:
        rests = rests_of(param_bits) if p.dtype is torch.bfloat16 else ()
        if not rests:
            p.copy_(value)
            continue
        parts = split(part(value).float(), rests)
        part(p).copy_(parts.pop("param"))
        for name, rest in parts.items():
            state[p][name] = torch.empty_like(p.detach(), dtype=torch.int8)
            part(state[p][name]).copy_(rest)
