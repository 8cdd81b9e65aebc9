"""Observes every torch operation of a run, and stores for each value that is not finite where it came from.

An operation belongs to the module that runs it: the innermost one whose ``forward`` has begun and not ended; in the
backward pass, the one that ran the operation whose gradient is computed. Tensors with values that are not finite are
tracked by their storage, so that views and changes in place are followed, too.

Infinite numbers may be intended: a mask of ``-inf`` that softmax turns into 0. What a constant of the code fills in,
and a buffer of ``-inf``, is *intended*, and so is what it spreads to, until a NaN comes of it; the operation that
produced the NaN is an origin.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ravine._compat.torch import (
    TorchDispatchMode,
    current_backward_node,
    next_sequence_number,
    schema_of,
    sequence_number,
)
from ravine.diagnose._nonfinite.operations import arguments, infinite_constant, is_view, name_of, read, storage, written
from ravine.diagnose._nonfinite.value_range import ValueRange, all_finite, finite, first_bad, tensors, value_range

_BEFORE = 1_000_000
"""Before the first operation."""


@dataclass(frozen=True)
class Frame:
    """One call of a module, or of the loss.

    Attributes:
        name: the module's qualified name; "" for the model itself.
        kind: its class.
        call: its number among the calls of this module, from 1.
        finite_input: whether its inputs were finite.
        parent: the call that it is a part of.
        loss: whether it is the loss.
        recomputed: whether it runs in the backward pass, as in activation checkpointing.
    """

    name: str
    kind: str
    call: int = 1
    finite_input: bool = True
    parent: Frame | None = None
    loss: bool = False
    recomputed: bool = False


@dataclass(frozen=True)
class Origin:
    """Where values that are not finite came from.

    Attributes:
        order: in time; what was there before the run has negative numbers.
        where: "inputs", "targets", "parameter", "forward", "loss" or "backward".
        frame: the call that it belongs to.
        operation: the torch operation, or the name of a tensor that was there before.
        operands: the range of each of the operation's tensors.
        result: the range of its result, or of the tensor that was there before.
        backward: whether it was in the backward pass, also in that of the loss.
        intended: whether it looks like a mask.
        first, rows: of a tensor that was there before, the place of the first such element, and the first rows.
    """

    order: int
    where: str
    frame: Frame
    operation: str
    operands: tuple[ValueRange, ...]
    result: ValueRange
    backward: bool = False
    intended: bool = False
    first: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()


class Recording(TorchDispatchMode):
    """Inside this context, the operations of ``model`` are observed.

    Args:
        model: its modules are known by name.
        prefix: the name of ``model`` itself.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module, prefix: str = "") -> None:
        super().__init__()
        self.root = Frame(prefix, type(model).__name__)
        self._modules = {id(m): (join(prefix, name), m) for name, m in model.named_modules()}
        self._stack = [self.root]
        self._calls: dict[str, int] = {}
        self._begun: list[int] = [0]  # the number of the next autograd node when a frame began or continued,
        self._frames: list[Frame] = [self.root]  # and that frame
        self._origins: dict[int, Origin] = {}  # by storage
        self._made: list[Origin] = []
        self._order = 0
        self._observes = True
        self._hooks = ExitStack()

    def __enter__(self) -> Recording:
        for name, module in self._modules.values():
            self._hooks.callback(
                module.register_forward_pre_hook(self._enters(name), prepend=True, with_kwargs=True).remove
            )
            self._hooks.callback(module.register_forward_hook(self._leaves, with_kwargs=True, always_call=True).remove)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._hooks.close()

    # --- questions -------------------------------------------------------------------------------------------------

    def known(self, tensor: Tensor, where: str, label: str, frame: Frame | None = None) -> None:
        """Register a tensor that exists before the run; those registered first count as the first in time."""
        if finite(tensor) or storage(tensor) in self._origins:
            return
        order, values = len(self._origins) - _BEFORE, value_range(tensor)
        intended = where == "buffer" and values.bad == values.minus_inf
        where = "parameter" if where == "buffer" else where
        first, rows = first_bad(tensor)
        self._origins[storage(tensor)] = Origin(
            order, where, frame or self.root, label, (), values, intended=intended, first=first, rows=rows
        )

    def origin(self, tree: Any) -> Origin | None:
        """Where the values came from that are not finite in the tensors of a tree; None where all are finite."""
        sources = [self._source(t) for t in tensors(tree) if not finite(t)]
        return _first(sources) if sources else None

    @property
    def first(self) -> Origin | None:
        """The first one in the run that was not intended, whatever it led to."""
        return self._made[0] if self._made else None

    @contextmanager
    def loss(self, kind: str, given: Any) -> Iterator[None]:
        """What runs inside belongs to the loss."""
        with self._paused():
            finite_input = all_finite(given)
        self._push(Frame("", kind, finite_input=finite_input, parent=self.root, loss=True))
        try:
            yield
        finally:
            self._pop()

    # --- modules -----------------------------------------------------------------------------------------------------

    def _enters(self, name: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            self._calls[name] = call = self._calls.get(name, 0) + 1
            recomputed = current_backward_node() is not None
            with self._paused():
                finite_input = all_finite((args, kwargs))
            self._push(Frame(name, type(module).__name__, call, finite_input, self._stack[-1], recomputed=recomputed))

        return hook

    def _leaves(self, module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
        with self._paused():
            for tensor in tensors(outputs):
                if not finite(tensor) and storage(tensor) not in self._origins:  # made where torch does not see it
                    operands = (value_range((args, kwargs)),)
                    self._origins[storage(tensor)] = self._new("", operands, value_range(tensor), False)
        self._pop()

    def _push(self, frame: Frame) -> None:
        self._stack.append(frame)
        self._mark()

    def _pop(self) -> None:
        self._stack.pop()
        self._mark()

    def _mark(self) -> None:
        self._begun.append(next_sequence_number())
        self._frames.append(self._stack[-1])

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """What runs inside is our own code, and is not observed."""
        self._observes = False
        try:
            yield
        finally:
            self._observes = True

    # --- operations --------------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self._observes:
            return func(*args, **kwargs)
        reads = read(func, args, kwargs)
        bad = [t for t in reads if not finite(t)]
        sources = [self._source(t) for t in bad]
        had_nan = any(value_range(t).nan for t in bad)
        changes = bool(arguments(func)) and schema_of(func).is_mutable
        operands = tuple(map(value_range, reads)) if changes else ()
        outputs = func(*args, **kwargs)
        self._order += 1
        made: Origin | None = None
        for tensor in [*tensors(outputs), *(written(func, args, kwargs) if changes else ())]:
            if finite(tensor):
                if not changes and not is_view(func):  # new memory, perhaps where something else was
                    self._origins.pop(storage(tensor), None)
                continue
            if made is None:
                result = value_range(tensor)
                made = _first(sources) if sources else None
                if made is None:
                    constant = infinite_constant(args, kwargs) or "empty" in name_of(func)  # not written yet
                    operands = operands or tuple(map(value_range, reads))
                    made = self._new(name_of(func), operands, result, constant)
                elif made.intended and result.nan and not had_nan and self._may_blame(self._stack[-1]):
                    operands = operands or tuple(map(value_range, reads))
                    made = self._new(name_of(func), operands, result, False, climb=True)
            self._origins[storage(tensor)] = made
        return outputs

    @staticmethod
    def _may_blame(frame: Frame) -> bool:
        """A loss is not to blame for a NaN that it makes of infinite outputs."""
        return frame.finite_input or not frame.loss

    def _source(self, tensor: Tensor) -> Origin:
        """Where its values that are not finite came from; a constant of the code if no operation made them."""
        key = storage(tensor)
        if key not in self._origins:
            self._origins[key] = self._new("constant", (), value_range(tensor), True)
        return self._origins[key]

    def _new(
        self, operation: str, operands: tuple[ValueRange, ...], result: ValueRange, intended: bool, climb: bool = False
    ) -> Origin:
        """A new origin; with ``climb``, in the innermost module whose inputs were finite."""
        node, frame = current_backward_node(), self._stack[-1]
        backward = node is not None and not frame.recomputed
        if backward:
            frame = self._frames[bisect_right(self._begun, sequence_number(node)) - 1]
            operation = node.name().split("::")[-1].rstrip("0123456789").removesuffix("Backward") or operation
        while climb and not backward and not frame.finite_input and frame.parent is not None:
            frame = frame.parent
        where = "loss" if frame.loss else "backward" if backward else "forward"
        operands = tuple(one for one in operands if one.total)
        made = Origin(self._order, where, frame, operation, operands, result, backward, intended)
        if not intended:
            self._made.append(made)
        return made


def _first(origins: list[Origin]) -> Origin:
    """The first that was not intended, else the first of all."""
    return min(origins, key=lambda origin: (origin.intended, origin.order))


def join(prefix: str, name: str) -> str:
    """A qualified name."""
    return f"{prefix}.{name}" if prefix and name else prefix or name
