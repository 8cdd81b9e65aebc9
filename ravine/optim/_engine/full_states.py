"""State dicts in full precision: narrow states as float32, and parameters with what is kept beside them.

The parameter itself stands there as the state ``"param"``, which no formula keeps: loading such a dict sets it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.backends._eight_bits import SCALES, decoded, is_code, scales_shape
from ravine.backends._sharded import part
from ravine.errors import ParameterError, StateError, an, kind_of
from ravine.formula._compensation import LOW, REST, rests_of, split, whole
from ravine.formula._rounding import KEY

#: The name of a parameter among its states.
PARAM = "param"


def full_precision(tree: dict[str, Any], groups: Sequence[Mapping[str, Any]], averaged: bool) -> dict[str, Any]:
    """A state dict whose states of 16 and 8 bits are float32, and without what only narrow ones have.

    Args:
        tree: the state dict.
        groups: the optimizer's groups, whose parameters it is of.
        averaged: whether these are their averages now.

    Raises:
        ParameterError: they are, and the dict would hold them.
    """
    if averaged and any(REST in kept for kept in tree["state"].values()):
        raise ParameterError(
            "the parameters are their averages now, which are not what a state dict in full precision holds: call "
            "state_dict(full=True) outside optimizer.averaged(), or after optimizer.train()"
        )
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
    if REST in kept and p is not None and p.dtype is torch.bfloat16:
        made[PARAM] = in_full(p, kept)
    return made


@torch.no_grad()
def in_full(p: Tensor, kept: Mapping[str, Any]) -> Tensor:
    """A parameter with its compensation, float32."""
    made = torch.empty_like(p.detach(), dtype=torch.float32)
    part(made).copy_(whole(part(p).detach(), {name: part(kept[name]) for name in (REST, LOW) if name in kept}))
    return made


def check_saved(p: Tensor, saved: Mapping[str, Any], describe: Callable[[Tensor], str]) -> None:
    """Look at what was saved for a parameter.

    Raises:
        StateError: the parameter in full precision is none, or there are codes without their scales.
    """
    value = saved.get(PARAM, p)
    if (
        not isinstance(value, Tensor)
        or value.is_complex() != p.is_complex()
        or not (value.is_complex() or value.is_floating_point())
    ):
        raise StateError(
            f"the state dict has no values for {describe(p)} under {PARAM!r}, but {an(kind_of(value))}: it is damaged"
        )
    for name, value in saved.items():
        if isinstance(value, Tensor) and is_code(value.dtype, name) and value.shape == p.shape:
            scales = saved.get(name + SCALES)
            if not isinstance(scales, Tensor) or scales.shape != scales_shape(tuple(p.shape)):
                raise StateError(
                    f"the state {name} of {describe(p)} is codes of 8 bits, and there are no scales that fit it under "
                    f"{name + SCALES!r}: load both"
                )


def given_params(
    state: Mapping[Any, Any], groups: Sequence[Mapping[str, Any]], averaged: bool, ours: bool
) -> list[tuple[Tensor, Tensor]]:
    """The parameters that a state to be loaded holds, each with what it is to become; they are taken out of it.

    Args:
        state: the state.
        groups: the optimizer's groups.
        averaged: whether the parameters are their averages now.
        ours: whether it was saved here. Torch's optimizers save what they were given, however old it is then.

    Raises:
        StateError: ``averaged``, so that what is written to parameters would be lost.
    """
    given = []
    for p in (p for group in groups for p in group["params"]):
        value = state[p].pop(PARAM, None) if isinstance(state.get(p), dict) else None
        if isinstance(value, Tensor) and ours:
            given.append((p, value))
    if given and averaged:
        raise StateError(
            "the state dict holds parameters, which are lost while the parameters are their averages: load it outside "
            "optimizer.averaged(), or after optimizer.train()"
        )
    return given


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
