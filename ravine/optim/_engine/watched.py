"""What an optimizer knows of its steps, beside stepping: the watch, the policy for NaN, the averaged parameters."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterable, Iterator

import torch

from ravine.backends._sharded import join_watched
from ravine.errors import NonFiniteError, OptionError, ParameterError
from ravine.formula import Program
from ravine.optim._engine.plan import Plan
from ravine.optim._shared import Nonfinite, check_policy
from ravine.optim.pieces import AVERAGE
from ravine.watch._record import Record
from ravine.watch._watch import Watch


class Watched(torch.optim.Optimizer):
    """The part of ``Optimizer`` that is not about making a step."""

    _plan: Plan | None

    def _start_watching(self, nonfinite: Nonfinite, watch: bool) -> None:
        check_policy(nonfinite, watch)
        self._nonfinite, self._watching, self._record = nonfinite, watch, Record()
        self._columns: dict[torch.Tensor, int] = {}
        self._averaged = False

    def program(self, group: int = 0) -> Program:
        """The program of a group's formula."""
        raise NotImplementedError

    @property
    def nonfinite(self) -> Nonfinite:
        """What happens where a gradient has a NaN or infinity; may be set."""
        return self._nonfinite

    @nonfinite.setter
    def nonfinite(self, policy: Nonfinite) -> None:
        check_policy(policy, self._watching)
        self._drop_plan()
        self._nonfinite = policy

    @property
    def watch(self) -> Watch:
        """What the steps did to every parameter: ``optimizer.watch.last``, ``.history``, ``.plot()``."""
        self._place()
        params = list(self._columns)
        named = {
            p: n for i, g in enumerate(self.param_groups) for p, n in zip(g["params"], self._names(i), strict=True)
        }
        names = [named.get(p, f"removed {i}") for i, p in enumerate(params)]
        join = functools.partial(join_watched, params=params)
        return Watch(self._record, self._watching, names, params, join, self._bring)

    def _names(self, index: int) -> list[str]:
        """The names of a group's parameters: those they were given with, else their places."""
        group = self.param_groups[index]
        place = f"{index}." if len(self.param_groups) > 1 else ""
        named: list[str] = group.get("param_names") or [f"{place}{i}" for i in range(len(group["params"]))]
        return named

    def _bring(self, plan: Plan | None = None) -> None:
        """Hand what the plan knows of its steps to the record."""
        plan = plan or self._plan
        if plan is not None and plan.slot:
            # What an evaluation in inference mode asks for must stay usable outside of it.
            with torch.inference_mode(False), torch.no_grad():
                self._record.add(plan.take(self._columns, len(self._columns)))

    def _place(self) -> None:
        """Give every parameter its column in the record; a parameter that leaves the groups keeps it."""
        for group in self.param_groups:
            for p in group["params"]:
                self._columns.setdefault(p, len(self._columns))

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside ``with optimizer.averaged():`` the parameters are their averages, to evaluate or save the model with.

        Outside they are what they were before; what is written to them inside is lost.

        Raises:
            OptionError: the formula keeps no average (``ema_decay=0.999``, or the piece ``ema``).
            ParameterError: a parameter no longer has the shape of its average.
        """
        groups = [g for i, g in enumerate(self.param_groups) if AVERAGE in self.program(i).states]
        if not groups:
            raise OptionError(
                "this formula keeps no average of the parameters: pass ema_decay=0.999, or end your pieces with ema(0.999). "
                "A state dict of an optimizer without one turns it off"
            )
        pairs = [(p, self.state[p][AVERAGE]) for g in groups for p in g["params"] if AVERAGE in self.state.get(p, {})]
        for p, average in pairs:
            if p.shape != average.shape:
                raise ParameterError(f"{self._describe(p)} has an average of shape {tuple(average.shape)}")
        if self._averaged:
            raise OptionError(
                "the parameters are already their averages here: leave out the inner optimizer.averaged()"
            )
        kept = [(p, p.detach().clone()) for p, _ in pairs]
        self._averaged = True
        try:
            _copy(pairs)
            yield
        finally:
            self._averaged = False
            _copy(kept)

    def _drop_plan(self, plan: Plan | None = None) -> None:
        """Make the next step plan anew; what the plan knows of its steps is kept."""
        self._bring(plan)
        self._plan = None

    @property
    def _guarded(self) -> bool:
        return self._nonfinite != "propagate"

    def _bad_gradients(self, bad: list[tuple[torch.Tensor, int]]) -> None:
        """Gradients are not finite, and nothing was written: say so."""
        p, count = bad[0]
        also = f", and {len(bad) - 1} other parameters" if len(bad) > 1 else ""
        found = f"the gradient of {self._describe(p)} has {count:,} of {p.numel():,} elements that are NaN or infinite{also}"
        if self._nonfinite == "raise":
            raise NonFiniteError(
                f"{found}. Nothing was written. ravine.diagnose.find_nonfinite finds where they come from"
            )
        self._record.skipped += 1
        if self._record.skipped == 1:
            warnings.warn(
                f"nonfinite='skip': {found}. This step is left out, and so are others like it, without another "
                "warning; optimizer.watch.skipped counts them",
                stacklevel=4,
            )

    def _describe(self, p: torch.Tensor) -> str:
        for g, group in enumerate(self.param_groups):
            for i, q in enumerate(group["params"]):
                if q is p:
                    name = repr(group["param_names"][i]) if "param_names" in group else f"{i} of group {g}"
                    return f"parameter {name} (shape {tuple(p.shape)})"
        return f"a parameter of shape {tuple(p.shape)}"


@torch.no_grad()
def _copy(pairs: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for target, source in pairs:
        target.copy_(source)
