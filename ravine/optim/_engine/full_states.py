"""State dicts in full precision: narrow states as float32, and parameters with what is kept beside them.

The parameter itself stands there as the state ``"param"``, which no formula keeps: loading such a dict sets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.backends._eight_bits import SCALES, decode, is_code
from ravine.backends._sharded import layout, part
from ravine.errors import StateError
from ravine.formula._compensation import REST, split, whole
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
    left_out = {KEY, REST, *(n + SCALES for n in codes)}
    made = {
        n: decode(value, kept[n + SCALES])
        if n in codes
        else value.float()
        if isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
        else value
        for n, value in kept.items()
        if n not in left_out
    }
    if REST in kept and p is not None:
        made[PARAM] = in_full(p, kept[REST])
    return made


@torch.no_grad()
def in_full(p: Tensor, rest: Tensor) -> Tensor:
    """A parameter with its compensation, float32."""
    made = torch.empty_like(p.detach(), dtype=torch.float32)
    part(made).copy_(whole(part(p).detach(), part(rest), 8 * rest.itemsize))
    return made


def given_params(state: Mapping[Any, Any], groups: Sequence[Mapping[str, Any]]) -> list[tuple[Tensor, Tensor]]:
    """The parameters that a state to be loaded holds, each with what it is to become; they are taken out of it.

    Raises:
        StateError: one has another shape, or is split over processes otherwise.
    """
    found = []
    for p in (p for group in groups for p in group["params"]):
        value = state[p].pop(PARAM, None) if isinstance(state.get(p), dict) else None
        if value is None:
            continue
        if not isinstance(value, Tensor) or value.shape != p.shape or layout(value) != layout(p):
            raise StateError(
                f"the state dict has a parameter {tuple(getattr(value, 'shape', ()))} where this optimizer has one of shape "
                f"{tuple(p.shape)}: parameters are in another order, or the model is another"
            )
        found.append((p, value))
    return found


@torch.no_grad()
def set_params(given: Sequence[tuple[Tensor, Tensor]], state: Mapping[Any, Any], rest_bits: int) -> None:
    """Give parameters their values; a bfloat16 one with so many bits of compensation gets that as well."""
    for p, value in given:
        if rest_bits and p.dtype is torch.bfloat16:
            high, rest = split(part(value).float(), rest_bits)
            made = torch.empty_like(p.detach(), dtype=torch.int16 if rest_bits == 16 else torch.int8)
            part(made).copy_(rest)
            state[p][REST] = made
            part(p).copy_(high)
        else:
            p.copy_(value)
