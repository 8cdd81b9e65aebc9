"""Optimizer: a formula with the face of ``torch.optim.Optimizer``.

Groups, hooks, closures, schedulers, GradScaler, state dicts, copying and pickling are torch's and behave as
torch's; a step runs the formula.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch

from ravine.errors import BackendError, FormulaError, OptionError, ParameterError, nearest
from ravine.formula import Piece, Program
from ravine.formula._pieces import as_piece
from ravine.formula._text import formula_lines
from ravine.formula._tracing import hyper_defaults
from ravine.optim._engine import state as states
from ravine.optim._engine.group import GroupPlan, program_of
from ravine.optim._engine.hooks import with_hooks
from ravine.optim._engine.plan import Plan
from ravine.optim._engine.prepare import make_states
from ravine.optim._engine.watched import Watched
from ravine.optim._hyperparameters import TORCH_ONLY, check_group, refuse_torch_only
from ravine.optim._shared import Nonfinite, parameters_of
from ravine.optim.pieces import ascend, clip_global_norm, ema, unscale

Pieces = Sequence[Callable[..., Any] | Piece]
Params = Iterable[torch.Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, torch.Tensor]]


class Optimizer(Watched):
    r"""Steps parameters by a formula: a list of pieces.

    Args:
        params: parameters, ``(name, parameter)`` pairs or group dicts, as in torch.
        pieces: the formula (see ``ravine.formula``), or a function that returns it and whose arguments name the
            options of a group that decide it. A named optimizer has it as ``formula``.
        maximize: ascend instead of descending.
        clip_norm, ema_decay, nonfinite, watch: what every optimizer has; see ``ravine.optim._shared.Shared``.
        fused: None takes the kernel for every tensor that it can take and torch's operations for the others; True
            insists on the kernel; False takes torch's operations.
        hyperparameters: numbers, tuples of numbers or tensors of one element that the pieces read, such as ``lr``.

    Raises:
        FormulaError: the pieces are not a formula.
        OptionError: a hyperparameter is missing, not known, or has an impossible value.

    Example::

        def rms(update, square_avg=0.0, *, alpha, eps):
            square_avg = alpha * square_avg + (1 - alpha) * update**2
            return update / (sqrt(square_avg) + eps), square_avg

        def descend(param, *, update, lr):
            return param - lr * update

        optimizer = Optimizer(model.parameters(), [rms, descend], lr=1e-2, alpha=0.99, eps=1e-8)
    """

    #: GradScaler hands its scale and what it found over instead of unscaling in a pass of its own.
    _step_supports_amp_scaling = True
    #: The paper, with its year and equation.
    reference: ClassVar[str] = ""
    #: Where a comparison looks for its hyperparameters unless it is told: least and largest value, in powers of ten;
    #: or with "complement" in powers of ten of 1 - x. ``beta1`` and ``beta2`` are the numbers of ``betas``.
    search: ClassVar[Mapping[str, tuple[float, float] | tuple[float, float, str]]] = {"lr": (1e-4, 1.0)}
    #: Where torch's class of the same name keeps no such state: what it stands for in a state dict of torch.
    not_in_torch: ClassVar[dict[str, float]] = {}
    #: Whether states exist before the first step, as in torch's class of the same name.
    states_at_once: ClassVar[bool] = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        known = parameters_of(cls)
        if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            for name in kwargs.keys() - known.keys():
                raise TypeError(f"{cls.__name__} has no option {name!r}. {nearest(name, known)}")
        return super().__new__(cls)

    def __init__(
        self,
        params: Params,
        pieces: Pieces | Callable[..., Pieces] | None = None,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        nonfinite: Nonfinite = "propagate",
        watch: bool = True,
        **hyperparameters: Any,
    ) -> None:
        self._start_watching(nonfinite, watch)
        refuse_torch_only(hyperparameters)
        hyperparameters = {k: v for k, v in hyperparameters.items() if k not in TORCH_ONLY}
        self._recipe = pieces = type(self).formula if pieces is None else pieces
        self._plan: Plan | None = None
        self._kinds: dict[torch.Tensor, tuple[torch.dtype, torch.device]] = {}
        if not callable(pieces):
            self._check_names(pieces, hyperparameters)
            hyperparameters = {**hyper_defaults(pieces), **hyperparameters}
        given = {"clip_norm": clip_norm, "ema_decay": ema_decay}
        # A piece of the user's own may have a default for the same name.
        shared = {name: value for name, value in given.items() if value is not None or name not in hyperparameters}
        super().__init__(params, {**hyperparameters, "maximize": maximize, "fused": fused, **shared})

    @staticmethod
    def formula(*args: Any, **kwargs: Any) -> Pieces:
        """The pieces, from those of a group's options that are named as arguments. A named optimizer defines this."""
        raise FormulaError("Optimizer needs a formula: Optimizer(params, [piece, ...], lr=...)")

    # --- the formula ------------------------------------------------------------------------------------------

    @staticmethod
    def _check_names(pieces: Pieces, given: dict[str, Any]) -> None:
        read = {n.name for piece in pieces for n in as_piece(piece).signature()[1]}
        for name in given:
            if name not in read:
                raise OptionError(f"no piece reads the hyperparameter {name!r}. {nearest(name, read)}")

    def pieces(self, group: dict[str, Any]) -> list[Callable[..., Any] | Piece]:
        """The formula of a group, as it is run: the optimizer's pieces and what comes before them."""
        return _pieces(self._recipe, group)

    def program(self, group: int = 0) -> Program:
        """The program of a group's formula."""
        return self._program(self.param_groups[group])

    def _program(self, group: dict[str, Any]) -> Program:
        try:
            return program_of(self.pieces(group), {n: group[n] for n in self.defaults if n != "fused"}, self._guarded)
        except TypeError as error:  # something in the list that has no hash
            raise FormulaError(f"a formula is a list of functions: {error}") from error

    def bytes_moved(self) -> int:
        """Bytes that one step reads and writes, over all parameters that have been stepped or have a gradient."""
        return self._planned().bytes_moved()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(
                f"Parameter Group {i}: {sum(p.numel() for p in group['params']):,} numbers in {len(group['params'])} tensors"
            )
            lines += [f"    {line}" for line in formula_lines(self.program(i))]
            shown = {k: v for k, v in sorted(group.items()) if k not in ("params", "param_names")}
            lines.append("    " + ", ".join(f"{k}={v}" for k, v in shown.items()))
        return "\n".join([*lines, ")"])

    # --- groups -----------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as torch does; the dict that is passed stays as it is.

        Raises:
            OptionError: an unknown key, or a value out of its range.
            TypeError, ValueError: as torch, for things that are not parameters.
            ParameterError: a parameter that cannot be written element by element.
        """
        group = dict(param_group) if isinstance(param_group, dict) else param_group
        if isinstance(group, dict):
            where = f" (parameter group {len(self.param_groups)})"
            for name, value in self.defaults.items():
                group.setdefault(name, value)
            refuse_torch_only(group)
            group = {k: v for k, v in group.items() if k not in TORCH_ONLY}
            check_group(group, self.defaults, where)
            self._program(group)  # a mistake in the formula is found here, before the first step
        super().add_param_group(group)
        added = self.param_groups[-1]
        try:
            for p in added["params"]:
                self._check_param(p)
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise
        self._drop_plan()
        if self.states_at_once:
            program = self.program(len(self.param_groups) - 1)
            for p in added["params"]:
                make_states(p, self.state[p], program)

    def _check_param(self, p: torch.Tensor) -> None:
        if torch.nn.parameter.is_lazy(p):
            return  # has no shape yet
        if not (p.is_floating_point() or p.is_complex()):
            raise TypeError(
                f"{self._describe(p)} has dtype {p.dtype}: an optimizer steps floating-point or complex tensors"
            )
        if p.layout is torch.strided and any(st == 0 and n > 1 for st, n in zip(p.stride(), p.shape, strict=True)):
            raise ParameterError(
                f"{self._describe(p)} is expanded (strides {p.stride()}): several elements share one place in memory. "
                "Use p.clone() as the parameter, or the tensor before expand()"
            )

    # --- stepping ---------------------------------------------------------------------------------------------

    @with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step.

        A first step with all rates and gradients 0 only makes the states and does not count: so does
        ``torch.distributed.checkpoint`` ask for states to load into.

        Args:
            closure: evaluates the model again and returns the loss; called once, with gradients on.

        Returns:
            What the closure returned, or None.

        Raises:
            ParameterError, BackendError, OptionError: before anything is written.
            NonFiniteError: with ``nonfinite="raise"``, before anything is written.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # GradScaler sets these for the time of one step, and asks whether they are there.
        found_inf = getattr(self, "found_inf", None)
        if found_inf is not None and float(found_inf):
            self._record.overflowed += 1
            return loss
        if self._averaged:
            raise ParameterError("a step inside `with optimizer.averaged():` would change the average; step outside it")
        first = not self.state
        plan = self._planned(getattr(self, "grad_scale", None))
        if not (first and plan.asks_for_states()):
            bad = plan.run()
            if bad:
                self._bad_gradients(bad)
            if plan.full:
                self._bring()
        return loss

    def _planned(self, grad_scale: torch.Tensor | None = None) -> Plan:
        """A plan that holds for this step."""
        # A step that fails must not leave half a plan behind.
        plan, self._plan = self._plan, None
        extra = {} if grad_scale is None else {"grad_scale": float(grad_scale)}
        if plan is not None and len(plan.extra) == len(extra):
            plan.extra.update(extra)
            try:
                if plan.ready(self.param_groups, self.state):
                    self._plan = plan
                    return plan
            except BaseException:
                self._bring(plan)  # what is known of the steps before stays known
                raise
        self._drop_plan(plan)
        self._plan = plan = self._make_plan(extra)
        return plan

    def _make_plan(self, extra: dict[str, float]) -> Plan:
        self._place()
        pieces = functools.partial(_pieces, self._recipe, scaled=bool(extra))
        groups = [
            GroupPlan(group, pieces, self.defaults, extra, f" (parameter group {i})", self._guarded)
            for i, group in enumerate(self.param_groups)
        ]
        plan = Plan(groups, extra, self.state, self._describe, self._kinds, self._watching)
        if not plan.ready(self.param_groups, self.state):
            raise BackendError("parameters or gradients changed while the step looked at them")
        return plan

    # --- keeping ----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state as torch's class of the same name gives it, and what formula it belongs to under ``"ravine"``."""
        return states.dump(self, super().state_dict())

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state dict of this class or of torch's class of the same name.

        States keep the dtype they were saved in and share no memory with ``state_dict``.

        Raises:
            StateError: groups, names, shapes, states or the formula differ; nothing was loaded.
        """
        state_dict = state_dict.copy()  # hooks may change it
        for pre_hook in self._optimizer_load_state_dict_pre_hooks.values():
            replaced = pre_hook(self, state_dict)
            if replaced is not None:
                state_dict = replaced
        self.__setstate__(states.load(self, state_dict))
        for post_hook in self._optimizer_load_state_dict_post_hooks.values():
            post_hook(self)

    def __getstate__(self) -> dict[str, Any]:
        kept = super().__getstate__()
        # The live step counts are views of one tensor, and each would be kept with all of it.
        kept["state"] = states.own_steps(self.state)
        self._bring()
        own = ("_recipe", "_nonfinite", "_watching", "_record", "_columns")
        # A copy that is made inside ``averaged()`` has the averages as its parameters, and is not inside.
        return {**kept, **{name: getattr(self, name) for name in own}, "_averaged": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if getattr(self, "_plan", None) is not None:
            self._bring()
        super().__setstate__(state)
        self.defaults.pop("differentiable", None)  # torch adds it; it is no option here
        self._plan, self._kinds = None, {}


def options(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a named optimizer's ``__init__``, for ``Optimizer.__init__``: ``options(locals())``."""
    own = {name: value for name, value in arguments.items() if name not in ("self", "__class__", "shared")}
    return {**own, **arguments.get("shared", {})}


def _pieces(recipe: Any, group: dict[str, Any], scaled: bool = False) -> list[Callable[..., Any] | Piece]:
    """The pieces of a group. No method: a plan that kept one would keep the optimizer alive in a cycle."""
    if callable(recipe):
        recipe = recipe(**{name: group[name] for name in _arguments(recipe)})
    first: list[Any] = [unscale] if scaled else []
    first += [ascend] if group["maximize"] else []
    first += [clip_global_norm] if group["clip_norm"] is not None and not _reads(recipe, "clip_norm") else []
    last = [ema()] if group["ema_decay"] is not None and not _reads(recipe, "ema_decay") else []
    return [*first, *recipe, *last]


def _reads(recipe: Pieces, name: str) -> bool:
    """Whether a piece of the user's own reads the number that one of ours would."""
    return any(n.name == name for piece in recipe for n in as_piece(piece).signature()[1])


@functools.cache
def _arguments(recipe: Callable[..., Any]) -> tuple[str, ...]:
    """The options of a group that decide its formula."""
    return tuple(inspect.signature(recipe).parameters)
