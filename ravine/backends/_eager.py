"""The eager backend: the program's own text, run with torch operations on one tensor after the other.

It is the meaning of a formula and the reference that kernels are tested against. It takes any device, dtype,
layout of memory and tensor subclass that torch's operations take. On a device nothing here waits for it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from ravine import backends
from ravine._compat.torch import is_fake
from ravine._line_of_user import level_of_user
from ravine.backends import STATISTICS, Numbers, States, Sums, compute_dtype
from ravine.backends import _rounding_figures as rounding
from ravine.backends._brief import Looks
from ravine.backends._calls import Calls
from ravine.backends._eight_bits import SCALES, decode, encode, is_code
from ravine.backends._layout import keeps_all, misaligned
from ravine.errors import an
from ravine.formula import Program
from ravine.formula import _functions as functions
from ravine.formula._compensation import REST, whole
from ravine.formula._python import Statements, code_name
from ravine.formula._rounding import KEY


@cache
def _function(
    program: Program, index: int, wide: frozenset[str], narrow: tuple[str, ...] = ()
) -> Callable[..., tuple[Any, ...]]:
    """The element stage of a pass as a Python function of tensors and numbers.

    ``wide``: what is not kept in fewer bits; ``narrow``: of what it gives more, see ``rounding.extended``.
    """
    p = program.passes[index]
    leaves = p.leaves()
    arguments = [*map(code_name, p.reads), *p.number_names]
    results = rounding.extended(program, index, wide, narrow).results
    body = Statements(
        results, leaves, calls={"div", "pow"}, element=lambda number: f"element({number}, {arguments[0]})"
    )
    lines = [f"def elements({', '.join(arguments)}):", *(f"    {line}" for line in body.lines)]
    source = "\n".join([*lines, f"    return ({''.join(r + ', ' for r in body.results)})"])
    scope: dict[str, Any] = dict(vars(functions))
    exec(compile(source, "<elements>", "exec"), scope)
    result: Callable[..., tuple[Any, ...]] = scope["elements"]
    return result


def real(tensor: Tensor) -> Tensor:
    """The numbers that a tensor is made of."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _kind(p: Tensor) -> tuple[Any, ...]:
    return p.shape, p.dtype, p.device


def _fits(grad: Tensor, param: Tensor) -> bool:
    alike = grad.shape == param.shape and grad.layout is torch.strided and grad.device == param.device
    return alike and not (type(grad) is Tensor and misaligned(grad))


class Eager(Looks):
    """A batch that runs on torch operations; see ``ravine.backends.Batch``. All parameters are on one device."""

    makes_numbers = takes_host_numbers = False
    in_graphs = True
    by_chunks = None

    def __init__(
        self, program: Program, params: Sequence[Tensor], states: Sequence[States], buffer_size: int = 0
    ) -> None:
        self.program, self.params, self.states = program, list(params), list(states)
        self.active: np.ndarray | None = None
        device = self.params[0].device
        readable = backends.on_host(device) and not any(map(is_fake, self.params))
        self.on_device = None if readable else device
        self._buffer_size = buffer_size
        self._statistics: Tensor | None = (
            None  # of each buffered step, on the parameters' device until they are asked for
        )
        self._kinds = [_kind(p) for p in self.params]
        self._grads: list[Tensor | None] = []
        self._numbers: Numbers = ()
        self._calls = Calls(program, self.params, self.states)
        # Subclasses do not all have every operation. Where one is missing, that is to be found before anything is written.
        self._to_try = {i for i, p in enumerate(self.params) if type(p) not in (Tensor, Parameter)}

    def gather(self) -> bool:
        self._grads = [p.grad for p in self.params]
        for p, g, kind in zip(self.params, self._grads, self._kinds, strict=True):
            if _kind(p) != kind or (g is not None and not _fits(g, p)):
                return False
        for i in [i for i in self._to_try if self._grads[i] is not None]:
            self._try(i)
            self._to_try.remove(i)
        missing = [g is None for g in self._grads]
        self.active = ~np.array(missing) if any(missing) else None
        return True

    @torch.no_grad()
    def _try(self, i: int) -> None:
        """Do all that a step does with a parameter, on copies and with numbers of 1; raises what that raises."""
        for index, p in enumerate(self.program.passes):
            results = self._results(i, index, (1.0,) * len(p.number_names))
            self._keep(i, index, results)
            self._calls.run(index, [i], self._dtype, lambda _, __: 1.0)
        self._calls.release()
        param, grad = self.params[i].detach(), self._grads[i]
        for name, value in zip(self.program.passes[-1].writes, results, strict=True):
            self._put(real((param if name == "param" else self.states[i][name]).clone()), value)
        if self._buffer_size and grad is not None:
            before = real(param).to(self._dtype(i))
            try:
                _statistics(real(grad.detach()).to(before.dtype), before, before - before)
            except Exception as error:
                _warn_unwatched(type(param).__name__, f"{type(error).__name__}: {error}")

    @staticmethod
    def _put(target: Tensor, value: Any) -> None:
        if not isinstance(value, Tensor):  # in double precision, so that one too large for the target is infinite
            value = torch.full((), value, dtype=backends.number_dtype(target.device), device=target.device)
        target.copy_(value)

    def _stepped(self) -> list[tuple[int, Tensor]]:
        return [(i, grad) for i, grad in enumerate(self._grads) if grad is not None]

    def _dtype(self, i: int) -> torch.dtype:
        tensors = [self.params[i], self._grads[i], *(self.states[i][name] for name in self.program.states)]
        return compute_dtype([t.dtype for t in tensors if t is not None])

    def _results(self, i: int, index: int, numbers: Numbers, narrow: tuple[str, ...] = ()) -> tuple[Any, ...]:
        p = self.program.passes[index]
        tensors: dict[str, Any] = {"param": self.params[i], "grad": self._grads[i]}
        tensors |= {name: self.states[i][name] for name in self.program.states}
        tensors |= self._calls.made[i]
        read = {name: self._value(i, name, tensors[name]).to(self._dtype(i)) for name in p.reads}
        function = _function(self.program, index, self._wide(i), narrow)
        results = function(*read.values(), *(self._number(n, i) for n in numbers))
        # `return update, old_param`: a result that is a tensor itself is taken before the first is written.
        live = [tensor for name, tensor in read.items() if name in p.writes]
        return tuple(r.clone() if any(r is tensor for tensor in live) else r for r in results)

    def _wide(self, i: int) -> frozenset[str]:
        """The states of a parameter that are kept in single or double precision."""
        if KEY not in self.program.kept:
            return frozenset()
        return frozenset(n for n in self.program.states if keeps_all(self.states[i][n].dtype))

    def _watched(self, i: int, copy: bool = True) -> Tensor:
        """A parameter with its compensation, in the dtype in which it is computed; a copy, which a step does not change."""
        param = real(self.params[i].detach())
        if REST in self.program.states:
            return whole(param, self.states[i])
        return param.to(self._dtype(i), copy=copy)

    def _value(self, i: int, name: str, tensor: Tensor) -> Tensor:
        """The numbers that a tensor holds."""
        return decode(tensor, self.states[i][name + SCALES]) if is_code(tensor.dtype, name) else real(tensor.detach())

    def _number(self, number: Any, i: int) -> Any:
        """The number of one parameter."""
        if isinstance(number, np.ndarray):
            return number[i].item() if number.ndim else number.item()
        return number[i] if isinstance(number, Tensor) and number.ndim else number

    @torch.no_grad()
    def reduce(self, index: int, numbers: Numbers) -> Sums:
        device = self.params[0].device
        reductions = self.program.passes[index].reductions
        sums = torch.zeros((len(reductions), len(self.params)), dtype=backends.number_dtype(device), device=device)
        for i, _ in self._stepped():
            results = self._results(i, index, numbers)
            if reductions:
                made = [WHOLE[r.kind](x).to(sums.dtype) for x, r in zip(results, reductions, strict=False)]
                sums[:, i] = torch.stack(made)
            self._keep(i, index, results)
        return sums if self.on_device else sums.numpy()

    def _keep(self, i: int, index: int, results: Sequence[Any]) -> None:
        """Keep the temporaries among the results of a pass before the last."""
        p = self.program.passes[index]
        if p is self.program.passes[-1]:
            return
        for name, value in zip(p.writes, results[len(p.reductions) :], strict=True):
            like = self.params[i].detach()
            value = (
                value if isinstance(value, Tensor) else torch.full((), value, dtype=self._dtype(i), device=like.device)
            )
            self._calls.made[i][name] = value.expand(like.shape)

    def call(self, index: int, numbers: Numbers, bad: Tensor | None = None) -> None:
        stepped = [i for i, _ in self._stepped()]
        self._calls.run(index, stepped, self._dtype, lambda which, i: self._number(numbers[which], i), bad)

    @torch.no_grad()
    def write(self, numbers: Numbers | None, buffer_index: int = 0, skip: Tensor | None = None) -> None:
        self._numbers = self._numbers if numbers is None else numbers
        # What a graph's replays would write to a row is that of another step.
        watched = self._buffer_size > 0 and not backends.recording(self.params[0].device)
        if watched and self._statistics is None:
            self._statistics = self._empty_statistics()
        for i, grad in enumerate(self._grads):
            row = self._statistics[buffer_index, :, i] if watched and self._statistics is not None else None
            if grad is not None:
                self._step(i, grad, row, skip)
            elif row is not None:
                row.zero_()
        self._calls.write(skip)
        self.release()

    def release(self) -> None:
        self._grads = []
        self._calls.release()

    def _step(self, i: int, grad: Tensor, row: Tensor | None, skip: Tensor | None) -> None:
        """New parameter and states of one tensor, and its statistics."""
        last = self.program.passes[-1]
        param = self.params[i].detach()
        before = self._watched(i) if row is not None else None
        narrow = self._narrow(i) if row is not None else ()
        results = self._results(i, len(self.program.passes) - 1, self._numbers, narrow)
        cost = self._cost_of_rounding(i, narrow, results) if narrow else {}
        for name, value in zip(last.writes, results, strict=False):
            target = real(param if name == "param" else self.states[i][name])
            if is_code(target.dtype, name):
                values = value if isinstance(value, Tensor) else torch.full(target.shape, value, device=target.device)
                encode(values, target, self.states[i][name + SCALES], skip)
                continue
            if skip is not None:
                value = torch.where(skip, target, value.to(target.dtype) if isinstance(value, Tensor) else value)
            self._put(target, value)
        if row is not None and before is not None:
            try:
                row.copy_(
                    _statistics(
                        real(grad.detach()).to(before.dtype), before, self._watched(i, copy=False) - before, cost
                    )
                )
            except Exception:  # the step is made, and a caller who tries again would make it twice
                row.copy_(torch.tensor([_UNKNOWN.get(s.name, math.nan) for s in STATISTICS]))
            if skip is not None:
                row.masked_fill_(skip, 0.0)

    def _narrow(self, i: int) -> tuple[str, ...]:
        """What a step writes of a parameter that has 16 or 8 bits."""
        names = rounding.written_by(self.program)
        return tuple(name for name in names if rounding.is_narrow(self._tensor(i, name).dtype))

    def _tensor(self, i: int, name: str) -> Tensor:
        """A parameter or a state of it."""
        return self.params[i].detach() if name == "param" else self.states[i][name]

    def _cost_of_rounding(self, i: int, narrow: tuple[str, ...], results: Sequence[Any]) -> dict[str, Tensor]:
        """The statistics of what is narrow, before it is written; nothing where a subclass of tensors cannot say.

        Args:
            i: which parameter.
            narrow: those tensors.
            results: of the last pass, with what belongs to them.
        """
        places = rounding.extended(self.program, len(self.program.passes) - 1, self._wide(i), narrow).places
        tensors = []
        try:
            for name, (exact, made, *whole) in places.items():
                tensor = self._tensor(i, name)
                if not rounding.is_narrow(tensor.dtype):  # that of another tensor of a list is
                    continue
                before = results[whole[0]] if whole else self._value(i, name, tensor)
                holds = whole or is_code(tensor.dtype)
                dtype = None if holds else tensor.dtype
                tensors.append(rounding.NarrowTensor(name, results[exact], results[made], before, dtype))
            return rounding.figures(tensors, real(self.params[i].detach()))
        except Exception:  # the step goes on
            return {}

    def _empty_statistics(self) -> Tensor:
        device = self.params[0].device
        with torch.inference_mode(False):  # a first step there must not decide where others can be made
            shape = self._buffer_size, len(STATISTICS), len(self.params)
            return torch.zeros(shape, dtype=backends.number_dtype(device), device=device)

    @torch.no_grad()
    def statistics(self, steps: int) -> Tensor:
        assert self._statistics is not None  # there was a step
        return self._statistics[:steps]


#: Statistics that are counts, of a step whose figures cannot be had; the others are NaN.
_UNKNOWN = {"nonfinite": 0.0, "steps": 1.0}


@cache
def _warn_unwatched(kind: str, why: str) -> None:
    """Say once in a process that figures of a kind of tensor cannot be had."""
    warnings.warn(
        f"the watch has no figures of parameters that are {an(kind)} ({why}): they are NaN", stacklevel=level_of_user()
    )


def _square(x: Tensor) -> Tensor:
    """The sum of squares."""
    wide = x.to(backends.number_dtype(x.device))
    return (wide * wide).sum()


def _sum(x: Tensor) -> Tensor:
    return x.to(backends.number_dtype(x.device)).sum()


def _max(x: Tensor) -> Tensor:
    """The largest magnitude; 0 without elements."""
    return x.abs().amax() if x.numel() else x.sum()


_MEASURES = {"square": _square, "max": _max}
#: Whole-tensor numbers, by the kind of a reduction.
WHOLE = {"squares": _square, "sum": _sum, "amax": _max}


def _statistics(grad: Tensor, param: Tensor, update: Tensor, cost: Mapping[str, Tensor] | None = None) -> Tensor:
    """STATISTICS of one tensor that was stepped, in their order; ``cost``: those of rounding."""
    tensors = {"grad": grad, "param": param, "update": update}
    known = {"nonfinite": (~torch.isfinite(grad)).sum(), "steps": torch.ones((), device=grad.device)}
    known |= dict.fromkeys(backends.ROUNDING_STATISTICS, torch.zeros((), device=grad.device)) | dict(cost or {})

    def value(name: str) -> Tensor:
        of, _, measure = name.rpartition("_")  # grad_square
        return known[name] if name in known else _MEASURES[measure](tensors[of])

    return torch.stack([value(s.name).to(backends.number_dtype(grad.device)) for s in STATISTICS])
