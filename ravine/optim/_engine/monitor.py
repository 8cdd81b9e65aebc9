"""What an optimizer knows of its steps: the record of its statistics, and the steps that were skipped."""

from __future__ import annotations

import functools
import re
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from ravine._line_of_user import level_of_user
from ravine._whole_numbers import count as counted
from ravine.backends._sharded import join_statistics
from ravine.backends._sparse_rows import count_bad
from ravine.errors import NonFiniteError, OptionError, shown
from ravine.optim._common import check_policy
from ravine.optim._hyperparameters import WHOLE
from ravine.watch._record import Record
from ravine.watch._watch import Watch

if TYPE_CHECKING:
    from ravine.optim._common import Nonfinite
    from ravine.optim._engine.plan import Plan

_WRAPPED = re.compile(r"^(module\.|_orig_mod\.)+")


class Figures(Protocol):
    """What has statistics of steps: a plan, or the plans of single parameters."""

    @property
    def buffer_index(self) -> int:
        """Of how many steps."""

    @property
    def in_full(self) -> int:
        """The number among them, from 1, of the last that was looked at in full; 0: none was."""

    def drain(self, columns: Mapping[int, int], width: int) -> Tensor:
        """Those statistics, which are forgotten there; see ``Plan.drain``."""


class Monitor:
    """Keeps what plans know of their steps.

    Attributes:
        nonfinite: what happens where a gradient is not finite.
        watch: whether statistics are kept.
        record: what is known of the steps.
        columns: where each parameter stands in the record, by its id; one that leaves the groups keeps its place, and
            may be freed.
        names: of those that were named since they were passed, by column.
    """

    def __init__(self, nonfinite: Nonfinite, watch: bool) -> None:
        self.nonfinite, self.watch = nonfinite, watch
        self.record = Record()
        self.columns: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self._params: list[weakref.ref[Tensor]] = []  # by column
        self._shapes: list[torch.Size] = []
        self._skips: dict[tuple[str, torch.device], Tensor] = {}  # counted on a device, until somebody asks

    @property
    def guarded(self) -> bool:
        """Whether gradients are looked at before anything is written."""
        return self.nonfinite != "propagate"

    def take_policies(self, groups: Sequence[dict[str, Any]], plan: Figures | None) -> None:
        """Take the options of the whole optimizer that somebody wrote into a group, as skorch's ``set_params`` does.

        Raises:
            OptionError: one has an impossible value.
        """
        for group in groups:
            for name in WHOLE.intersection(group):
                chosen = {"nonfinite": self.nonfinite, "watch": self.watch, name: group[name]}
                check_policy(**chosen)
                self.flush(plan)
                self.nonfinite, self.watch = chosen["nonfinite"], bool(chosen["watch"])
                del group[name]

    def name(self, groups: Sequence[dict[str, Any]], named: torch.nn.Module | Iterable[tuple[str, Tensor]]) -> int:
        """Name parameters; how many of the groups' have a name by that.

        Raises:
            OptionError: they are neither a module's nor pairs.
        """
        given = named.named_parameters() if isinstance(named, torch.nn.Module) else named
        pairs = list(given) if isinstance(given, Iterable) else [given]
        for pair in pairs:
            if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)):
                raise OptionError(
                    f"name_parameters({shown(named)}): give the model, or pairs of name and parameter, model.named_parameters()."
                )
        self.place(groups)
        here = {id(p) for group in groups for p in group["params"]}
        by_column = {self.columns[id(p)]: name for name, p in pairs if id(p) in here}
        # What DistributedDataParallel and torch.compile put around a model is no part of a parameter's name.
        self.names |= {column: _WRAPPED.sub("", name) for column, name in by_column.items()}
        return len(by_column)

    def name_of(self, p: Tensor) -> str | None:
        """The name that a parameter was given since it was passed."""
        column = self.columns.get(id(p), -1)
        return self.names.get(column) if column >= 0 and self._params[column]() is p else None

    def place(self, groups: Sequence[dict[str, Any]]) -> None:
        """Give every parameter its column."""
        for group in groups:
            for p in group["params"]:
                column = self.columns.get(id(p), -1)
                if column < 0 or self._params[column]() is not p:  # the id may be that of one that was freed
                    column = self.columns[id(p)] = len(self._params)
                    self._params.append(weakref.ref(p))
                    self._shapes.append(torch.Size())
                if not torch.nn.parameter.is_lazy(p):
                    self._shapes[column] = p.shape

    def _by_column(self) -> list[Tensor]:
        """The parameters in the order of their columns; of those that were freed one without data, of their shape."""
        params = (ref() for ref in self._params)
        return [
            torch.empty(shape, device="meta") if p is None else p for p, shape in zip(params, self._shapes, strict=True)
        ]

    def copy(self) -> Monitor:
        """The same of the same parameters, that goes its own way from here."""
        made = Monitor(self.nonfinite, self.watch)
        made.record.load_state_dict(self.record.state_dict())
        made.columns, made._params, made._shapes = dict(self.columns), list(self._params), list(self._shapes)
        made.names = dict(self.names)
        return made

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name not in ("columns", "_params", "_shapes")}
        return {**kept, "_skips": {}, "by_column": self._by_column()}  # they were read just before

    def __setstate__(self, state: dict[str, Any]) -> None:
        params = list(state.pop("columns", ())) or state.pop("by_column", [])  # columns: version 0.1
        vars(self).update({"names": {}, **state}, _skips={})
        self.columns = {id(p): i for i, p in enumerate(params)}
        self._params, self._shapes = [weakref.ref(p) for p in params], [p.shape for p in params]

    def flush(self, plan: Figures | None) -> None:
        """Hand what the plan knows of its steps to the record; waits for no device."""
        if plan is not None and plan.buffer_index:
            # What an evaluation in inference mode asks for must stay usable outside of it.
            with torch.inference_mode(False), torch.no_grad():
                in_full = plan.in_full  # of the steps that are forgotten in the next line
                self.record.add(plan.drain(self.columns, len(self._params)), in_full)

    def begin(self, plan: Plan) -> None:
        """Get ready for the first step of a plan."""
        plan.add_to_rows(self.columns)
        if plan.may_be_brief:
            plan.look(self.record.in_full(0))

    def stepped(self, plan: Plan) -> None:
        """Take what is known of a step that was made, or let it wait in the plan."""
        if plan.rows is not None:
            self.record.add_step(plan.rows)
            return
        if plan.full:
            self.flush(plan)
        if plan.may_be_brief:
            plan.look(self.record.in_full(plan.buffer_index))

    def read(self, plan: Figures | None) -> None:
        """Flush, and bring the counts of skipped steps to the host."""
        self.flush(plan)
        for (name, _), count in self._skips.items():
            made = int(count)
            count.zero_()  # in place: a CUDA graph goes on counting there
            setattr(self.record, name, getattr(self.record, name) + made)
            if name == "skipped" and made and self.record.skipped == made:
                _warn_skipped("a gradient had elements that are NaN or infinite")

    def view(self, groups: Sequence[dict[str, Any]], defaults: Mapping[str, Any], flush: Callable[[], None]) -> Watch:
        """``optimizer.watch``: parameters have the names they were given with or since, else their places."""
        self.place(groups)
        names: dict[Tensor, str] = {}
        for i, group in enumerate(groups):
            place = f"{i}." if len(groups) > 1 else ""
            named = group.get("param_names") or [f"{place}{k}" for k in range(len(group["params"]))]
            names.update(zip(group["params"], named, strict=True))
        params = self._by_column()
        names.update((params[column], name) for column, name in self.names.items() if params[column] in names)
        shown = [names.get(p, f"removed {i}") for i, p in enumerate(params)]
        join = functools.partial(join_statistics, params=params)
        return Watch(self.record, self.watch, shown, params, join, flush, groups, defaults)

    def overflowed(self) -> None:
        """GradScaler found an overflow, and nothing was written."""
        self.record.overflowed += 1

    def skipped_on_device(
        self,
        found_inf: Tensor | None,
        nonfinite: Tensor | None,
        groups: Sequence[dict[str, Any]],
        describe: Callable[[Tensor], str],
    ) -> None:
        """A step was made on a device, and only there it is known whether it was skipped.

        Args:
            found_inf: not 0 if GradScaler found an overflow.
            nonfinite: whether a gradient was not finite.
            groups, describe: of the optimizer, to name what is not finite with ``nonfinite="raise"``.
        """
        overflowed = None if found_inf is None else found_inf.reshape(()) != 0
        if overflowed is not None:
            self._count("overflowed", overflowed)
        if nonfinite is None:
            return
        if overflowed is not None:  # GradScaler knows of those
            nonfinite = nonfinite & ~overflowed.to(nonfinite.device)
        if self.nonfinite == "raise" and bool(nonfinite):  # the one policy that has to wait
            counts = [(p, count_bad(p.grad)) for g in groups for p in g["params"] if p.grad is not None]
            self.bad_gradients([(p, n) for p, n in counts if n], describe)
        self._count("skipped", nonfinite)

    def count_on(self, device: torch.device | None) -> None:
        """Make the counters of a device that are missing: one that is born in a capture would be gone with the graph."""
        if device is None:
            return
        for name in ("skipped", "overflowed"):
            if (name, device) not in self._skips:
                with torch.inference_mode(False):
                    self._skips[name, device] = torch.zeros((), dtype=torch.int64, device=device)

    def _count(self, name: str, happened: Tensor) -> None:
        self.count_on(happened.device)
        known = self._skips[name, happened.device]
        known += happened

    def bad_gradients(self, bad: Sequence[tuple[Tensor, int]], describe: Callable[[Tensor], str]) -> None:
        """Gradients are not finite, and nothing was written: raise, or count the step.

        Raises:
            NonFiniteError: with ``nonfinite="raise"``.
        """
        p, count = bad[0]
        others = len(bad) - 1
        also = (
            f", as {'has that' if others == 1 else 'have those'} of {counted(others, 'other parameter')}"
            if others
            else ""
        )
        what = f"the gradient of {describe(p)} has {count:,} of {p.numel():,} elements that are NaN or infinite{also}"
        if self.nonfinite == "raise":
            raise NonFiniteError(
                f"{what}. Nothing was written. ravine.diagnose.find_nonfinite finds where they come from"
            )
        self.left_out(what)

    def left_out(self, what: str) -> None:
        """Count a step that was left out, and warn of the first."""
        self.record.skipped += 1
        if self.record.skipped == 1:
            _warn_skipped(what)


def _warn_skipped(what: str) -> None:
    warnings.warn(
        f"nonfinite='skip': {what}. This step is skipped, and so are others like it, without another warning; "
        "optimizer.watch.skipped counts them",
        stacklevel=level_of_user(),
    )
