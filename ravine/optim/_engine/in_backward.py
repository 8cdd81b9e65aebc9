"""Steps inside ``backward``: each parameter as soon as its gradient is there, which is then let go of.

The memory for gradients is that of the largest parameter, not that of all. What a formula needs of all gradients together is not
known then, and is refused.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor

from ravine._compat.torch import after_backward, current_backward_pass
from ravine._line_of_user import level_of_user
from ravine.backends import STATISTICS
from ravine.backends._sharded import layout
from ravine.errors import NonFiniteError, OptionError, ParameterError, kind_of
from ravine.optim._engine.average import NO_STEP
from ravine.optim._engine.plan import Plan
from ravine.optim._engine.step_numbers import any_of
from ravine.optim._engine.version import TrackedState, TrackedStates, Version

#: Steps after which figures of the parameters are brought together.
_KEPT = 8


class StepsInBackward:
    """What ``optimizer.in_backward()`` gives; a context manager that ends with :meth:`remove`.

    Args:
        optimizer: whose parameters are stepped.
        every: in every so many backward passes; gradients of those between are accumulated, and kept.

    Raises:
        OptionError: the formula takes norms or sums of all parameters, or keeps a number for a group.
    """

    def __init__(self, optimizer: Any, every: int = 1) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise OptionError(
                f"in_backward(every={every!r}): it is a whole number, from 1: step in every so many backward passes"
            )
        for i, group in enumerate(optimizer.param_groups):
            _check(optimizer, group, f"of parameter group {i} ")
        self._optimizer, self._every = weakref.ref(optimizer), every
        self._plans: dict[int, _OnePlan] = {}
        self._hooks: dict[int, tuple[weakref.ref[Tensor], Any]] = {}  # an id may be that of one that was freed
        self._passes, self._now = 0, -1  # how many are over, and torch's number of the one that runs
        self._bad: list[Tensor] = []  # whose gradients were not finite in this pass
        self._doubts: list[Tensor] = []  # truth values on devices: whether a gradient of this pass was not
        self._lock = threading.RLock()  # a model on several devices has a thread for each
        self._hook_all()

    def __repr__(self) -> str:
        return (
            f"StepsInBackward({type(self._optimizer()).__name__}, {len(self._hooks)} parameters, every={self._every})"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """From here ``optimizer.step()`` steps again."""
        for _, hook in self._hooks.values():
            hook.remove()
        self._hooks = {}
        optimizer = self._optimizer()
        if optimizer is not None:
            optimizer._monitor.flush(self)
            if optimizer._backward is self:
                optimizer._backward = None
        self._plans.clear()

    def forget(self) -> None:
        """Groups, states or policies are others: every parameter is looked at again."""
        self._hook_all()
        for plan in self._plans.values():
            plan.drop()

    @property
    def waits(self) -> bool:
        """Whether gradients are being accumulated, and are to be kept."""
        return self._passes % self._every != 0

    def asked(self, closure: object) -> None:
        """``optimizer.step()`` was called: steps what has a gradient that no hook saw, set by hand or of a parameter that is new.

        Raises:
            TypeError: a closure, which would evaluate the model again.
            OptionError: GradScaler, whose scale the steps did not know.
        """
        if closure is not None:
            raise TypeError(
                f"step({kind_of(closure)}) after in_backward(): the steps are made in backward, which a closure would run again: "
                "call backward() and then step() without it, or leave in_backward() out"
            )
        hooked = {ref() for ref, _ in self._hooks.values()}
        self._hook_all()
        optimizer = self._optimizer()
        assert optimizer is not None
        if "found_inf" in vars(optimizer) or "grad_scale" in vars(optimizer):
            raise OptionError(
                "GradScaler after in_backward(): the steps are made in backward with gradients that are still scaled. Train in "
                "bfloat16 without a scaler, or leave in_backward() out"
            )
        left = [p for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        for p in left:
            if not (self.waits and p in hooked):
                self._step(p)
        self._tell()

    def _hook_all(self) -> None:
        """Give a hook to every parameter that has none; to one that is frozen when it is no longer."""
        optimizer = self._optimizer()
        assert optimizer is not None
        mine = weakref.ref(self)

        def accumulated(p: Tensor) -> None:
            # torch's collector does not see the way from a hook to what it holds: it holds nothing.
            steps = mine()
            if steps is not None and steps._optimizer() is not None:
                steps._accumulated(p)

        for p in dict.fromkeys(p for group in optimizer.param_groups for p in group["params"]):
            if p.requires_grad and not self._hooked(p):
                self._hooks[id(p)] = weakref.ref(p), p.register_post_accumulate_grad_hook(accumulated)

    def _hooked(self, p: Tensor) -> bool:
        return id(p) in self._hooks and self._hooks[id(p)][0]() is p

    def _accumulated(self, p: Tensor) -> None:
        """The gradient of a parameter is there."""
        with self._lock:
            if self._now != current_backward_pass():
                self._begin(p)
            if (self._passes + 1) % self._every == 0:
                self._step(p)

    def _begin(self, p: Tensor) -> None:
        """The first gradient of a pass is there."""
        optimizer = self._optimizer()
        assert optimizer is not None
        if optimizer._averaged:
            raise ParameterError(NO_STEP)
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        if together and torch.distributed.get_world_size() > 1 and not layout(p):
            _warn_of_others()
        self._now = current_backward_pass()
        after_backward(self._end)
        optimizer._monitor.take_policies(optimizer.param_groups, self)
        if self.buffer_index >= _KEPT:
            optimizer._monitor.flush(self)

    def _end(self) -> None:
        """A pass is over: gradients that were accumulated, and had none in the last pass, are stepped."""
        with self._lock:
            self._now = -1
            self._passes += 1
            optimizer = self._optimizer()
            if optimizer is not None and not self.waits:
                for p in [p for g in optimizer.param_groups for p in g["params"] if self._hooked(p)]:
                    if p.grad is not None:
                        self._step(p)
            self._tell()

    def _step(self, p: Tensor) -> None:
        optimizer = self._optimizer()
        assert optimizer is not None
        plan = self._plans.get(id(p))
        if plan is None or plan.param() is not p:
            plan = self._plans[id(p)] = _OnePlan(p)
        bad, doubt = plan.step(optimizer, *_place_of(p, optimizer))
        if doubt is not None and optimizer.nonfinite == "raise":
            try:
                optimizer._monitor.skipped_on_device(None, doubt, optimizer.param_groups, optimizer._describe)
            except NonFiniteError:
                self._break_off()
                raise
        elif doubt is not None:
            self._doubts.append(doubt)
        if bad and optimizer.nonfinite == "raise":
            self._break_off()
            raise NonFiniteError(
                f"the gradient of {optimizer._describe(p)} has {bad:,} of {p.numel():,} elements that are NaN or infinite. It was not "
                "stepped; those whose gradients came before it in this backward pass were"
            )
        self._bad += [p] * bool(bad)
        p.grad = None

    def _break_off(self) -> None:
        """A pass ends in an error, and with it the passes that were accumulated: their gradients may be dropped."""
        self._now = -1
        self._passes += -self._passes % self._every

    def _tell(self) -> None:
        """Count a pass in which something was left out."""
        optimizer = self._optimizer()
        if self._bad and optimizer is not None:
            optimizer._monitor.left_out(
                f"the gradient of {optimizer._describe(self._bad[0])} has elements that are NaN or infinite"
            )
        if self._doubts and optimizer is not None:
            anywhere = any_of(self._doubts)
            optimizer._monitor.skipped_on_device(None, anywhere, optimizer.param_groups, optimizer._describe)
        self._bad, self._doubts = [], []

    # What the monitor asks of a plan.

    @property
    def buffer_index(self) -> int:
        """Of how many steps there are figures."""
        return max((plan.made for plan in self._plans.values()), default=0)

    @property
    def in_full(self) -> int:
        """The number of the last that was looked at in full: all are."""
        return self.buffer_index

    def drain(self, columns: Mapping[int, int], width: int) -> Tensor:
        """The figures of the steps since this was last asked; of a parameter with fewer, of the last ones."""
        steps = self.buffer_index
        result = torch.zeros(steps, len(STATISTICS), width, dtype=torch.float64)
        for key, plan in self._plans.items():
            rows = plan.drain()
            if rows is not None and key in columns:
                result[steps - len(rows) :, :, columns[key]] = rows
        return result


def makes_steps_in_backward(optimizer: torch.optim.Optimizer) -> bool:
    """Whether :meth:`in_backward` of that optimizer, if it has any, is in effect."""
    return getattr(optimizer, "_backward", None) is not None


class _OnePlan:
    """How one parameter is stepped."""

    def __init__(self, p: Tensor) -> None:
        self.param = weakref.ref(p)
        self._alone: dict[str, Any] = {}
        self._state: TrackedState | None = None
        self._plan: Plan | None = None
        self._rest: list[Tensor] = []  # figures of steps that a plan before this one made

    @property
    def made(self) -> int:
        """Of how many steps it has figures."""
        return sum(map(len, self._rest)) + (0 if self._plan is None else self._plan.buffer_index)

    def drop(self) -> None:
        """Look at everything again in the next step."""
        if self._plan is not None and self._plan.buffer_index:
            self._rest.append(self._drained())
        self._plan = None

    def drain(self) -> Tensor | None:
        """The figures of its steps, shape (steps, len(STATISTICS)); None of none."""
        rows, self._rest = self._rest, []
        if self._plan is not None and self._plan.buffer_index:
            rows.append(self._drained())
        return torch.cat(rows) if rows else None

    def _drained(self) -> Tensor:
        assert self._plan is not None
        return self._plan.drain({id(self.param()): 0}, 1)[:, :, 0].to("cpu", torch.float64, copy=True)

    def step(self, optimizer: Any, group: dict[str, Any], place: int) -> tuple[int, Tensor | None]:
        """A step.

        Returns:
            How many elements of the gradient are not finite, where that was looked at and nothing written; on a device 0, and
            the truth value there that it has such elements.
        """
        p = self.param()
        for name in self._alone.keys() - group.keys():
            del self._alone[name]
        self._alone.update(group, params=[p])
        if not self._holds(optimizer, p):
            self.drop()
            self._make(optimizer, p, group, place)
        plan = self._plan
        assert plan is not None
        if plan.buffer_size and plan.full:
            self._rest.append(self._drained())
        bad, nonfinite = plan.run()
        return bad[0][1] if bad else 0, None if plan.fake else nonfinite

    def _holds(self, optimizer: Any, p: Any) -> bool:
        if self._plan is None or self._state is None:
            return False
        same = optimizer.state.get(p) is self._state.get(p)
        return same and self._plan.ready([self._alone], self._state, {})

    def _make(self, optimizer: Any, p: Any, group: dict[str, Any], place: int) -> None:
        _check(optimizer, group, "")
        version, known = Version(), optimizer.state.get(p)
        optimizer._monitor.place(optimizer.param_groups)
        self._state = TrackedState({} if known is None else {p: known}, version)
        storage = replace(optimizer._storage, first=place)
        plan = Plan(
            optimizer._reader(),
            [self._alone],
            {},
            self._state,
            version,
            optimizer._describe,
            optimizer._monitor.watch,
            storage,
        )
        made = self._state[p]
        assert isinstance(made, TrackedStates)
        optimizer.state[p] = made
        if not plan.ready([self._alone], self._state, {}):
            raise OptionError(f"{optimizer._describe(p)} or its gradient changed while the step looked at it")
        optimizer._monitor.count_on(None if plan.fake else plan.device)
        self._plan = plan


def _place_of(p: Tensor, optimizer: Any) -> tuple[dict[str, Any], int]:
    """The group of a parameter, and its place among all."""
    place = 0
    for group in optimizer.param_groups:
        for each in group["params"]:
            if each is p:
                return group, place
            place += 1
    raise OptionError("a parameter was taken out of the optimizer's groups after in_backward(): call it again")


def _check(optimizer: Any, group: dict[str, Any], which: str) -> None:
    """Raise OptionError for a formula that needs all gradients at once."""
    for program in optimizer._programs(group).values():
        joined = next((r for p in program.passes for r in p.reductions if r.over != "tensor"), None)
        whole = next((name for name, one in program.kept.items() if one.per == "group"), "")
        if joined is None and not whole:
            continue
        clipped = " clip_norm is of all gradients; a piece can shorten each by itself: grad * minimum(1, longest / norm(grad))."
        raise OptionError(
            f"in_backward() steps a parameter before the other gradients are there, and the formula {which}"
            f"{f'keeps {whole} for all of them' if whole else 'takes a norm or sum of all of them'}."
            f"{clipped if group.get('clip_norm') is not None else ''} Leave in_backward() out, or that part of the formula"
        )


@cache
def _warn_of_others() -> None:
    warnings.warn(
        "in_backward() steps before the gradients of several processes are added up: with DistributedDataParallel leave it out, or "
        "each process trains its own model",
        stacklevel=level_of_user(),
    )
