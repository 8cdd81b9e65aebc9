"""Looks at each parameter before a plan is made: can it be stepped, by which backend, and with which states.

Everything here only looks and makes new tensors; what it finds is kept by the plan once all parameters have passed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ravine import backends
from ravine._compat.torch import is_fake
from ravine.backends._eight_bits import SCALES, empty_scales, encode, is_code
from ravine.backends._layout import misaligned, unfit
from ravine.backends._sharded import layout, part
from ravine.backends._sparse_rows import is_sparse, why_no_rows
from ravine.errors import BackendError, ParameterError, an
from ravine.formula import ParamCopy, Program
from ravine.formula._compensation import LOW, REST, is_rest
from ravine.formula._pieces import Reduced
from ravine.formula._rounding import KEY
from ravine.optim._engine.group import program_for
from ravine.optim._engine.kept_numbers import starting
from ravine.optim._engine.kernels import needs_whole, why_not
from ravine.optim._engine.state_storage import StateStorage, has_codes, places_of
from ravine.optim._engine.step_counts import counter
from ravine.optim._engine.version import TrackedStates


@dataclass(frozen=True)
class PreparedParam:
    """A parameter that a plan steps: its complete states, and why no kernel can take it (empty if one can)."""

    param: torch.Tensor
    states: dict[str, Any]
    reason: str


def stepped(params: Sequence[torch.Tensor], state: Mapping[torch.Tensor, dict[str, Any]]) -> list[torch.Tensor]:
    """The parameters that have a gradient now or had one before, each once; without a gradient, those with data."""
    return [p for p in dict.fromkeys(params) if p.grad is not None or (state.get(p) and p.device.type != "meta")]


def prepare(
    p: torch.Tensor,
    program: Program,
    fused: bool | None,
    state: Mapping[torch.Tensor, dict[str, Any]],
    describe: Callable[[torch.Tensor], str],
    storage: StateStorage,
    place: int,
) -> PreparedParam:
    """A parameter with its states; ``place`` is its place among all of the optimizer's.

    Raises:
        ParameterError: its gradient or a state does not fit it.
        BackendError: it has no data, or ``fused=True`` and no kernel can take it.
    """
    _check(p, program, describe)
    _check_shape(p, program, describe)
    _check_storage(p, program, storage, describe)
    known = state.get(p, {})
    before = known.dtype if isinstance(known, TrackedStates) else None
    states = dict(known)
    for name in (REST, LOW):
        if name not in program.states:  # of a parameter that was cast to single precision
            states.pop(name, None)
    make_states(p, states, program, storage, place)
    for name in (*program.states, *program.tensors):
        shape = shape_of(program, name, p) if of_own_shape(program, name) else None
        kind = wide if name in program.tensors else _as_it_is
        dtypes = None if before is None else (kind(before), kind(p.dtype))
        if is_code(states[name].dtype, name):
            continue
        if name in program.states and (own := storage.of(name, program.states[name], p)):
            dtypes = (states[name].dtype, own)
        states[name] = _follow(p, name, states[name], describe, dtypes, shape)
    for name in (*program.states, *program.tensors):
        for kept in (name, name + SCALES):
            if kept in states:
                _check_address(states[kept], f"state {kept} of {describe(p)}")
    reason = _reason(part(p), {n: part(states[n]) for n in program.states}, program)
    if reason and fused and not is_fake(p):  # a step of fake tensors computes nothing, whoever makes it
        raise BackendError(
            f"fused=True, but no kernel can step {describe(p)}: {reason}. Use fused=None to let torch's operations "
            "step such parameters"
        )
    return PreparedParam(p, states, reason)


def check_params(params: object, where: str = "") -> None:
    """Raise ParameterError for a module or a method where its parameters are meant; torch looks at the rest."""
    if isinstance(params, torch.nn.Module):
        hint = "pass its parameters, model.parameters() or, with their names, model.named_parameters()"
        raise ParameterError(f"params is a module ({type(params).__name__}){where}: {hint}")
    if inspect.isroutine(params):
        raise ParameterError(
            f"params is a function ({getattr(params, '__name__', params)}){where}: call it, model.parameters()"
        )


def check_added(groups: list[dict[str, Any]], describe: Callable[[torch.Tensor], str]) -> None:
    """Look at the parameters of the last group; where one cannot be stepped, the group is not there afterwards."""
    try:
        for p in groups[-1]["params"]:
            _check_param(p, describe)
    except (TypeError, ValueError):
        groups.pop()
        raise


def _check_param(p: torch.Tensor, describe: Callable[[torch.Tensor], str]) -> None:
    """Look at a parameter that joins an optimizer.

    Raises:
        TypeError: it is not of floating-point or complex numbers.
        ParameterError: several of its elements share one place in memory.
    """
    if torch.nn.parameter.is_lazy(p):
        return  # has no shape yet
    if not (p.is_floating_point() or p.is_complex()):
        raise TypeError(f"{describe(p)} has dtype {p.dtype}: an optimizer steps floating-point or complex tensors")
    if (
        p.layout is torch.strided
        and p.numel()
        and any(s == 0 and n > 1 for s, n in zip(p.stride(), p.shape, strict=True))
    ):
        raise ParameterError(
            f"{describe(p)} is expanded (strides {p.stride()}): several elements share one place in memory. "
            "Use p.clone() as the parameter, or the tensor before expand()"
        )


def _check(p: torch.Tensor, program: Program, describe: Callable[[torch.Tensor], str]) -> None:
    if p.device.type == "meta":
        raise BackendError(
            f"{describe(p)} is on the meta device and has no data: call module.to_empty(device=...), "
            "initialise it, and make the optimizer from the module's new parameters"
        )
    _check_address(p, describe(p))
    g = p.grad
    if g is None:
        return
    _check_address(g, f"the gradient of {describe(p)}")
    if g.device != p.device:
        raise ParameterError(
            f"{describe(p)} is on {p.device}, and its gradient on {g.device}: move the model before backward, or the "
            "gradient with it, p.grad = p.grad.to(p.device)"
        )
    if is_sparse(g):
        _check_rows(p, g, program, describe)
    elif g.layout is not torch.strided:
        raise ParameterError(
            f"{describe(p)} has a gradient of layout {g.layout}; formulas are for dense ones, and for rows "
            "(torch.sparse_coo): set p.grad = p.grad.to_dense()"
        )
    if g.shape != p.shape:
        raise ParameterError(
            f"{describe(p)} has a gradient of shape {tuple(g.shape)}: run backward again after the parameter's data "
            "was replaced"
        )
    if layout(g)[:1] != layout(p)[:1]:
        raise ParameterError(
            f"{describe(p)} is {split(p)}, and its gradient is {split(g)}: a gradient is split over the processes "
            "of its parameter, as backward makes it"
        )


def _check_address(tensor: torch.Tensor, what: str) -> None:
    """Raise ParameterError if no GPU can read a tensor on a device, or this process's part of it, where it lies."""
    if backends.on_host(tensor.device):
        return
    here = part(tensor.detach())
    if type(here) is torch.Tensor and misaligned(here):
        raise ParameterError(
            f"{what} begins in the middle of an element (address {here.data_ptr():#x}, {here.dtype}), which no GPU reads: "
            "use a copy, tensor.clone()"
        )


def _check_rows(p: torch.Tensor, g: torch.Tensor, program: Program, describe: Callable[[torch.Tensor], str]) -> None:
    """Raise ParameterError if a formula cannot run on the rows of a sparse gradient alone."""
    instead = "use sparse=False in the module, or set p.grad = p.grad.to_dense()"
    if why := why_no_rows(program):
        raise ParameterError(
            f"{describe(p)} has a sparse gradient, whose rows alone the formula cannot step: {why}. Take an optimizer that "
            f"works row by row (SparseAdam, Adagrad, SGD), or {instead}"
        )
    if layout(p) or g.sparse_dim() == 0 or p.is_complex() or not p.is_contiguous():
        what = "split over processes" if layout(p) else "complex" if p.is_complex() else "not contiguous"
        what = "without sparse dimensions" if g.sparse_dim() == 0 else what
        raise ParameterError(f"{describe(p)} has a sparse gradient, and is {what}, which has no rows here: {instead}")


def of_own_shape(program: Program, name: str) -> bool:
    """Whether a state has another shape than its parameter: it is whole on every process."""
    return name in program.tensors or isinstance(program.states.get(name), Reduced)


def shape_of(program: Program, name: str, p: torch.Tensor) -> torch.Size:
    """The shape of a state of a parameter."""
    if name in program.tensors:
        return torch.Size(program.tensors[name].shape(tuple(p.shape)))
    initial = program.states[name]
    return torch.Size(initial.shape(p.shape)) if isinstance(initial, Reduced) else p.shape


def _check_shape(p: torch.Tensor, program: Program, describe: Callable[[torch.Tensor], str]) -> None:
    """Raise ParameterError if the formula asks for what the parameter has not: rows, or matrices of real numbers."""
    if program.along and p.dim() < 2:
        raise ParameterError(
            f"{describe(p)} has {p.dim()} dimension{'s' * (p.dim() != 1)}, so it has no rows and columns, which the formula "
            "takes sums of (dim=-1, dim=-2): let the formula have ndim as an argument, def formula(ndim), and give other "
            "pieces for such parameters"
        )
    if p.is_complex() and (program.along or program.temporaries or program.tensors):
        raise ParameterError(
            f"{describe(p)} is complex, and the formula takes rows or whole tensors, which are of real numbers here: use "
            "torch.view_as_real(p) as the parameter"
        )


def _check_storage(
    p: torch.Tensor, program: Program, storage: StateStorage, describe: Callable[[torch.Tensor], str]
) -> None:
    """Raise ParameterError where states cannot be kept as asked for."""
    if p.is_complex() and any(storage.dtype(name, initial) for name, initial in program.states.items()):
        raise ParameterError(
            f"{describe(p)} is complex, and state_dtype is for states of real numbers: use torch.view_as_real(p) as the "
            "parameter, or give it an optimizer of its own"
        )
    if storage.codes and layout(p) and has_codes(p) and (needs_whole(program) or not _by_rows(p)):
        raise ParameterError(
            f"{describe(p)} is {split(p)}, and states of 8 bits are of whole rows, for formulas that work element by element: take "
            "state_dtype='bfloat16' for it"
        )
    if p.grad is not None and is_sparse(p.grad) and (KEY in program.kept or REST in program.states):
        raise ParameterError(
            f"{describe(p)} has a sparse gradient, and rounding='stochastic', states of 8 bits and param_bits are for dense ones: use "
            "rounding='nearest' with 16 bits, and an optimizer without param_bits"
        )
    if storage.param_bits is not None and p.dtype is torch.float16:
        raise ParameterError(
            f"{describe(p)} is float16, and param_bits={storage.param_bits!r} is for bfloat16 parameters, which have the range of "
            "float32: model.bfloat16()"
        )


def _by_rows(p: torch.Tensor) -> bool:
    """Whether processes have whole rows of a tensor."""
    return p.ndim > 1 and all(one.is_replicate() or one.is_shard(0) for one in layout(p)[1])


def wide(dtype: torch.dtype) -> torch.dtype:
    """Single precision for 16 bits; any other dtype as it is."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def _as_it_is(dtype: torch.dtype) -> torch.dtype:
    return dtype


def split(tensor: torch.Tensor) -> str:
    """How a tensor is split over processes, in words."""
    return "split over {} as {}".format(*layout(tensor)) if layout(tensor) else "not split over processes"


def make_all_states(
    groups: Sequence[Mapping[str, Any]],
    all_groups: Sequence[Mapping[str, Any]],
    programs_of: Callable[[Any], Mapping[int | None, Program]],
    state: Any,
    storage: StateStorage,
) -> None:
    """Make the states that parameters of some groups do not have yet; places are those in all groups."""
    places = places_of(all_groups)
    for group in groups:
        programs = programs_of(group)
        for p in group["params"]:
            make_states(p, state[p], program_for(p, programs), storage, places[id(p)])


@torch.no_grad()
def make_states(p: torch.Tensor, states: dict[str, Any], program: Program, storage: StateStorage, place: int) -> None:
    """Make the states of a parameter that it does not have yet."""
    if "step" not in states:
        states["step"] = counter(0.0)
    if KEY in program.kept and states.get(KEY) is None:
        states[KEY] = storage.key(place)
    for name, one in program.kept.items():
        if one.per == "tensor" and states.get(name) is None:
            states[name] = starting(one)
    with torch.inference_mode(False):
        for name, tensor_state in program.tensors.items():
            if states.get(name) is None:
                shape = shape_of(program, name, p)
                states[name] = torch.full(shape, tensor_state.initial, dtype=wide(p.dtype), device=p.device)
        for name, initial in program.states.items():
            if states.get(name) is not None:
                continue
            if isinstance(initial, Reduced):
                shape = shape_of(program, name, p)
                dtype = storage.dtype(name, initial) or storage.of(name, initial, p) or p.dtype
                states[name] = torch.full(shape, initial.initial, dtype=dtype, device=p.device)
                continue
            if isinstance(initial, ParamCopy):
                dtype = storage.of(name, initial, p) or (wide(p.dtype) if initial.wide else p.dtype)
                if is_code(dtype, name):
                    dtype = torch.float32  # the values first; ``fitted`` makes codes of them
                states[name] = p.detach().to(dtype, copy=True, memory_format=torch.preserve_format)
                continue
            dtype = storage.of(name, initial, p) or p.dtype
            states[name] = torch.zeros_like(p.detach(), dtype=dtype, memory_format=torch.preserve_format)
            if is_code(dtype, name):
                states[name + SCALES] = empty_scales(states[name])
                if initial:
                    encode(torch.full_like(part(p).detach(), initial), part(states[name]), part(states[name + SCALES]))
            elif initial:
                (torch.view_as_real(states[name]) if p.is_complex() else states[name]).fill_(initial)
    for name, initial in program.states.items():
        for changed, value in storage.fitted(name, initial, p, states).items():
            states.pop(changed) if value is None else states.update({changed: value})


@torch.no_grad()
def _follow(
    p: torch.Tensor,
    name: str,
    state: torch.Tensor,
    describe: Callable[[torch.Tensor], str],
    dtypes: tuple[torch.dtype, torch.dtype] | None,
    own_shape: torch.Size | None,
) -> torch.Tensor:
    """A state that follows its parameter where that was cast, moved or laid out anew since the last plan.

    ``dtypes``: those that a new state would have had then, and now; None: that is not known.
    """
    if state.shape != (own_shape or p.shape):
        raise ParameterError(
            f"{describe(p)} has a state {name} of shape {tuple(state.shape)}: its data was replaced by another shape. "
            "Delete the state (del optimizer.state[p]) to start over"
        )
    if layout(state) != layout(p) and own_shape is None:
        raise ParameterError(
            f"{describe(p)} is {split(p)}, and its state {name} is {split(state)}: load states with "
            "torch.distributed.checkpoint.state_dict.set_optimizer_state_dict, which splits them as their parameters"
        )
    if dtypes and state.dtype == dtypes[0]:
        state = state.to(dtypes[1])
    if state.device != p.device:
        state = state.to(p.device)
    fits = not (unfit(state) if is_rest(name) else why_not(state))
    if own_shape is None and not why_not(p) and fits and state.stride() != p.stride() and p.numel() > 1:
        state = torch.empty_like(p.detach(), dtype=state.dtype).copy_(state)
    return state


def _reason(p: torch.Tensor, states: Mapping[str, Any], program: Program) -> str:
    """Why no kernel can take the parameter; empty if one can."""
    if program.along and not p.is_contiguous():
        return "its formula has values of rows or columns, and it is not contiguous"
    for name, t in [("", p), *((n, states[n]) for n in program.states)]:
        prefix = f"state {name}: " if name else ""
        if is_code(t.dtype, name) and (program.along or not backends.on_host(t.device)):
            return f"{prefix}it is codes of 8 bits, which kernels of the CPU read, and none of rows and columns"
        if not is_code(t.dtype, name) and not is_rest(name) and (reason := why_not(t)):
            return prefix + reason
        alike = (
            t.shape != p.shape or t.numel() <= 1 or t.stride() == p.stride()
        )  # of one value for each row: contiguous
        if t.is_complex() != p.is_complex() or not alike:
            return f"{prefix}it is not laid out as the parameter"
    grad = p.grad  # after the parameter, whose device may have no kernels at all
    if grad is not None and type(grad) is not torch.Tensor:
        return f"its gradient is {an(type(grad).__name__)}, a tensor subclass"
    if grad is not None and why_not(torch.empty(0, dtype=grad.dtype, device=grad.device)):
        return f"its gradient's dtype is {grad.dtype}"
    return ""
