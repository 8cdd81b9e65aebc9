"""Runs functions of whole tensors between two passes: tensors of one shape stacked into one call, where the function takes that.

Every backend of torch's tensors has one ``Calls`` for its batch. What comes back is looked at before anything is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine._compat.torch import is_fake, version_of
from ravine.backends import States
from ravine.backends._eight_bits import values_of
from ravine.errors import BackendError, an
from ravine.formula import Program
from ravine.formula._passes import Call


class Calls:
    """Those of one batch.

    Args:
        program: says what is called after which pass.
        params: the parameters.
        states: what is kept for each of them.

    Attributes:
        made: the temporaries of each parameter, by name.
        kept: the names of those that outlive a step.
    """

    def __init__(self, program: Program, params: Sequence[Tensor], states: Sequence[States]) -> None:
        self._program, self._params, self._states = program, list(params), list(states)
        self._any = any(p.calls for p in program.passes)
        self.made: list[dict[str, Tensor]] = [{} for _ in params]
        self.kept: frozenset[str] = frozenset()
        self._replaced: list[dict[str, Tensor]] = [{} for _ in params]

    @torch.no_grad()
    def run(
        self,
        index: int,
        stepped: Sequence[int],
        dtype: Callable[[int], torch.dtype],
        number: Callable[[int, int], Any],
        bad: Tensor | None = None,
    ) -> None:
        """Run what is called after pass ``index``.

        Args:
            index: which pass.
            stepped: the parameters that have a gradient.
            dtype: in which dtype a parameter is computed.
            number: the number of an index, of a parameter.
            bad: on a device, a truth value: where it is true the step will change nothing, and functions, which may fail at
                what is not finite, are given zeros.

        Raises:
            BackendError: a function gave something else than it should, or wrote to what it was given.
        """
        for call in self._program.passes[index].calls:
            given = {i: self._given(call, i, dtype(i), number, bad) for i in stepped}
            alike: dict[Any, list[int]] = defaultdict(list)
            for i, values in given.items():
                alike[_kind(values) if call.of.batched else i].append(i)
            for members in alike.values():
                self._call(call, members, [given[i] for i in members], dtype(members[0]))

    def _given(
        self, call: Call, i: int, dtype: torch.dtype, number: Callable[[int, int], Any], bad: Tensor | None
    ) -> list[Any]:
        values: list[Any] = []
        for argument in call.args:
            if argument.tensor:
                tensor = self._tensor(i, argument.tensor).detach().to(dtype)
                values.append(tensor if bad is None else tensor.masked_fill(bad, 0.0))
            else:
                values.append(argument.constant if argument.number < 0 else number(argument.number, i))
        return values

    def _tensor(self, i: int, name: str) -> Tensor:
        if name == "param":
            return self._params[i]
        if name == "grad":
            grad = self._params[i].grad
            assert grad is not None  # only parameters that have one are stepped
            return grad
        if name in self.made[i]:
            return self.made[i][name]
        return values_of(self._states[i], name)

    def _call(self, call: Call, members: Sequence[int], given: Sequence[Sequence[Any]], dtype: torch.dtype) -> None:
        together = len(members) > 1
        rows = zip(*given, strict=True)
        values = [stacked(row) if together and isinstance(row[0], Tensor) and row[0].ndim else row[0] for row in rows]
        of = call.of
        positional = values[: len(values) - len(of.keywords)]
        named = dict(zip(of.keywords, values[len(positional) :], strict=True), **dict(of.options))
        before = _versions(values)
        try:
            results = of.function(*positional, **named)
        except Exception as error:
            shapes = ", ".join(str(tuple(v.shape)) for v in values if isinstance(v, Tensor) and v.ndim)
            error.add_note(
                f"It came from the tensor function {of.title}, given tensors of shape {shapes or '()'}. Other parameters can have "
                "other pieces: def formula(ndim)"
            )
            raise
        if before != _versions(values):
            raise BackendError(
                f"the tensor function {of.title} writes to what it is given, and that may be a parameter or a state: let it "
                "compute new tensors (x = x * 2, not x.mul_(2))"
            )
        results = results if isinstance(results, tuple) else (results,)
        if len(results) != of.returns:
            raise BackendError(
                f"the tensor function {of.title} gave {len(results)} value{'s' * (len(results) != 1)}, and is marked "
                f"@tensor_function(returns={of.returns})"
            )
        for place, (result, name, state) in enumerate(zip(results, call.results, call.states, strict=True)):
            if not (name or state):
                continue
            if together and isinstance(result, Tensor) and result.ndim and len(result) != len(members):
                raise BackendError(
                    f"the tensor function {of.title} was given {len(members)} tensors as one, and gave one of shape "
                    f"{tuple(result.shape)}: what is marked @tensor_function(batched=True) keeps the first dimension"
                )
            # What it was given may be a parameter or a state, and written before the result is read.
            if isinstance(result, Tensor) and _is_of(result, values):
                result = result.clone()
            for row, i in enumerate(members):
                shape = self._states[i][state].shape if state else self._params[i].shape
                one = result[row] if together and isinstance(result, Tensor) and result.ndim else result
                which = f"result {place + 1} of {of.returns}" if of.returns > 1 else "its result"
                self._check(one, shape, dtype, of.title, which, f"the state {state}" if state else "the parameter")
                if name and state and shape != self._params[i].shape:
                    raise BackendError(
                        f"the tensor function {of.title}: {which} becomes the state {state} of shape {tuple(shape)}, and the "
                        f"formula also computes with it for every element of a parameter of shape {tuple(self._params[i].shape)}"
                    )
                if name:
                    self.made[i][name] = one
                if state:
                    self._replaced[i][state] = one

    @staticmethod
    def _check(one: Any, shape: Sequence[int], dtype: torch.dtype, title: str, which: str, whose: str) -> None:
        if not isinstance(one, Tensor):
            raise BackendError(
                f"the tensor function {title}: {which} is {one!r} ({an(type(one).__name__)}), not a tensor"
            )
        if one.shape != shape:
            raise BackendError(
                f"the tensor function {title}: {which} has shape {tuple(one.shape)}, and {whose} has {tuple(shape)}"
            )
        if one.dtype != dtype:
            raise BackendError(
                f"the tensor function {title}: {which} is {one.dtype}, and the formula is computed in {dtype}: end it with "
                f".to(x.dtype) of its argument x"
            )

    def write(self, skip: Tensor | None = None) -> None:
        """Give the states with shapes of their own their new values, but where ``skip`` is true."""
        if not self._any:
            return
        with torch.no_grad():
            for i, states in enumerate(self._replaced):
                for name, value in states.items():
                    target = self._states[i][name]
                    target.copy_(value if skip is None else torch.where(skip, target, value))
        self.release()

    def release(self) -> None:
        """Let go of what functions gave in this step."""
        if not self._any:
            return
        for made, states in zip(self.made, self._replaced, strict=True):
            states.clear()
            for name in [n for n in made if n not in self.kept]:
                del made[name]


def _versions(values: Sequence[Any]) -> list[int]:
    """How often each tensor was written; those of inference mode do not know."""
    return [version_of(v) for v in values if isinstance(v, Tensor) and not v.is_inference()]


def _is_of(result: Tensor, values: Sequence[Any]) -> bool:
    """Whether a result lies in the memory of what the function was given."""
    tensors = [result, *(v for v in values if isinstance(v, Tensor))]
    if any(is_fake(t) or type(t) is not Tensor for t in tensors):
        return any(result is t for t in tensors[1:])
    first, *given = (t.untyped_storage().data_ptr() for t in tensors)
    return first in given


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape as one with one more dimension: without a copy where they lie in one memory at equal distances."""
    seen = adjacent(tensors)
    return torch.stack(list(tensors)) if seen is None else seen


def adjacent(tensors: Sequence[Tensor]) -> Tensor | None:
    """The view that has all tensors as its rows; None if there is none."""
    if any(is_fake(t) or type(t) is not Tensor for t in tensors):
        return None
    first, second = tensors[0], tensors[min(1, len(tensors) - 1)]
    step = second.storage_offset() - first.storage_offset()
    memory, start, strides = first.untyped_storage().data_ptr(), first.storage_offset(), first.stride()
    for i, t in enumerate(tensors):
        if t.storage_offset() != start + i * step or t.stride() != strides or t.untyped_storage().data_ptr() != memory:
            return None
    if len(tensors) > 1 and step <= 0:
        return None
    return first.as_strided((len(tensors), *first.shape), (step, *strides))


def _kind(values: Sequence[Any]) -> tuple[Any, ...]:
    """What those have in common that one call takes together."""
    return tuple((v.shape, v.dtype) if isinstance(v, Tensor) and v.ndim else v for v in values)
