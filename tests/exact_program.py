"""What a step of a program can give: its graph evaluated in NumPy's doubles with the rounding of ``exact.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import exact
import numpy as np
import torch
from exact import DOUBLE, SINGLE, Interval, Truth, operate

from ravine.formula import ParamCopy, Program
from ravine.formula._operations import OPERATIONS
from ravine.formula._symbols import postorder
from ravine.optim import Optimizer


class Tensor:
    """One parameter in a step: its buffers' values and its numbers.

    Args:
        buffers: parameter, gradient and states, by name.
        numbers: hyperparameters (``"betas[0]"`` is an element of a tuple) and ``step``.
        double: whether elements are computed in double precision.
        others: all tensors that a global norm runs over, this one among them.
    """

    def __init__(
        self, buffers: Mapping[str, torch.Tensor], numbers: Mapping[str, float], double: bool, others: Sequence[Tensor]
    ) -> None:
        self.buffers = {name: numpy(tensor) for name, tensor in buffers.items()}
        self.numbers, self.others = numbers, others
        self.precision = DOUBLE if double else SINGLE
        self._known: dict[int, Any] = {}

    def element(self, symbol: Any) -> Any:
        """The possible values of a symbol for each element; a number is rounded to the elements' precision."""
        value = self.value(symbol)
        if isinstance(value, Interval) and not symbol.element:
            return exact.rounded(value, self.precision)
        return value

    def value(self, symbol: Any) -> Any:
        """The possible values of a symbol."""
        stack = [symbol]
        while stack:  # formulas can be deeper than Python's stack
            top = stack[-1]
            missing = [a for a in top.args if id(a) not in self._known]
            if missing:
                stack += missing
            else:
                self._known[id(stack.pop())] = self._value(top)
        return self._known[id(symbol)]

    def _value(self, symbol: Any) -> Interval | Truth:
        if symbol.op == "constant":
            return exact.exact(symbol.value)
        if symbol.op in ("number", "kept"):
            return exact.exact(self.numbers[symbol.name])
        if symbol.op == "buffer":
            return exact.exact(self.buffers[symbol.name])
        if symbol.op in ("sum_of_squares", "global_sum_of_squares"):
            total: Any = exact.exact(0.0)
            for tensor in [self] if symbol.op == "sum_of_squares" else self.others:
                squares = exact.sum_of_squares(tensor.element(symbol.args[0]), tensor.precision)
                total = operate("add", DOUBLE, total, squares)
            return total  # type: ignore[no-any-return]
        if symbol.element:
            return operate(symbol.op, self.precision, *map(self.element, symbol.args))
        return operate(symbol.op, DOUBLE, *map(self.value, symbol.args))


def can_be_exact(program: Program) -> bool:
    """Whether a formula is of what is evaluated exactly here: elements, numbers and norms."""
    sums = {s.op for p in program.passes for s in postorder([*p.results, *p.numbers])}
    known = {"constant", "number", "kept", "buffer", "sum_of_squares", "global_sum_of_squares", *OPERATIONS}
    return sums <= known and not (program.along or program.tensors or program.temporaries)


def numpy(tensor: torch.Tensor) -> np.ndarray:
    """The elements as doubles; real and imaginary parts of complex ones."""
    real = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    return real.double().reshape(-1).numpy().copy()


class Expected:
    """What the next step of an optimizer can give, seen before it is made: call it after the parameters have gradients.

    The optimizer has one formula; every group has its own numbers.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.program: Program = optimizer.program()
        self._tensors: dict[torch.Tensor, Tensor] = {}
        others: list[Tensor] = []
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                kept = optimizer.state.get(p, {})
                initial = {
                    n: p if isinstance(v, ParamCopy) else torch.full_like(p, v) for n, v in self.program.states.items()
                }
                states = {n: kept.get(n, start) for n, start in initial.items()}
                buffers = {"param": p, "grad": p.grad, **states}
                double = any(t.dtype in (torch.float64, torch.complex128) for t in buffers.values())
                numbers = _numbers(self.program, group, float(kept.get("step", 0)) + 1)
                held = {"tensor": kept, "group": group}
                numbers |= {n: float(held[one.per].get(n, one.initial)) for n, one in self.program.kept.items()}
                tensor = Tensor(buffers, numbers, double, others)
                self._tensors[p] = tensor
                others.append(tensor)

    def of(self, param: torch.Tensor, name: str) -> Interval:
        """The possible values of ``"param"`` or of a state after the step, before they are rounded to its dtype."""
        tensor, final = self._tensors[param], self.program.passes[-1]
        if name not in final.writes:  # a state that the formula leaves as it is
            return exact.exact(tensor.buffers[name])
        value = tensor.element(final.results[final.writes.index(name)])
        shape = tensor.buffers[name].shape
        return Interval(*(np.broadcast_to(x, shape) for x in (value.low, value.high, value.nan)))


def _numbers(program: Program, group: Mapping[str, Any], step: float) -> dict[str, float]:
    numbers = {"step": step}
    for name in program.hypers:
        base, bracket, index = name.partition("[")
        numbers[name] = float(group[base][int(index[:-1])] if bracket else group[base])
    return numbers


def within(result: torch.Tensor, possible: Interval) -> np.ndarray:
    """Where a result is one that rounding allows; the interval is rounded to the result's dtype."""
    dtype = result.dtype.to_real() if result.is_complex() else result.dtype
    low, high = (numpy(torch.from_numpy(np.array(x)).to(dtype)) for x in (possible.low, possible.high))
    values = numpy(result)
    return np.where(np.isnan(values), possible.nan, (values >= low) & (values <= high) & ~possible.empty)


#: Operations that jump: a rounding error before one becomes a difference of any size after it.
JUMPS = {"sign", "floor", "lt", "le", "gt", "ge", "eq", "ne"}


def jumps(program: Program) -> bool:
    """Whether a result depends on the sign of an element, or on how elements compare."""
    return any(s.element and s.op in JUMPS for s in postorder(program.passes[-1].results))


def decided(possible: Interval, rtol: float) -> np.ndarray:
    """Where rounding decides no jump: the possible results lie as near to each other as rounding leaves them."""
    with np.errstate(invalid="ignore"):
        return possible.point | (possible.high - possible.low <= rtol * np.abs(possible.low) + rtol / 10)
