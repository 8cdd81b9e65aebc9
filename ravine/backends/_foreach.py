"""The foreach backend: the program's text over lists of tensors, each operation one call of ``torch._foreach_*``.

For devices that have no kernel here (mps, xpu, CUDA without Triton): what torch's own loops do there, for every formula.
Tensors are as those of the eager backend, and computed in the same dtype; of 16 bits, they are widened first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine import backends
from ravine.backends import Numbers, Sums, _list_figures
from ravine.backends import _rounding_figures as rounding
from ravine.backends._brief import BriefSteps
from ravine.backends._eager import Eager
from ravine.backends._list_figures import any_nonfinite, norms
from ravine.backends._list_parts import ListPart, Parts
from ravine.backends._tensor_lists import PerTensor, TensorList, scope
from ravine.formula import Program
from ravine.formula._compensation import REST
from ravine.formula._python import Statements, code_name


@cache
def list_function(
    program: Program, index: int, in_place: bool, wide: frozenset[str], narrow: tuple[str, ...] = ()
) -> Callable[..., tuple[Any, ...]]:
    """The element stage of a pass as a Python function of lists and numbers, without what counts bad elements.

    Args:
        program: the program.
        index: which pass.
        in_place: what it writes is written, as soon as its old value is not read any more.
        wide: what is not kept in fewer bits.
        narrow: of what it gives more, see ``rounding.extended``.
    """
    p = program.passes[index]
    arguments = [*map(code_name, p.reads), *p.number_names]
    results = rounding.extended(program, index, wide, narrow).results
    guards = [i for i, reduction in enumerate(p.reductions) if reduction.guard]
    results = [symbol for i, symbol in enumerate(results) if i not in guards]
    made = [f"new{i}" for i in range(len(results))]
    body = Statements(
        results,
        p.leaves(),
        made,
        calls={"div", "pow"},
        element=lambda n: f"element({n}, {arguments[0]})",
    )
    targets = dict(zip(made, map(code_name, p.writes), strict=False)) if p.writes else {}
    lines: list[str] = []
    writes_later = False
    for i, line in reversed(list(enumerate(body.lines))):
        name, _, text = line.partition(" = ")
        old = targets.get(name, "")
        read = any(re.search(rf"\b{old}\b", later) for later in (*body.lines[i + 1 :], *body.results))
        if in_place and old in arguments and not read:
            lines.insert(0, f"{name} = put({old}, {text})")
            writes_later = True
        else:
            lines.insert(0, f"{name} = {'apart' if writes_later else 'kept'}({text})")
    source = "\n".join([f"def elements({', '.join(arguments)}):", *(f"    {line}" for line in lines)])
    source += f"\n    return ({''.join(f'{r}, ' for r in body.results)})"
    known = scope()
    exec(compile(source, "<elements of lists>", "exec"), known)
    result: Callable[..., tuple[Any, ...]] = known["elements"]
    return result


class Foreach(Eager):
    """A batch that runs on torch's operations on lists; see ``ravine.backends.Batch``. All parameters are on one device."""

    takes_host_numbers = True  # an operation on a list takes a number as an argument
    in_graphs = False  # since they come from the host

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rehearsed: set[tuple[Any, ...]] = set()
        self._in_brief = BriefSteps(self._buffer_size)
        self._large = self._buffer_size > 0 and "param" in self.program.passes[-1].writes  # small ones take time, too
        self._parts = Parts(
            self.program, self.params, self.states, lambda i: (self._dtype(i), self._wide(i)), self._narrow
        )

    def gather(self) -> bool:
        grads = [p.grad for p in self.params]
        if self._parts.unchanged(grads):
            self._grads = grads
            return True
        self._parts.forget()
        if not super().gather():
            return False
        self._parts.take(self._grads)
        return True

    def _numbers_of(self, part: ListPart, numbers: Numbers) -> list[Any]:
        values = []
        for number in numbers:
            if isinstance(number, np.ndarray) and number.ndim:
                own = number[part.chosen]
                # One number for all, as those of the steps are in most trainings, can be part of another operation.
                values.append(own[0].item() if (own == own[0]).all() else PerTensor(own.tolist()))
            elif isinstance(number, Tensor) and number.ndim:
                each = number.unbind()
                values.append(PerTensor([each[i] for i in part.chosen]))
            else:
                values.append(number.item() if isinstance(number, np.ndarray) else number)
        return values

    @torch.no_grad()
    def reduce(self, index: int, numbers: Numbers) -> Sums:
        device = self.params[0].device
        dtype = backends.number_dtype(device)
        reductions = self.program.passes[index].reductions
        sums = torch.zeros(len(reductions), len(self.params), dtype=dtype, device=device)
        for part in self._parts:
            made = iter(self._elements(part, index, numbers))
            rows = [
                # The program's text would look at one tensor after the other.
                any_nonfinite(part.gradients(self._grads), dtype)
                if reduction.guard
                else self._total(part, next(made), reduction.kind, dtype)
                for reduction in reductions
            ]
            if rows:
                part.put(torch.stack(rows), sums)
        return sums if self.on_device else sums.numpy()

    def _elements(self, part: ListPart, index: int, numbers: Numbers) -> tuple[Any, ...]:
        """The results of a pass that writes nothing, without those that count bad elements."""
        one = self.program.passes[index]
        if all(reduction.guard for reduction in one.reductions):
            return ()
        function = list_function(self.program, index, False, part.wide)
        return function(*part.lists(one.reads, self._grads).values(), *self._numbers_of(part, numbers))

    @staticmethod
    def _total(part: ListPart, value: Any, kind: str, dtype: torch.dtype) -> Tensor:
        """A number of each tensor."""
        tensors = _tensors_of(value, part.kept["param"])
        if kind == "sum":
            return torch.stack([t.sum(dtype=dtype) for t in tensors])
        return norms(tensors, 2, dtype) ** 2 if kind == "squares" else norms(tensors, torch.inf, dtype)

    @torch.no_grad()
    def write(self, numbers: Numbers | None, buffer_index: int = 0, skip: Tensor | None = None) -> None:
        self._numbers = self._numbers if numbers is None else numbers
        figures = None
        if self._buffer_size:
            if self._statistics is None:
                self._statistics = self._empty_statistics()
            figures = self._statistics[buffer_index].zero_()
            self._in_brief.note(buffer_index, self.brief)
        in_full = figures is not None and not self.brief
        index = len(self.program.passes) - 1
        writes = self.program.passes[index].writes
        for part in self._parts:
            narrow = part.narrow if in_full else ()
            function = list_function(self.program, index, skip is None, part.wide, narrow)
            lists = part.lists(self.program.passes[index].reads, self._grads)
            before = self._params_of(part, copy=True) if in_full else []
            values = self._numbers_of(part, self._numbers)
            self._rehearse(function, lists, values)
            results = function(*lists.values(), *values)
            costs: list[dict[str, Tensor]] = [{} for _ in part.chosen]
            if narrow:
                costs = [
                    self._cost_of_rounding(i, narrow, [_of_list(x, place) for x in results])
                    for place, i in enumerate(part.chosen)
                ]
            for name, value in zip(writes, _safe_from_writing(writes, lists, results), strict=True):
                _put(part.kept[name], value, skip)
            if figures is not None:
                grads = part.numbers("grad", part.gradients(self._grads))
                known = (
                    _list_figures.in_full(grads, before, self._params_of(part), costs)
                    if in_full
                    else _list_figures.of_gradients(grads)
                )
                part.put(_list_figures.table(known, skip), figures)
        self.release()

    def _params_of(self, part: ListPart, copy: bool = False) -> list[Tensor]:
        """Parameters with their compensation, in the dtype in which they are computed; copies, which a step does not change."""
        if REST in self.program.states:
            return [self._watched(i) for i in part.chosen]
        made = part.numbers("param", part.kept["param"])
        return torch._foreach_mul(made, 1.0) if copy and "param" in part.as_kept else made  # type: ignore[return-value]

    def _rehearse(self, function: Callable[..., Any], lists: Mapping[str, TensorList], numbers: Sequence[Any]) -> None:
        """Run a function on tensors of one element first, so that what it raises is raised before anything is written."""
        kind = function, *map(type, numbers)
        if kind in self._rehearsed:
            return
        small = [TensorList([t.new_ones((1,) * t.ndim) for t in each.tensors], False) for each in lists.values()]
        function(*small, *numbers)
        self._rehearsed.add(kind)

    @torch.no_grad()
    def statistics(self, steps: int) -> Tensor:
        return self._in_brief.mark(super().statistics(steps))


def _safe_from_writing(writes: Sequence[str], lists: Mapping[str, TensorList], results: Sequence[Any]) -> list[Any]:
    """What each buffer becomes; of ``return update, old_param`` the second is copied, since the first is written before."""
    owners = {id(lists[name].tensors[0]): name for name in writes if name in lists}
    made, written = [], set()
    for name, value in zip(writes, results, strict=False):
        owner = owners.get(id(value.tensors[0])) if isinstance(value, TensorList) else None
        made.append(TensorList([t.clone() for t in value.tensors]) if owner in written else value)
        if owner != name:
            written.add(name)
    return made


def _put(targets: list[Tensor], value: Any, skip: Tensor | None) -> None:
    """Write a result to where it belongs, if it is not there already; where ``skip`` is true nothing changes."""
    made = _tensors_of(value, targets)
    if made[0] is targets[0]:
        return
    if skip is None:
        torch._foreach_copy_(targets, made)
        return
    for target, new in zip(targets, made, strict=True):
        torch.where(skip, target, new.to(target.dtype), out=target)


def _tensors_of(value: Any, like: Sequence[Tensor]) -> list[Tensor]:
    """The tensors of a list; of a number, tensors full of it, in double precision, so that one too large for a target is infinite."""
    if isinstance(value, TensorList):
        return value.tensors
    values = value.values if isinstance(value, PerTensor) else [value] * len(like)
    made = []
    for t, v in zip(like, values, strict=True):
        number = (
            v if isinstance(v, Tensor) else torch.full((), v, dtype=backends.number_dtype(t.device), device=t.device)
        )
        made.append(number.expand_as(t))
    return made


def _of_list(value: Any, place: int) -> Any:
    """The value of one tensor."""
    return value.tensors[place] if isinstance(value, TensorList) else value
