"""State dicts: exchanged with torch.optim's class of the same name, and checked before anything is loaded.

The layout is torch's. Beside it stands, under ``"ravine"``, which formula each group's states belong to.
"""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ravine.backends._sharded import layout
from ravine.errors import OptionError, StateError, nearest
from ravine.formula import ParamCopy, Program
from ravine.formula._plain_text import formula_lines
from ravine.optim._engine.prepare import split
from ravine.optim._engine.step_counts import counter
from ravine.optim._hyperparameters import GROUP_NOTES, TORCH_ONLY, Check, check_group

#: A state dict that was saved without one of these turns it off, with a warning.
_OFF = ("clip_norm", "ema_decay")
VERSION = 1


@dataclass(frozen=True)
class Receiver:
    """What an optimizer that loads a state dict says of itself.

    Attributes:
        groups: its parameter groups.
        defaults: the options that every group has.
        check: raises OptionError for a value that an option cannot have.
        program_of: the program of a group.
        describe: names a parameter for errors.
        not_in_torch: states that torch's class of the same name does not keep, and what they stand for there.
    """

    groups: Sequence[dict[str, Any]]
    defaults: Mapping[str, Any]
    check: Check
    program_of: Callable[[dict[str, Any]], Program]
    describe: Callable[[torch.Tensor], str]
    not_in_torch: Mapping[str, float]


def dump(state_dict: dict[str, Any], name: str, programs: Sequence[Program]) -> dict[str, Any]:
    """Complete torch's state dict of an optimizer; a hook may have made something else of it, which stays so."""
    if "state" not in state_dict:
        return state_dict
    state = dict(own_steps(state_dict["state"]))
    formulas = [{"hash": p.fingerprint, "text": "; ".join(formula_lines(p))} for p in programs]
    about = {"version": VERSION, "name": name, "formulas": formulas}
    return {**state_dict, "state": state, "ravine": about}


def own_steps(state: Mapping[Any, Any]) -> defaultdict[Any, Any]:
    """The state with step counts that have memory of their own; the live ones are views of one tensor."""
    return defaultdict(
        dict,
        {
            key: {n: v.clone() if n == "step" and isinstance(v, torch.Tensor) else v for n, v in value.items()}
            if isinstance(value, dict)
            else value
            for key, value in state.items()
        },
    )


def load(receiver: Receiver, state_dict: dict[str, Any]) -> dict[str, Any]:
    """The new ``state`` and ``param_groups`` of the optimizer; raises StateError where they do not fit."""
    about = state_dict.get("ravine")
    if about is not None and about.get("version", 0) > VERSION:
        raise StateError(
            f"this state dict has version {about['version']}, and this Ravine reads up to version {VERSION}: update ravine"
        )
    groups, saved = receiver.groups, copy.deepcopy(state_dict["param_groups"])
    if len(groups) != len(saved):
        raise StateError(
            f"loaded state dict has a different number of parameter groups: {len(saved)}, and this optimizer has {len(groups)}"
        )
    new_groups: list[dict[str, Any]] = []
    params: dict[Any, tuple[torch.Tensor, int]] = {}
    for i, (group, new) in enumerate(zip(groups, saved, strict=True)):
        if len(group["params"]) != len(new["params"]):
            raise StateError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: group "
                f"{i} has {len(new['params'])} parameters in the state dict and {len(group['params'])} here"
            )
        new_groups.append(_group(receiver, i, group, new))
        params.update(zip(new["params"], ((p, i) for p in group["params"]), strict=True))
    programs = []
    for i, group in enumerate(new_groups):
        programs.append(receiver.program_of(group))
        if about is not None and about["formulas"][i]["hash"] != programs[i].fingerprint:
            raise StateError(
                f"the state dict is of another formula. Parameter group {i}, saved: {about['formulas'][i]['text']}. "
                f"Here: {'; '.join(formula_lines(programs[i]))}"
            )
    state: defaultdict[Any, Any] = defaultdict(dict)
    for key, value in state_dict["state"].items():
        if key not in params:
            state[key] = value
            continue
        p, i = params[key]
        state[p] = _states(receiver, p, value, programs[i], ours=about is not None)
    return {"state": state, "param_groups": new_groups}


def _group(receiver: Receiver, index: int, group: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    # How a step is run (fused and torch's kin) is this optimizer's own business, not the checkpoint's.
    skip = ("params", "fused", *TORCH_ONLY)
    known = {k: group[k] for k in (*receiver.defaults, *GROUP_NOTES) if k in group}
    names, saved_names = group.get("param_names"), new.get("param_names")
    if names and saved_names and names != saved_names:
        first = next(i for i, (a, b) in enumerate(zip(names, saved_names, strict=True)) if a != b)
        raise StateError(
            f"the parameters are in another order or have other names: parameter {first} of group {index} is "
            f"{saved_names[first]!r} in the state dict and {names[first]!r} here"
        )
    merged = {**known, **{k: v for k, v in new.items() if k not in skip}}
    off = [f"{k}={group[k]!r}" for k in _OFF if group.get(k) is not None and merged.get(k) is None]
    if off:
        warnings.warn(
            f"the state dict's parameter group {index} was saved without {' and '.join(off)}, which is off from now on: "
            "set it again in optimizer.param_groups if it is wanted",
            stacklevel=5,
        )
    try:
        notes = [k for k in group if k not in receiver.defaults]  # a user's own keys, as in the live group
        check_group(
            {k: v for k, v in merged.items() if k not in notes},
            receiver.defaults,
            receiver.check,
            f" (parameter group {index} of the state dict)",
        )
    except OptionError as error:
        raise StateError(f"the state dict is of another optimizer: {error}") from None
    return merged


def _states(receiver: Receiver, p: torch.Tensor, saved: dict[str, Any], program: Program, ours: bool) -> dict[str, Any]:
    saved = {name: value for name, value in saved.items() if value is not None}
    if not saved:
        return {}
    for name in saved:
        if name != "step" and name not in program.states and not ours:
            raise StateError(
                f"the state dict keeps {name!r} for {receiver.describe(p)}, and this formula keeps "
                f"{', '.join(program.states) or 'no state'}: it is of another optimizer or has other options. "
                f"{nearest(name, program.states)}"
            )
    for name in program.states:
        # Ours may have a state that its next step was to make; an average begins anew as the parameter.
        initial = program.states[name]
        if name not in saved and not ours and not (isinstance(initial, ParamCopy) and initial.average):
            raise StateError(
                f"the state dict keeps no {name!r} for {receiver.describe(p)}, and this formula needs it: it was saved "
                "with other options, or by another optimizer"
            )
    if "step" not in saved:
        step = receiver.not_in_torch.get("step", 0.0)
        if program.uses_step and not step:
            raise StateError(f"the state dict has no 'step' for {receiver.describe(p)}, and this formula depends on it")
        saved = {"step": step, **saved}
    result: dict[str, Any] = {"step": counter(float(saved["step"]))}
    for name, value in saved.items():
        if name == "step":
            continue
        if not isinstance(value, torch.Tensor):
            result[name] = copy.deepcopy(value)
        elif value.shape != p.shape:
            raise StateError(
                f"the state {name} of {receiver.describe(p)} has shape {tuple(value.shape)} in the state dict: "
                "parameters are in another order, or the model is another"
            )
        elif layout(value) != layout(p):
            raise StateError(
                f"the state {name} of {receiver.describe(p)} is {split(value)} in the state dict, and the parameter is "
                f"{split(p)}: load it with torch.distributed.checkpoint.state_dict.set_optimizer_state_dict"
            )
        elif type(value) is torch.Tensor and value.layout is torch.strided and p.layout is torch.strided:
            # The dtype it was saved in, laid out as the parameter, in memory of its own.
            result[name] = torch.empty_like(p.detach(), dtype=value.dtype).copy_(value)
        else:
            result[name] = value.detach().to(p.device, copy=True)
    return result
