"""Steps inside ``backward``: each parameter as soon as its gradient is there, which is then let go of.

The memory for gradients is that of the largest parameter, not that of all. What a formula needs of all gradients together is not
known then, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from ravine.backends import STATISTICS
from ravine.errors import OptionError, an, kind_of
from ravine.optim._engine.monitor import Figures
from ravine.optim._engine.plan import Plan
from ravine.optim._engine.version import TrackedState, TrackedStates, Version

#: Steps after which figures of the parameters are brought together: as many as a plan of one has room for.
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
        self._optimizer, self._every = optimizer, every
        self._check()
        self._plans: dict[int, _OnePlan] = {}
        self._hooks = [
            p.register_post_accumulate_grad_hook(self._accumulated)
            for group in optimizer.param_groups
            for p in group["params"]
            if p.requires_grad
        ]

    def __repr__(self) -> str:
        return f"StepsInBackward({type(self._optimizer).__name__}, {len(self._hooks)} parameters, every={self._every})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """From here ``optimizer.step()`` steps again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._optimizer._monitor.flush(self)
        self._plans.clear()
        if self._optimizer._backward is self:
            self._optimizer._backward = None

    def asked(self, closure: object, scaled: bool) -> None:
        """``optimizer.step()`` was called: everything is done, but for what cannot be done here.

        Raises:
            TypeError: a closure, which would evaluate the model again.
            OptionError: GradScaler, whose scale the steps did not know.
        """
        if closure is not None:
            raise TypeError(
                f"step({kind_of(closure)}) after in_backward(): the steps are made in backward, which a closure would run again: "
                "call backward() and then step() without it, or leave in_backward() out"
            )
        if scaled:
            raise OptionError(
                "GradScaler after in_backward(): the steps are made in backward with gradients that are still scaled. Train in "
                "bfloat16 without a scaler, or leave in_backward() out"
            )

    def _check(self) -> None:
        optimizer = self._optimizer
        for i, group in enumerate(optimizer.param_groups):
            for program in optimizer._programs(group).values():
                joined = next((r for p in program.passes for r in p.reductions if r.over != "tensor"), None)
                whole = next((name for name, one in program.kept.items() if one.per == "group"), "")
                if joined is None and not whole:
                    continue
                clipped = " clip_norm is of all gradients; a piece can shorten each by itself: grad * minimum(1, longest / norm(grad))."
                raise OptionError(
                    f"in_backward() steps a parameter before the other gradients are there, and the formula of parameter group {i} "
                    f"{f'keeps {whole} for all of them' if whole else 'takes a norm or sum of all of them'}."
                    f"{clipped if group.get('clip_norm') is not None else ''} Leave in_backward() out, or that part of the formula"
                )

    def _accumulated(self, p: Tensor) -> None:
        """The gradient of a parameter is there."""
        plan = self._plans.get(id(p))
        if plan is None:
            group, place = self._group_of(p)
            plan = self._plans[id(p)] = _OnePlan(self._optimizer, group, p, place)
        plan.seen += 1
        if plan.seen % self._every == 0:
            if plan.full:
                self._optimizer._monitor.flush(self)
            plan.step()
            p.grad = None

    def _group_of(self, p: Tensor) -> tuple[dict[str, Any], int]:
        place = 0
        for group in self._optimizer.param_groups:
            for each in group["params"]:
                if each is p:
                    return group, place
                place += 1
        raise OptionError(
            "a parameter that was taken out of the optimizer's groups still has its hook: call remove() first"
        )

    # What the monitor asks of a plan.

    @property
    def buffer_index(self) -> int:
        """Of how many steps there are figures."""
        return max((plan.made for plan in self._plans.values()), default=0)

    def drain(self, columns: Mapping[int, int], width: int) -> Tensor:
        """The figures of the steps since this was last asked; of a parameter with fewer, of the last ones."""
        steps = self.buffer_index
        result = torch.zeros(steps, len(STATISTICS), width, dtype=torch.float64)
        for plan in self._plans.values():
            if plan.made:
                result[steps - plan.made :] += plan.drain(columns, width).to(result)
        return result


class MayStepInBackward:
    """Part of an optimizer: what turns that on."""

    _backward: StepsInBackward | None = None
    _plan: Plan | None

    def in_backward(self, every: int = 1) -> StepsInBackward:
        """Step each parameter inside ``backward``, as soon as its gradient is there, and let go of the gradient.

        ``step()`` and ``zero_grad()`` then have nothing left to do, and may stay in the loop. ``every``: in every so many backward
        passes; the gradients of those between are accumulated. Returns what ends it, also a context manager.

        Raises:
            OptionError: the formula takes norms or sums of all parameters (``clip_norm``), or keeps a number for a group.
        """
        if self._backward is not None:
            self._backward.remove()
        self._drop_plan()
        self._backward = StepsInBackward(self, every)
        return self._backward

    @property
    def _steps(self) -> Figures | None:
        """What has statistics of steps that nobody asked for yet."""
        return self._backward or self._plan

    def _drop_plan(self) -> None:
        raise NotImplementedError


class _OnePlan:
    """How one parameter is stepped."""

    def __init__(self, optimizer: Any, group: dict[str, Any], p: Tensor, place: int) -> None:
        self._optimizer, self._group, self._p, self._place = optimizer, group, p, place
        self._alone: dict[str, Any] = {}
        self._state: TrackedState | None = None
        self._plan: Plan | None = None
        self.seen = 0

    @property
    def made(self) -> int:
        """Of how many steps it has figures."""
        return 0 if self._plan is None else self._plan.buffer_index

    @property
    def full(self) -> bool:
        """Whether there is no room for another step's."""
        return self._plan is not None and self._plan.buffer_size > 0 and self.made >= min(_KEPT, self._plan.buffer_size)

    def drain(self, columns: Mapping[int, int], width: int) -> Tensor:
        assert self._plan is not None
        return self._plan.drain(columns, width)

    def step(self) -> None:
        optimizer = self._optimizer
        for name in self._alone.keys() - self._group.keys():
            del self._alone[name]
        self._alone.update(self._group, params=[self._p])
        if not self._holds():
            if self.made:
                optimizer._monitor.flush(optimizer._backward)
            self._make()
        plan = self._plan
        assert plan is not None
        bad, nonfinite = plan.run()
        if plan.device and not plan.fake:
            optimizer._monitor.skipped_on_device(None, nonfinite, optimizer.param_groups, optimizer._describe)
        if bad:
            optimizer._monitor.bad_gradients(bad, optimizer._describe)

    def _holds(self) -> bool:
        if self._plan is None or self._state is None:
            return False
        same = self._optimizer.state.get(self._p) is self._state.get(self._p)
        return same and self._plan.ready([self._alone], self._state, {})

    def _make(self) -> None:
        optimizer, p, version = self._optimizer, self._p, Version()
        optimizer._monitor.place(optimizer.param_groups)
        known = optimizer.state.get(p)
        self._state = TrackedState({} if known is None else {p: known}, version)
        storage = replace(optimizer._storage, first=self._place)
        common = optimizer._describe, optimizer._monitor.watch, storage
        self._plan = Plan(optimizer._reader(), [self._alone], {}, self._state, version, *common)
        made = self._state[p]
        assert isinstance(made, TrackedStates)
        optimizer.state[p] = made
        if not self._plan.ready([self._alone], self._state, {}):
            raise OptionError(
                f"{optimizer._describe(p)} or its gradient ({an(kind_of(p.grad))}) changed while the step looked at it"
            )
        optimizer._monitor.count_on(None if self._plan.fake else self._plan.device)
