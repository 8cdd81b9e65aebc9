"""Optimizer: a formula with the face of ``torch.optim.Optimizer``.

Groups, hooks, closures, schedulers, GradScaler, state dicts, copying and pickling are torch's and behave as
torch's; a step runs the formula.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import Any, Literal, Self

import torch
from torch import Tensor

from ravine import backends
from ravine._compat.torch import load_hooks, without_compiler
from ravine.errors import BackendError, ParameterError
from ravine.formula import Piece, Program
from ravine.formula._tracing import hyper_defaults
from ravine.optim import _given_parameters as given_parameters
from ravine.optim import _words_of_others as words_of_others
from ravine.optim._common import (
    OF_GROUPS,
    Nonfinite,
    ParamBits,
    Rounding,
    StateDtype,
    check_policy,
    parameters_of,
    switches_in,
)
from ravine.optim._engine import state as states
from ravine.optim._engine.average import NO_STEP, averaged_inside, pairs_of
from ravine.optim._engine.describe import describe, optimizer_in_notebook, optimizer_text
from ravine.optim._engine.formula import asks_ndim, check_names, check_read, formula_of, listed, refuse_cbs
from ravine.optim._engine.full_states import full_precision, set_params
from ravine.optim._engine.group import GroupReader, Pieces, group_at, ndims_of, number_of
from ravine.optim._engine.group_keys import complete, flag_scaling, leave_out, neutral_of, switches_of, twin_of
from ravine.optim._engine.hooks import changed_by, with_hooks
from ravine.optim._engine.in_backward import StepsInBackward
from ravine.optim._engine.kept_numbers import with_kept
from ravine.optim._engine.kernels import refuse_recording, warn_captured
from ravine.optim._engine.monitor import Monitor
from ravine.optim._engine.plan import Plan
from ravine.optim._engine.prepare import check_added, make_all_states
from ravine.optim._engine.slips import AnswersNames, as_group, loss_of
from ravine.optim._engine.state_by_name import arranged
from ravine.optim._engine.state_storage import StateStorage, storage_of
from ravine.optim._engine.version import TrackedState, Version
from ravine.optim._hyperparameters import TORCH_ONLY, as_python, checker, hypers_of
from ravine.optim._named_optimizer import NamedOptimizer
from ravine.watch._watch import Watch

Params = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class Optimizer(NamedOptimizer, AnswersNames, torch.optim.Optimizer):
    r"""Steps parameters by a formula: a list of pieces.

    Args:
        params: parameters, ``(name, parameter)`` pairs or group dicts, as in torch. One that stands twice is stepped once.
        pieces: the formula (see ``ravine.formula``): a list of pieces, or one piece. A named optimizer has ``formula``.
        maximize: ascend instead of descending.
        fused: None takes the kernel for every tensor that it can take and torch's operations for the others; True
            insists on the kernel; False takes torch's operations.
        clip_norm, ema_decay, cautious, lookahead, nonfinite, watch, state_dtype, rounding, param_bits: see ``ravine.optim.Common``.
        hyperparameters: numbers, tuples of numbers or tensors of one element that the pieces read, such as ``lr``.

    Raises:
        FormulaError: the pieces are not a formula, or a hyperparameter that one reads is missing.
        OptionError: a hyperparameter is not known, or has an impossible value.

    Example: ``Optimizer(model.parameters(), [pieces.momentum, pieces.descend], lr=1e-2, momentum=0.9)``.
    """

    _backward: StepsInBackward | None = None

    @given_parameters.named_once
    def __init__(
        self,
        /,
        params: Params,
        pieces: Pieces | Callable[..., Any] | Piece | None = None,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        cautious: bool = False,
        lookahead: tuple[int, float] | None = None,
        nonfinite: Nonfinite = "propagate",
        watch: bool = True,
        state_dtype: StateDtype = None,
        rounding: Rounding | None = None,
        param_bits: ParamBits | None = None,
        **hyperparameters: Any,
    ) -> None:
        params = given_parameters.listed(params, type(self).__name__)
        refuse_cbs(hyperparameters)
        self._pieces = listed(pieces)
        check_policy(nonfinite, watch)
        self._switches = switches_of(type(self), hyperparameters)
        hyperparameters = {k: as_python(v) for k, v in hyperparameters.items() if k not in TORCH_ONLY}
        self._monitor, self._version = Monitor(nonfinite, bool(watch)), Version()
        self._storage = storage_of(state_dtype, rounding, param_bits)
        self._plan: Plan | None = None
        self._captured, self._averaged = list[Plan](), False
        if self._pieces is None:
            words_of_others.check_options(type(self), hyperparameters, Optimizer)
        else:
            check_read(self._pieces, hyperparameters)
            hyperparameters = {**hyper_defaults(self._pieces), **hyperparameters}
        common = {"clip_norm": clip_norm, "ema_decay": ema_decay, "cautious": cautious}
        common |= {"lookahead": as_python(lookahead)}
        defaults = {**hyperparameters, "maximize": as_python(maximize), "fused": as_python(fused)}
        # A piece of the user's own may have a default for the same name.
        defaults |= {n: v for n, v in common.items() if not (v is None or v is False) or n not in hyperparameters}
        self._check = checker(hypers_of(type(self)), {**defaults, **switches_in(type(self))}, parameters_of(type(self)))
        self._warned: set[str] = set()
        self._neutral = neutral_of(type(self), defaults)
        super().__init__(params, defaults)
        flag_scaling(self)

    # --- the formula ------------------------------------------------------------------------------------------

    def pieces(self, group: dict[str, Any], ndim: int | None = None) -> list[Callable[..., Any] | Piece]:
        """The formula of a group, as it is run: the optimizer's pieces and what comes before and after them.

        ``ndim``: for parameters of so many dimensions, where that changes the formula; the most that are in the group.
        """
        if ndim is None:
            ndim = ndims_of(group, asks_ndim(type(self)))[0]
        return formula_of(self._pieces, type(self), {**self._neutral, **group}, ndim=ndim)

    def program(self, group: int = 0, ndim: int | None = None) -> Program:
        """The program of a group's formula, by the group's number; ``ndim`` as for :meth:`pieces`.

        Raises:
            OptionError: there is no such group, or an option was taken out of it.
        """
        programs = self._reader().programs(group_at(self.param_groups, group), f" (parameter group {group})", ndim)
        return next(iter(programs.values()))

    def _programs(self, group: dict[str, Any], where: str = "") -> dict[int | None, Program]:
        """Those of a group, by the number of dimensions of its parameters; None: one for all."""
        return self._reader().programs(group, where)

    def bytes_moved(self) -> int:
        """Bytes that one step reads and writes, over all parameters that have been stepped or have a gradient."""
        plan = self._planned({} if self._plan is None else self._plan.extra)
        plan.release()
        return plan.bytes_moved()

    # --- what it knows of its steps ---------------------------------------------------------------------------

    @property
    def nonfinite(self) -> Nonfinite:
        """What happens where a gradient has a NaN or infinity; may be set."""
        return self._monitor.nonfinite

    @nonfinite.setter
    def nonfinite(self, policy: Nonfinite) -> None:
        check_policy(policy, self._monitor.watch)
        self._drop_plan()
        self._monitor.nonfinite = policy

    @property
    def skipped(self) -> int:
        """How many steps were left out: by ``nonfinite="skip"``, and by GradScaler after an overflow.

        Asking waits for a GPU. A scheduler that must not move on without a step steps only if this is what it was before.
        """
        self._monitor.read(self._backward or self._plan)
        return self._monitor.record.skipped + self._monitor.record.overflowed

    @property
    def watch(self) -> Watch:
        """What the steps did to every parameter: ``optimizer.watch.last``, ``.history``, ``.plot()``."""
        return self._monitor.view(
            self.param_groups, self.defaults, lambda: self._monitor.read(self._backward or self._plan)
        )

    def name_parameters(self, named: torch.nn.Module | Iterable[tuple[str, Tensor]]) -> int:
        """Name parameters for ``watch`` and errors by the model, or pairs of name and parameter; groups and state dicts stay.

        Returns how many of this optimizer's have a name by that: 0 where a trainer steps copies of them.
        """
        return self._monitor.name(self.param_groups, named)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Inside ``with optimizer.averaged():`` the parameters are their averages; what is written to them there is lost.

        Raises OptionError if the formula keeps no average (``ema_decay=0.999``, or the piece ``ema``), ParameterError if a
        parameter no longer has the shape of its average.
        """
        return averaged_inside(
            self, lambda: pairs_of(self.param_groups, self.program, self.state, self._averaged, self._describe)
        )

    def _describe(self, p: Tensor) -> str:
        return describe(p, self.param_groups, self._monitor.name_of(p))

    __repr__, _repr_html_ = optimizer_text, optimizer_in_notebook

    # --- groups -----------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as torch does; the dict that is passed stays as it is.

        Raises:
            OptionError: a value out of its range.
            TypeError, ValueError: as torch, for things that are not parameters.
            ParameterError: a parameter that cannot be written element by element.
        """
        group, where = as_group(param_group), f" (parameter group {len(self.param_groups)})"
        given_parameters.check_group(group, where)
        complete(group, self.defaults, self._switches, self._check, self._warned, where)
        check_names(self.pieces(group))
        group = with_kept(group, self._programs(group))  # finds mistakes of the formula before the first step
        without_compiler(super().add_param_group, group)
        added = self.param_groups[-1]
        leave_out(added, self._neutral)
        check_added(self.param_groups, self._describe)
        self._drop_plan()
        if self.states_at_once:
            make_all_states([added], self.param_groups, self._programs, self.state, self._storage)

    def init_state(self) -> None:
        """Make the states of every parameter now, as its first step would.

        ``torch.distributed.checkpoint`` makes those it loads into by a step of zeros, which counts; after this it makes none.
        """
        make_all_states(self.param_groups, self.param_groups, self._programs, self.state, self._storage)

    # --- stepping ---------------------------------------------------------------------------------------------

    @with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step.

        Args:
            closure: evaluates the model again and returns the loss; called once, with gradients on.

        Returns:
            What the closure returned, or None.

        Raises:
            ParameterError, BackendError, OptionError: before anything is written.
            NonFiniteError: with ``nonfinite="raise"``, before anything is written.
        """
        if self._backward is not None:
            return self._backward.asked(closure)
        loss = None if closure is None else loss_of(closure)
        # GradScaler sets these for the time of one step. Where they are not, an attribute costs an answer (AnswersNames).
        given = self.__dict__
        found_inf: Tensor | None = given.get("found_inf")
        grad_scale: Tensor | None = given.get("grad_scale")
        if found_inf is not None and backends.on_host(found_inf.device) and float(found_inf):
            self._monitor.overflowed()
            return loss
        if self._averaged:
            raise ParameterError(NO_STEP)
        plan = self._planned({} if grad_scale is None else {"grad_scale": number_of(grad_scale)})
        recorded = plan.captured(self._monitor.nonfinite == "raise")
        if found_inf is not None and plan.device is None and float(found_inf):
            plan.release()
            self._monitor.overflowed()
            return loss
        bad, nonfinite = plan.run(found_inf if plan.device else None, recorded)
        if not bad:
            self._monitor.stepped(plan)
        if plan.device and not plan.fake:
            self._monitor.skipped_on_device(found_inf, nonfinite, self.param_groups, self._describe)
        if bad:
            self._monitor.bad_gradients(bad, self._describe)
        return loss

    def in_backward(self, every: int = 1) -> StepsInBackward:
        """Step each parameter inside ``backward``, as soon as its gradient is there, and let go of the gradient.

        ``step()`` and ``zero_grad()`` then have nothing left to do, and may stay in the loop. ``every``: in every so many backward
        passes; the gradients of those between are accumulated. Returns what ends it, also a context manager.

        Raises:
            OptionError: the formula takes norms or sums of all parameters (``clip_norm``), or keeps a number for a group.
        """
        made = StepsInBackward(self, every)
        if self._backward is not None:
            self._backward.remove()
        self._drop_plan()
        self._backward = made
        return made

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients; ``set_to_none=False`` fills them with zeros instead. Those that ``in_backward`` accumulates stay."""
        if self._backward is None or not self._backward.waits:
            without_compiler(super().zero_grad, set_to_none)

    def _planned(self, extra: dict[str, Any]) -> Plan:
        """A plan that holds for this step."""
        plan = self._plan
        if plan is not None and plan.ready(self.param_groups, self.state, extra):
            return plan
        self._monitor.take_policies(self.param_groups, self._plan)
        refuse_recording(self.param_groups)  # before the old plan is dropped: after the capture it may hold again
        self._drop_plan()
        self._plan = plan = self._make_plan(extra)
        return plan

    def _reader(self, scaled: bool = False) -> GroupReader:
        """What reads the groups; ``scaled``: gradients come scaled by GradScaler."""
        # No method of this object, which a plan would keep alive in a cycle.
        pieces_of = functools.partial(formula_of, self._pieces, type(self), scaled=scaled)
        rest = asks_ndim(type(self)), self._monitor.guarded, self._check, self._warned, self._storage.narrow
        return GroupReader(list(self.defaults), self._neutral, pieces_of, *rest)

    def _make_plan(self, extra: dict[str, Any]) -> Plan:
        self._monitor.place(self.param_groups)
        if not isinstance(self.state, TrackedState):
            self.state = TrackedState(self.state, self._version)
        reader, watch = self._reader(bool(extra)), self._monitor.watch
        plan = Plan(reader, self.param_groups, extra, self.state, self._version, self._describe, watch, self._storage)
        if not plan.ready(self.param_groups, self.state, extra):
            raise BackendError("parameters or gradients changed while the step looked at them")
        self._monitor.count_on(None if plan.fake else plan.device)
        self._monitor.begin(plan)
        return plan

    def _drop_plan(self) -> None:
        """Make the next step plan anew; what the plan knows of its steps is kept."""
        if self._backward is not None:
            self._backward.forget()
        self._monitor.flush(self._plan)
        if self._plan is not None and self._plan.recorded:  # a graph that is replayed writes to its memory
            self._captured.append(self._plan)
            warn_captured()
        self._plan = None

    # --- keeping ----------------------------------------------------------------------------------------------

    def state_dict(self, full: bool = False) -> dict[str, Any]:
        """The state as torch's class gives it, and its formula under ``"ravine"``; ``full``: narrow states and parameters in float32."""
        programs = [self._programs(group, f" (parameter group {i})") for i, group in enumerate(self.param_groups)]
        made = states.dump(without_compiler(super().state_dict), type(self).__name__, programs)
        return full_precision(made, self.param_groups, self._averaged) if full else made

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any], match: Literal["order", "name"] = "order") -> None:
        """Load a state dict of this class or of torch's class of the same name.

        States keep the dtype they were saved in and share no memory with ``state_dict``; parameters that it holds (``full=True``) are
        set. With ``match="name"`` parameters are found by their names, in any order; one warning tells what has no partner.

        Raises:
            StateError: groups, names, shapes, states or the formula differ; nothing was loaded.
        """
        before, after = load_hooks(self)
        state_dict = changed_by(before, self, states.own_dict(state_dict))
        groups, rare, own = self.param_groups, type(self).not_in_torch, twin_of(type(self)) is None
        receiver = states.Receiver(
            groups, self.defaults, self._neutral, self._check, self._programs, self._describe, rare, own, self._averaged
        )
        loaded, params = states.load(receiver, arranged(receiver, self._monitor.name_of, state_dict, match))
        self.__setstate__(loaded)
        set_params(params, self.state, self._storage.param_bits)
        for post_hook in after:
            post_hook(self)

    def __copy__(self) -> Self:
        """Of the same groups and states, as torch's; what it knows of its steps is its own from here."""
        made = type(self).__new__(type(self))
        made.__setstate__({**self.__getstate__(), "_monitor": self._monitor.copy()})
        return made

    def __getstate__(self) -> dict[str, Any]:
        kept = super().__getstate__()
        # The live step counts are views of one tensor, and each would be kept with all of it.
        kept["state"] = states.own_steps(self.state)
        self._monitor.read(self._backward or self._plan)
        # A copy that is made inside ``averaged()`` has the averages as its parameters, and is not inside.
        mine = {n: getattr(self, n) for n in ("_pieces", "_switches", "_monitor", "_storage")}
        return {**kept, **mine, "_averaged": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if getattr(self, "_plan", None) is not None:
            self._drop_plan()
        super().__setstate__(state)
        self.defaults.pop("differentiable", None)  # torch adds it; it is no option here
        self.defaults.update({name: off for name, off in OF_GROUPS.items() if name not in self.defaults})  # version 0.1
        self._captured = getattr(self, "_captured", [])
        self._plan, self._version = None, Version()
        self.state = TrackedState(self.state, self._version)
        self._check, self._warned = checker(hypers_of(type(self)), self.defaults, parameters_of(type(self))), set()
        self._neutral = neutral_of(type(self), self.defaults)
        self._switches = getattr(self, "_switches", {})
        self._storage = getattr(self, "_storage", StateStorage())
        flag_scaling(self)
