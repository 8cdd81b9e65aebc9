"""State dicts: exchanged with torch.optim's class of the same name, and checked before anything is loaded.

The layout is torch's. Beside it stands, under ``"ravine"``, which formula each group's states belong to.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
import reprlib
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ravine._compat.torch import is_fake, is_view
from ravine._line_of_user import level_of_user
from ravine.backends._eight_bits import SCALES, is_code
from ravine.backends._sharded import layout
from ravine.errors import OptionError, StateError, kind_of, nearest
from ravine.formula import ParamCopy, Program
from ravine.formula._compensation import LOW, REST, is_rest
from ravine.formula._plain_text import formula_lines
from ravine.formula._rounding import KEY
from ravine.optim._common import OF_GROUPS
from ravine.optim._engine.full_states import PARAM, check_saved, given_params
from ravine.optim._engine.group import program_for
from ravine.optim._engine.group_keys import leave_out
from ravine.optim._engine.prepare import of_own_shape, shape_of, split
from ravine.optim._engine.step_counts import counter, shared
from ravine.optim._hyperparameters import GROUP_NOTES, TORCH_ONLY, Check, check_group

#: A state dict that was saved without one of these turns it off, with a warning.
_OFF = tuple(OF_GROUPS)
_COMMON = ("maximize", "fused", *_OFF)
VERSION = 1


@dataclass(frozen=True)
class Receiver:
    """What an optimizer that loads a state dict says of itself.

    Attributes:
        groups: its parameter groups.
        defaults: the options that every group has.
        neutral: those that a group is without while they have this value.
        check: raises OptionError for a value that an option cannot have.
        programs_of: the programs of a group, by the number of dimensions of its parameters (None: one for all).
        describe: names a parameter for errors.
        not_in_torch: states that torch's class of the same name does not keep, and what they stand for there.
        own: the formula is the user's own, so that what else a dict of torch has tells less: options that are off, and
            numbers beside the states (``mu_product`` of NAdam), belong to formulas that can be written without.
        averaged: whether its parameters are their averages now.
    """

    groups: Sequence[dict[str, Any]]
    defaults: Mapping[str, Any]
    neutral: Mapping[str, Any]
    check: Check
    programs_of: Callable[[dict[str, Any]], dict[int | None, Program]]
    describe: Callable[[torch.Tensor], str]
    not_in_torch: Mapping[str, float]
    own: bool
    averaged: bool = False


def dump(state_dict: dict[str, Any], name: str, programs: Sequence[Mapping[Any, Program]]) -> dict[str, Any]:
    """Complete torch's state dict of an optimizer; a hook may have made something else of it, which stays so."""
    if "state" not in state_dict:
        return state_dict
    state = dict(own_steps(state_dict["state"]))
    about = {"version": VERSION, "name": name, "formulas": formulas_of(programs)}
    return {**state_dict, "state": state, "ravine": about}


def formulas_of(programs: Sequence[Mapping[Any, Program]]) -> list[dict[str, str]]:
    """What a state dict says of the formula of each group."""
    return [{"hash": _hash(some), "text": _text(some)} for some in programs]


def _hash(programs: Mapping[Any, Program]) -> str:
    """Of the formulas of one group."""
    return "+".join(dict.fromkeys(p.fingerprint for p in programs.values()))


def _hashes(programs: Mapping[Any, Program]) -> set[str]:
    return {p.fingerprint for p in programs.values()}


def _text(programs: Mapping[Any, Program]) -> str:
    return " | ".join(dict.fromkeys("; ".join(formula_lines(p)) for p in programs.values()))


def own_steps(state: Mapping[Any, Any]) -> defaultdict[Any, Any]:
    """The state with step counts and kept numbers that have memory of their own; the live ones are views of one tensor.

    Counts that processes share stay: a copy that is sent to another process counts with them.
    """
    return defaultdict(
        dict,
        {
            key: {n: _own(v) if isinstance(v, torch.Tensor) and v.dim() == 0 else v for n, v in value.items()}
            if isinstance(value, dict)
            else value
            for key, value in state.items()
        },
    )


def _own(number: torch.Tensor) -> torch.Tensor:
    return number if shared(number) or not is_view(number) else number.clone()


def load(
    receiver: Receiver, state_dict: dict[str, Any]
) -> tuple[dict[str, Any], list[tuple[torch.Tensor, torch.Tensor]]]:
    """The new ``state`` and ``param_groups`` of the optimizer, and the parameters that the dict holds; StateError if they do not fit."""
    check_form(own_dict(state_dict))  # what a hook returned
    about = state_dict.get("ravine")
    groups, saved = receiver.groups, copy.deepcopy(state_dict["param_groups"])
    if len(groups) != len(saved):
        raise StateError(
            f"loaded state dict has a different number of parameter groups: {len(saved)}, and this optimizer has {len(groups)}"
        )
    if about is not None:
        _check_about(about, len(groups))
    new_groups: list[dict[str, Any]] = []
    params: dict[Any, tuple[torch.Tensor, int]] = {}
    for i, (group, new) in enumerate(zip(groups, saved, strict=True)):
        if len(group["params"]) != len(new["params"]):
            raise StateError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: group "
                f"{i} has {len(new['params'])} parameters in the state dict and {len(group['params'])} here"
            )
        new_groups.append(_group(receiver, i, group, new, ours=about is not None))
        params.update(zip(new["params"], ((p, i) for p in group["params"]), strict=True))
    programs: list[dict[int | None, Program]] = []
    for i, group in enumerate(new_groups):
        programs.append(receiver.programs_of({**group, "params": groups[i]["params"]}))
        if about is not None and not _hashes(programs[i]) <= set(about["formulas"][i]["hash"].split("+")):
            raise StateError(
                f"the state dict is of another formula. Parameter group {i}, saved: {about['formulas'][i]['text']}. "
                f"Here: {_text(programs[i])}"
            )
    state: defaultdict[Any, Any] = defaultdict(dict)
    for key, value in state_dict["state"].items():
        if key not in params:
            state[key] = value
            continue
        p, i = params[key]
        state[p] = _states(receiver, p, value, program_for(p, programs[i]), ours=about is not None)
    given = given_params(state, groups, receiver.averaged, about is not None)
    return {"state": state, "param_groups": new_groups}, given


def own_dict(state_dict: object) -> dict[str, Any]:
    """A dict that hooks may change; StateError for what is none."""
    if not isinstance(state_dict, Mapping):
        raise StateError(f"load_state_dict takes the dict that state_dict() gave; got {_shown(state_dict)}")
    return dict(state_dict)


def check_form(state_dict: Mapping[str, Any]) -> None:
    """Raise StateError for what is no state dict of an optimizer: a mapping with ``state`` and ``param_groups``."""
    for name in ("state", "param_groups"):
        if name not in state_dict:
            inside = [k for k, v in state_dict.items() if isinstance(v, Mapping) and "param_groups" in v]
            hint = f": pass what is under {inside[0]!r} in it" if inside else ""
            keys = ", ".join(repr(k) for k in list(state_dict)[:6]) or "nothing"
            raise StateError(
                f"the state dict has no {name!r}; an optimizer's has 'state' and 'param_groups', and this has {keys}{hint}"
            )
    state, groups = state_dict["state"], state_dict["param_groups"]
    if not isinstance(state, Mapping):
        raise StateError(f"'state' of the state dict must be a dict of states by parameter; got {_shown(state)}")
    if not isinstance(groups, list | tuple):
        raise StateError(f"'param_groups' of the state dict must be a list of dicts; got {_shown(groups)}")
    for i, group in enumerate(groups):
        params = group.get("params") if isinstance(group, Mapping) else None
        if not isinstance(params, list | tuple):
            what = f"has {_shown(params)} as 'params'" if isinstance(group, Mapping) else f"is {_shown(group)}"
            raise StateError(f"parameter group {i} of the state dict must be a dict with a list 'params'; it {what}")
        if wrong := [key for key in params if not isinstance(key, int | str)]:
            raise StateError(
                f"'params' of parameter group {i} of the state dict must be numbers or names; got {_shown(wrong[0])}"
            )
        names = group.get("param_names")
        if names is not None and (not isinstance(names, list | tuple) or len(names) != len(params)):
            raise StateError(
                f"'param_names' of parameter group {i} of the state dict must be a list of {len(params)} names, one for "
                f"each parameter; got {_shown(names)}"
            )


def _check_about(about: object, groups: int) -> None:
    """Raise StateError if what stands under ``"ravine"`` was not written by this version of :func:`dump`."""
    damaged = "the state dict's entry 'ravine', which says what formula it is of, is damaged"
    version = about.get("version", 0) if isinstance(about, Mapping) else None
    if not isinstance(about, Mapping) or not isinstance(version, int):
        raise StateError(f"{damaged}: {_shown(about)}. Without it the state dict is loaded as one of torch")
    if version > VERSION:
        raise StateError(
            f"this state dict has version {version}, and this Ravine reads up to version {VERSION}: update ravine"
        )
    formulas = about.get("formulas")
    if (
        not isinstance(formulas, list | tuple)
        or len(formulas) != groups
        or not all(isinstance(f, Mapping) and {"hash", "text"} <= f.keys() for f in formulas)
    ):
        raise StateError(
            f"{damaged}: it must have one formula for each of {groups} parameter groups, and has {_shown(formulas)}. "
            "Without it the state dict is loaded as one of torch"
        )


def _shown(value: object) -> str:
    return "None" if value is None else f"{reprlib.repr(value)} ({kind_of(value)})"


@functools.cache
def _options_of_torch() -> frozenset[str]:
    """The options of all optimizers of torch: which of them a group has tells of which optimizer it is."""
    classes = [c for c in vars(torch.optim).values() if isinstance(c, type) and issubclass(c, torch.optim.Optimizer)]
    return frozenset(name for c in classes for name in inspect.signature(c).parameters)


def _group(receiver: Receiver, index: int, group: dict[str, Any], new: dict[str, Any], ours: bool) -> dict[str, Any]:
    # How a step is run (fused and torch's kin) is this optimizer's own business, not the checkpoint's.
    skip = ("params", "fused", *TORCH_ONLY)
    # Of a dict of ours, what a group does not say is neutral; a dict of torch knows nothing of it.
    kept = [k for k in receiver.defaults if k == "fused" or not ours or k not in receiver.neutral]
    known = {k: group[k] for k in (*kept, *GROUP_NOTES, *TORCH_ONLY) if k in group}
    names, saved_names = group.get("param_names"), new.get("param_names")
    if names and saved_names and names != saved_names:
        first = next(i for i, (a, b) in enumerate(zip(names, saved_names, strict=True)) if a != b)
        raise StateError(
            f"the parameters are in another order or have other names: parameter {first} of group {index} is "
            f"{saved_names[first]!r} in the state dict and {names[first]!r} here"
        )
    merged = {**known, **{k: v for k, v in new.items() if k not in skip}}
    off = [f"{k}={group[k]!r}" for k in _OFF if group.get(k) and not merged.get(k)]
    if off:
        warnings.warn(
            f"the state dict's parameter group {index} was saved without {' and '.join(off)}, which is off from now on: "
            "set it again in optimizer.param_groups if it is wanted",
            stacklevel=level_of_user(),
        )
    # What the user's own keys are is kept. Of ours the formula says whether it is of this optimizer; torch's dicts do
    # not say which optimizer they are of, but an option that this one does not have does.
    own = {name for program in receiver.programs_of(group).values() for name in program.kept}
    foreign = [k for k in merged if k not in receiver.defaults and k not in group and k in _options_of_torch()]
    foreign = [k for k in foreign if k not in own]
    foreign = [k for k in foreign if merged[k] or not receiver.own]
    if foreign and not ours:
        raise StateError(
            f"the state dict is of another optimizer: its parameter group {index} has {foreign[0]!r}, and this optimizer "
            f"has {', '.join(n for n in receiver.defaults if n not in _COMMON)}"
        )
    try:
        check_group(
            {**receiver.defaults, **receiver.neutral, **merged},
            receiver.defaults,
            receiver.check,
            f" (parameter group {index} of the state dict)",
        )
    except OptionError as error:
        raise StateError(f"the state dict is of another optimizer: {error}") from None
    leave_out(merged, receiver.neutral)
    return merged


def _states(receiver: Receiver, p: torch.Tensor, saved: Any, program: Program, ours: bool) -> dict[str, Any]:
    if not isinstance(saved, Mapping):
        raise StateError(
            f"the state dict must have a dict of states for {receiver.describe(p)}; it has {_shown(saved)}: it is damaged"
        )
    # torch.distributed.checkpoint has an empty dict for the step that torch's SGD does not keep.
    numbers = [name for name, one in program.kept.items() if one.per == "tensor"]
    tensors = (*program.states, *program.tensors)
    own = (*tensors, *numbers)
    known = ("step", *own)
    narrow = (KEY, REST, LOW, PARAM, *(name + SCALES for name in tensors))
    saved = {
        name: value for name, value in saved.items() if value is not None and not (name in known and _is_empty(value))
    }
    if not saved:
        return {}
    check_saved(p, saved, receiver.describe)
    for name in saved:
        number = not isinstance(saved[name], torch.Tensor) or (saved[name].dim() == 0 and p.dim() > 0)
        if name not in known and name not in narrow and not ours and not (receiver.own and number):
            raise StateError(
                f"the state dict keeps {name!r} for {receiver.describe(p)}, and this formula keeps "
                f"{', '.join(own) or 'no state'}: it is of another optimizer or has other options. "
                f"{nearest(name, own)}"
            )
    for name in own:
        # Ours may have a state that its next step was to make; an average begins anew as the parameter.
        initial = program.states.get(name)
        if (
            name not in saved
            and not ours
            and name != KEY
            and not is_rest(name)
            and not (isinstance(initial, ParamCopy) and initial.average)
        ):
            raise StateError(
                f"the state dict keeps no {name!r} for {receiver.describe(p)}, and this formula needs it: it was saved "
                "with other options, or by another optimizer"
            )
    if "step" not in saved:
        step = receiver.not_in_torch.get("step", 0.0)
        if program.uses_step and not step:
            raise StateError(f"the state dict has no 'step' for {receiver.describe(p)}, and this formula depends on it")
        saved = {"step": step, **saved}
    result: dict[str, Any] = {"step": counter(_count(saved["step"], receiver.describe(p)))}
    for name, value in saved.items():
        if name == "step" or (
            name in (KEY, REST, LOW) and name not in own
        ):  # saved where states were rounded at random
            continue
        if name in numbers:
            result[name] = _number(value, name, receiver.describe(p))
        elif not isinstance(value, torch.Tensor):
            if name in tensors:
                raise StateError(
                    f"the state {name} of {receiver.describe(p)} must be a tensor of shape "
                    f"{tuple(shape_of(program, name, p))}; the state dict "
                    f"has {_shown(value)}: it is damaged"
                )
            result[name] = copy.deepcopy(value)
        elif name in program.states and receiver.own and not ours and value.dim() == 0:  # one number for all elements
            result[name] = torch.full_like(p.detach(), value.item())
        elif (name.removesuffix(SCALES) in tensors and name not in tensors) or (
            is_code(value.dtype, name) and value.shape == p.shape
        ):
            result[name] = value.detach().to(p.device, copy=True)
        elif name not in (*tensors, PARAM) and receiver.own and value.dim() == 0:
            result[name] = value.detach().clone()
        elif value.shape != (shape_of(program, name, p) if name in tensors else p.shape):
            raise StateError(
                f"the state {name} of {receiver.describe(p)} has shape {tuple(value.shape)} in the state dict: "
                "parameters are in another order, or the model is another"
            )
        elif name in tensors and of_own_shape(program, name):
            result[name] = value.detach().to(p.device, copy=True)
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


def _is_empty(value: object) -> bool:
    return isinstance(value, Mapping) and not value


def _number(value: Any, name: str, where: str) -> torch.Tensor:
    """A saved number as one that is kept."""
    if isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_complex():
        return value.detach().to(torch.float64, copy=True).reshape(())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return torch.tensor(float(value), dtype=torch.float64)
    raise StateError(f"{name!r} of {where} is one number; the state dict has {_shown(value)}")


def _count(step: Any, where: str) -> float:
    """The number of steps made, of a saved ``step``."""
    if isinstance(step, torch.Tensor) and is_fake(step):
        return 0.0
    try:
        count = float(step)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        count = math.nan
    if not math.isfinite(count):
        raise StateError(f"'step' of {where} must be the number of steps made; the state dict has {_shown(step)}")
    return count
