"""Values of rows, columns and matrices: torch computes them between kernels, for all tensors of a batch at once.

Such values lie one behind the other. States of rows and columns are views of them.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.backends import States
from ravine.formula import Program
from ravine.formula import _functions as functions
from ravine.formula._operations import ALONG, COLUMNS, FULL, OF_MATRIX, ROWS
from ravine.formula._passes import Pass
from ravine.formula._pieces import Reduced
from ravine.formula._symbols import Symbol, postorder

_OPERATORS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "and": operator.and_,
    "or": operator.or_,
    "abs": abs,
}


class LineValues:
    """Those of one batch.

    Args:
        program: whose values.
        params: contiguous tensors of at least two dimensions.
        states: those of each; the ones of rows and columns become views.
        dtype: in which values are computed.

    Attributes:
        counts: how many matrices, rows and columns all tensors have.
        shapes: of each tensor: how many matrices, and the rows and columns of each.
        known: the values of this step.
    """

    def __init__(
        self, program: Program, params: Sequence[Tensor], states: Sequence[States], dtype: torch.dtype
    ) -> None:
        self.program, self.dtype, self.device = program, dtype, params[0].device
        self.known: dict[Symbol, Any] = {}
        self._new: dict[str, Any] = {}
        self.shapes = [(p.shape[:-2].numel(), *p.shape[-2:]) for p in params]
        many, rows, columns = (torch.tensor(each, device="cpu") for each in zip(*self.shapes, strict=True))
        of_matrix = torch.arange(len(params), device="cpu").repeat_interleave(many)
        index = torch.arange(len(of_matrix), device="cpu")
        matrix_of = {OF_MATRIX: index, ROWS: index.repeat_interleave(rows[of_matrix])}
        matrix_of[COLUMNS] = index.repeat_interleave(columns[of_matrix])
        self.counts = {axes: len(places) for axes, places in matrix_of.items()}
        self._matrix_of = {axes: places.to(self.device) for axes, places in matrix_of.items()}
        self._tensor_of = {axes: of_matrix[places].to(self.device) for axes, places in matrix_of.items()}
        self._states: dict[str, Tensor] = {}
        with torch.inference_mode(False), torch.no_grad():
            for name, initial in program.states.items():
                if isinstance(initial, Reduced):
                    here = [s[name] for s in states]
                    flat = torch.cat([t.detach().reshape(-1) for t in here])
                    for kept, view, tensor in zip(states, flat.split([t.numel() for t in here]), here, strict=True):
                        kept[name] = view.view(tensor.shape)
                    self._states[name] = flat

    def start(self) -> None:
        """Forget the values of the step before."""
        self.known, self._new = {}, {}

    def flat(self, symbol: Symbol) -> Tensor:
        """What a kernel reads of rows, columns or matrices."""
        value = self.of(symbol)
        if not isinstance(value, Tensor):
            value = torch.full((), float(value), dtype=self.dtype, device=self.device)
        made: Tensor = value.to(self.dtype).expand(self.counts[symbol.axes]).contiguous()
        return made

    def of(self, symbol: Symbol) -> Any:
        """A value of rows, columns or matrices, of all tensors one behind the other; a number, or one for each tensor."""
        known = self.known
        for s in postorder([symbol], into=lambda s: s not in known and s.element and s.op not in ("buffer", "result")):
            if s not in known:
                known[s] = self._computed(s)
        return known[symbol]

    def _computed(self, symbol: Symbol) -> Any:
        op = symbol.op
        if op == "constant":
            return symbol.value
        if op == "buffer":
            return self._states[symbol.name].to(self.dtype)
        first = symbol.args[0]
        if op in ALONG:  # of what is one for each row or column already
            values = self._lifted(first, first.axes)
            return self._of_matrices(values, first.axes, top=not op.endswith("sum")).to(self.dtype)
        values = [self._lifted(a, symbol.axes) for a in symbol.args]
        if op == "where" and not isinstance(values[1], Tensor):  # of two numbers torch makes single precision
            values[1] = torch.full((), float(values[1]), dtype=self.dtype, device=self.device)
        compute: Any = _OPERATORS.get(op) or getattr(functions, op)
        return compute(*values)

    def _lifted(self, symbol: Symbol, axes: int) -> Any:
        """A known value as one for each row, column or matrix."""
        value = self.known[symbol]
        if symbol.axes == axes or not isinstance(value, Tensor) or not value.ndim:
            return value
        return value[self._matrix_of[axes] if symbol.axes else self._tensor_of[axes]]

    def of_tensors(self, symbol: Symbol, kind: str, active: Tensor | None) -> Tensor:
        """What a reduction is of values of rows, columns or matrices, for each tensor: in double precision.

        It is 0 of tensors that are not ``active``.
        """
        values = self.flat(symbol).double()
        values = values * values if kind == "squares" else values
        made = self._total(values, symbol.axes, self._tensor_of[symbol.axes], len(self.shapes), kind == "amax")
        return made if active is None else torch.where(active, made, 0.0)

    def _of_matrices(self, values: Tensor, axes: int, top: bool) -> Tensor:
        """The sum, or largest magnitude, of the rows or columns of each matrix: in double precision."""
        values = values.expand(self.counts[axes]).double()
        return self._total(values, axes, self._matrix_of[axes], self.counts[OF_MATRIX], top)

    def _total(self, values: Tensor, axes: int, to: Tensor, count: int, top: bool) -> Tensor:
        """What is added up, or the largest, of the values that go to each of so many places."""
        made = torch.zeros(count, dtype=values.dtype, device=values.device)
        return made.scatter_reduce_(0, to, values.abs(), "amax") if top else made.index_add_(0, to, values)

    def make_new(self, last: Pass) -> None:
        """Compute the new values of states of rows and columns, once, before anything is written."""
        for symbol, name in zip(last.results, last.writes, strict=True):
            if name not in self._new and (axes := self.program.axes(name)) != FULL:
                self.of(symbol)
                value = self._lifted(symbol, axes)
                # A state that becomes another is taken before that is written.
                self._new[name] = value.clone() if symbol.op == "buffer" else value

    def write(self, stepped: Tensor | None) -> None:
        """Give states of rows and columns their new values.

        Args:
            stepped: which tensors are stepped, truth values; None: all.
        """
        for name, value in self._new.items():
            state = self._states[name]
            if stepped is not None:
                chosen = stepped[self._tensor_of[self.program.axes(name)]]
                if not isinstance(value, Tensor):
                    value = torch.full((), float(value), dtype=state.dtype, device=state.device)
                value = torch.where(chosen, value.to(state.dtype), state)
            state.copy_(value) if isinstance(value, Tensor) else state.fill_(value)
        self.start()
