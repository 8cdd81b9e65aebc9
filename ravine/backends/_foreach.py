"""The foreach backend: the program's text over lists of tensors, each operation one call of ``torch._foreach_*``.

For devices that have no kernel here (mps, xpu, CUDA without Triton): what torch's own loops do there, for every formula.
Tensors are as those of the eager backend, and computed in the same dtype; of 16 bits, they are widened first.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine import backends
from ravine.backends import STATISTICS, Numbers, Sums
from ravine.backends import _rounding_figures as rounding
from ravine.backends._brief import BriefSteps
from ravine.backends._eager import Eager, real
from ravine.backends._tensor_lists import PerTensor, TensorList, scope
from ravine.formula import Program
from ravine.formula._python import Statements, code_name


@cache
def list_function(
    program: Program, index: int, in_place: bool, wide: frozenset[str], narrow: tuple[str, ...] = ()
) -> Callable[..., tuple[Any, ...]]:
    """The element stage of a pass as a Python function of lists and numbers.

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
        self._large = self._is_large(self.program, self.params, self._buffer_size > 0)

    def _groups(self) -> list[list[int]]:
        """The parameters that are stepped, by the dtype that they are computed in and what is kept narrow."""
        groups: dict[Any, list[int]] = defaultdict(list)
        for i, _ in self._stepped():
            groups[self._dtype(i), self._wide(i)].append(i)
        return list(groups.values())

    def _read(self, chosen: Sequence[int], index: int) -> dict[str, TensorList]:
        """What a pass reads of these parameters, as real numbers of one dtype."""
        dtype = self._dtype(chosen[0])

        def wide(tensor: Any) -> Tensor:
            return real(tensor.detach()).to(dtype)

        lists: dict[str, TensorList] = {}
        for name in self.program.passes[index].reads:
            if name == "param":
                tensors = [self.params[i] for i in chosen]
            elif name == "grad":
                tensors = [self._grads[i] for i in chosen]  # type: ignore[misc]
            else:
                tensors = [self.states[i][name] for i in chosen]
            lists[name] = TensorList([wide(t) for t in tensors], False)
        return lists

    def _numbers_of(self, chosen: Sequence[int], numbers: Numbers) -> list[Any]:
        values = []
        for number in numbers:
            several = isinstance(number, np.ndarray | Tensor) and number.ndim
            own = [self._number(number, i) for i in chosen]
            # One number for all, as those of the steps are in most trainings, can be part of another operation.
            alike = all(isinstance(n, bool | int | float) and n == own[0] for n in own)
            values.append(PerTensor(own) if several and not alike else own[0])
        return values

    @torch.no_grad()
    def reduce(self, index: int, numbers: Numbers) -> Sums:
        device = self.params[0].device
        double = backends.number_dtype(device)
        reductions = self.program.passes[index].reductions
        sums = torch.zeros(len(reductions), len(self.params), dtype=double, device=device)
        for chosen in self._groups():
            lists = self._read(chosen, index)
            results = list_function(self.program, index, False, self._wide(chosen[0]))(
                *lists.values(), *self._numbers_of(chosen, numbers)
            )
            for row, (result, reduction) in enumerate(zip(results, reductions, strict=True)):
                tensors = _tensors_of(result, [real(self.params[i].detach()) for i in chosen])
                if reduction.kind == "squares":
                    totals = _norms(tensors, 2, double) ** 2
                elif reduction.kind == "amax":
                    totals = _norms(tensors, float("inf"), double)
                else:
                    totals = torch.stack([t.to(double).sum() for t in tensors])
                for column, value in zip(chosen, (totals.round() if reduction.guard else totals).unbind(), strict=True):
                    sums[row, column] = value
        return sums if self.on_device else sums.numpy()

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
        for chosen in self._groups():
            narrow = tuple(sorted({n for i in chosen for n in self._narrow(i)})) if in_full else ()
            function = list_function(self.program, index, skip is None, self._wide(chosen[0]), narrow)
            lists = self._read(chosen, index)
            before = [self._watched(i) for i in chosen] if in_full else []
            values = self._numbers_of(chosen, self._numbers)
            self._rehearse(function, lists, values)
            results = function(*lists.values(), *values)
            costs = {
                i: self._cost_of_rounding(i, narrow, [_of_list(x, place) for x in results])
                for place, i in enumerate(chosen)
                if narrow
            }
            for name, value in zip(writes, _safe_from_writing(writes, lists, results), strict=True):
                targets = self._targets(chosen, name)
                made = _tensors_of(value, targets)
                if skip is not None:
                    made = [torch.where(skip, t, m.to(t.dtype)) for t, m in zip(targets, made, strict=True)]
                if any(t.data_ptr() != m.data_ptr() or t.dtype != m.dtype for t, m in zip(targets, made, strict=True)):
                    torch._foreach_copy_(targets, made)
            if figures is not None:
                made_of = self._in_full(chosen, before, costs) if in_full else self._of_gradients(chosen)
                self._note(figures, chosen, made_of, skip)
            torch.autograd.graph.increment_version([self.params[i] for i in chosen])
        self.release()

    def _rehearse(self, function: Callable[..., Any], lists: Mapping[str, TensorList], numbers: Sequence[Any]) -> None:
        """Run a function on tensors of one element first, so that what it raises is raised before anything is written."""
        kind = function, *map(type, numbers)
        if kind in self._rehearsed:
            return
        small = [TensorList([t.new_ones((1,) * t.ndim) for t in each.tensors], False) for each in lists.values()]
        function(*small, *numbers)
        self._rehearsed.add(kind)

    def _targets(self, chosen: Sequence[int], name: str, dtype: torch.dtype | None = None) -> list[Tensor]:
        tensors = [self.params[i].detach() if name == "param" else self.states[i][name] for i in chosen]
        return [real(t) if dtype is None else real(t).to(dtype) for t in tensors]

    def _gradients(self, chosen: Sequence[int]) -> list[Tensor]:
        """Their gradients, in the dtype in which they are computed."""
        return [real(g.detach()).to(self._dtype(i)) for i in chosen if (g := self._grads[i]) is not None]

    def _of_gradients(self, chosen: Sequence[int]) -> dict[str, Tensor]:
        """The statistics of a step that is looked at in brief, which has read no more than gradients; ``nonfinite`` is 1 for any."""
        grads, dtype = self._gradients(chosen), backends.number_dtype(self.params[0].device)
        squares = _norms(grads, 2, dtype) ** 2
        # Squares of finite numbers can overflow where they are not added in a wider dtype; the largest magnitude cannot.
        wider = dtype is torch.float64 and grads[0].dtype is not torch.float64
        bad = ~torch.isfinite(squares if wider else _norms(grads, float("inf"), dtype))
        return {"grad_square": squares, "nonfinite": bad.to(dtype)}

    def _in_full(
        self, chosen: Sequence[int], before: list[Tensor], costs: Mapping[int, Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The statistics of a step."""
        dtype = backends.number_dtype(self.params[0].device)
        grads = self._gradients(chosen)
        update = torch._foreach_sub([self._watched(i, copy=False) for i in chosen], before)
        figures = {"nonfinite": torch.stack([(~torch.isfinite(g)).sum().to(dtype) for g in grads])}
        for name, tensors in (("grad", grads), ("param", before), ("update", update)):
            figures[f"{name}_square"] = _norms(tensors, 2, dtype) ** 2
            figures[f"{name}_max"] = _norms(tensors, float("inf"), dtype)
        if costs:
            none = grads[0].new_zeros((), dtype=dtype)
            for name in backends.ROUNDING_STATISTICS:
                figures[name] = torch.stack([costs.get(i, {}).get(name, none) for i in chosen])
        return figures

    @staticmethod
    def _note(figures: Tensor, chosen: Sequence[int], known: Mapping[str, Tensor], skip: Tensor | None) -> None:
        """Put the statistics of some parameters in their columns."""
        some = next(iter(known.values()))
        rest = {"steps": torch.ones_like(some)}
        made = torch.stack([{**rest, **known}.get(s.name, torch.zeros_like(some)) for s in STATISTICS])
        if skip is not None:
            made.masked_fill_(skip, 0.0)
        for column, values in zip(chosen, made.unbind(1), strict=True):
            figures[:, column].copy_(values)

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


def _norms(tensors: Sequence[Tensor], order: float, dtype: torch.dtype) -> Tensor:
    """Of every tensor; 0 without elements."""
    tensors = [t if t.is_floating_point() else t.to(torch.float32) for t in tensors]
    if order == 2:
        return torch.stack(torch._foreach_norm(tensors, 2, dtype))
    filled = [t if t.numel() else t.new_zeros(1) for t in tensors]
    return torch.stack(torch._foreach_norm(filled, order)).to(dtype)
