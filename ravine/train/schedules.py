"""How hyperparameters change while training: torch's schedulers, any function of progress, and the one-cycle.

No schedule of torch is written again here; a text such as ``step:800,0.9`` names one of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import lr_scheduler

from ravine.errors import OptionError, nearest
from ravine.train import check
from ravine.train.callback import Callback
from ravine.train.gradients import GradientAccumulation

if TYPE_CHECKING:
    from ravine.train.learner import Learner

_MOMENTA = ("momentum", "betas[0]", "alpha", "rho")
"""What a cycle of momentum moves: the first of these that an optimizer has and that is on."""


class _TorchSchedule(Callback):
    """A scheduler of torch, made when the fit begins and kept in its checkpoints."""

    def __init__(self, scheduler: Callable[..., Any], *args: Any, length: str | None = None, **kwargs: Any) -> None:
        if isinstance(scheduler, lr_scheduler.LRScheduler) or not callable(scheduler):
            raise OptionError(
                f"{scheduler!r} is no scheduler's class. Give the class and its arguments without the optimizer: "
                f"{type(self).__name__}(StepLR, step_size=800, gamma=0.9)."
            )
        self.make, self.args, self.kwargs, self.length = scheduler, args, kwargs, length
        self.scheduler: Any = None

    def __repr__(self) -> str:
        given = [*map(_said, self.args), *(f"{k}={_said(v)}" for k, v in self.kwargs.items())]
        if self.length:
            given.append(f"length={self.length!r}")
        return f"{type(self).__name__}({', '.join([_said(self.make), *given])})"

    def times(self, learn: Learner) -> int:
        """How many times the scheduler is stepped in this fit."""
        raise NotImplementedError

    def before_fit(self, learn: Learner) -> None:
        for group in learn.optimizer.param_groups:
            group.pop("initial_lr", None)  # an earlier fit's scheduler began elsewhere
        counted = {self.length: self.times(learn)} if self.length else {}
        try:
            self.scheduler = self.make(learn.optimizer, *self.args, **self.kwargs, **counted)
        except (TypeError, ValueError, KeyError) as error:
            raise OptionError(f"{self!r} cannot be made: {error}") from error
        if not isinstance(self.scheduler, lr_scheduler.LRScheduler):
            raise OptionError(f"{self!r} made a {type(self.scheduler).__name__}, which is no scheduler of torch.")
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau) and not isinstance(self, OnPlateau):
            raise OptionError(f"{self!r} has no loss to go by; write OnPlateau(patience=5, factor=0.7).")

    def state_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = self.scheduler.state_dict()
        return found

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state)
        # torch warns of a scheduler that moves before the optimizer; here the steps were made before the run stopped
        self.scheduler.optimizer._opt_called = True


class PerStep(_TorchSchedule):
    """A scheduler of ``torch.optim.lr_scheduler`` that moves after every step of the optimizer.

    Args:
        scheduler: its class, or any function that makes it from the optimizer.
        args, kwargs: its arguments after the optimizer.
        length: the name of its argument that takes the number of all steps, such as ``T_max`` or ``total_steps``.

    Example::

        learn.fit(5, 1e-2, PerStep(StepLR, step_size=800, gamma=0.9))
        learn.fit(5, 1e-2, PerStep(CosineAnnealingLR, length="T_max"))
    """

    def times(self, learn: Learner) -> int:
        if learn.batches is None:
            raise OptionError(f"{self!r} needs the number of steps, but the training data has no len().")
        together = next((c.batches for c in learn._active if isinstance(c, GradientAccumulation)), 1)
        return learn.epochs * math.ceil(learn.batches / together)

    def after_step(self, learn: Learner) -> None:
        self.scheduler.step()


class PerEpoch(_TorchSchedule):
    """A scheduler of ``torch.optim.lr_scheduler`` that moves after every epoch; arguments as for :class:`PerStep`."""

    def times(self, learn: Learner) -> int:
        return learn.epochs

    def after_epoch(self, learn: Learner) -> None:
        self.scheduler.step()


class OnPlateau(_TorchSchedule):
    """Lowers the learning rate when a loss or metric stops improving, and says so.

    Args:
        patience: so many epochs may pass without improvement; the next one lowers the rate.
        factor: what the rate is multiplied by.
        monitor: a column of the table. A loss improves by falling, anything else by rising, unless ``mode`` says.
        kwargs: other arguments of ``torch.optim.lr_scheduler.ReduceLROnPlateau``.
    """

    def __init__(self, patience: int = 10, factor: float = 0.1, monitor: str = "valid_loss", **kwargs: Any) -> None:
        kwargs.setdefault("mode", "min" if monitor.endswith("loss") else "max")
        super().__init__(lr_scheduler.ReduceLROnPlateau, patience=patience, factor=factor, **kwargs)
        self.monitor = monitor

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, monitor={self.monitor!r})"

    def before_fit(self, learn: Learner) -> None:
        watch(self, learn, self.monitor)
        super().before_fit(learn)

    def after_epoch(self, learn: Learner) -> None:
        value = float(learn.row[self.monitor])
        before = [float(group["lr"]) for group in learn.optimizer.param_groups]
        self.scheduler.step(value)
        after = [float(group["lr"]) for group in learn.optimizer.param_groups]
        if after != before:
            waited = self.scheduler.patience + 1
            changes = dict.fromkeys(f"{b:.4g} -> {a:.4g}" for b, a in zip(before, after, strict=True))
            learn.say(
                f"epoch {learn.epoch}: {self.monitor} has not improved for {waited} "
                f"{'epoch' if waited == 1 else 'epochs'}: lr {', '.join(changes)}"
            )


class OverRun(Callback):
    """Hyperparameters as functions of progress, which goes from 0 to 1 over the fit.

    Args:
        functions: by the hyperparameter's name, which may be one of a tuple: ``{"betas[0]": ...}``. Each is asked
            before every step and gives the value to use.
        more: the same as keywords.

    Example::

        learn.fit(5, schedule=OverRun(lr=lambda p: 1e-2 * (1 - p), momentum=lambda p: 0.85 + 0.1 * p))
    """

    def __init__(self, functions: Mapping[str, Callable[[float], Any]] | None = None, **more: Any) -> None:
        self.functions = {**(functions or {}), **more}
        if not self.functions:
            raise OptionError(
                "OverRun needs a function of progress: OverRun(lr=lambda progress: 0.1 * (1 - progress))."
            )
        for name, function in self.functions.items():
            if not callable(function):
                raise OptionError(f"OverRun: {name} is {function!r}; it must be a function of progress, from 0 to 1.")

    def __repr__(self) -> str:
        names = (f"{n}={_said(f)}" for n, f in self.functions.items())
        return f"OverRun({', '.join(names)})"

    def before_fit(self, learn: Learner) -> None:
        _ = learn.progress if learn.batches is None else None  # says what is missing before anything is trained
        for group in learn.optimizer.param_groups:
            for name in self.functions:
                _get(group, name)

    def before_batch(self, learn: Learner) -> None:
        progress = learn.progress
        values = {name: function(progress) for name, function in self.functions.items()}
        for group in learn.optimizer.param_groups:
            for name, value in values.items():
                _set(group, name, value)


class OneCycle(OverRun):
    """The schedule of :meth:`Learner.fit_one_cycle`."""

    def __init__(
        self,
        lr_max: float,
        *,
        div: float = 25.0,
        div_final: float = 1e5,
        pct_start: float = 0.25,
        moms: tuple[float, float, float] | None = (0.95, 0.85, 0.95),
    ) -> None:
        lr_max = check.rate(lr_max)
        for name, value in (("div", div), ("div_final", div_final)):
            if not (_is_number(value) and 0 < value < math.inf):
                raise OptionError(f"{name} {value!r}: the highest rate is divided by it; give a number above 0.")
        if not (_is_number(pct_start) and 0 < pct_start < 1):
            raise OptionError(f"pct_start {pct_start!r}: it is a share of the run, between 0 and 1.")
        three = isinstance(moms, tuple | list) and len(moms) == 3
        if moms is not None and not (three and all(_is_number(m) and 0 <= m < 1 for m in moms)):
            raise OptionError(f"moms {moms!r}: give three numbers from 0 up to 1, at the start, the top and the end.")
        super().__init__(lr=_cosines(pct_start, lr_max / div, lr_max, lr_max / div_final))
        self.moms, self._moving = moms, _cosines(pct_start, *moms) if moms else None
        self._said = f"OneCycle(lr_max={lr_max}, div={div}, div_final={div_final}, pct_start={pct_start}, moms={moms})"

    def __repr__(self) -> str:
        return self._said

    def before_fit(self, learn: Learner) -> None:
        self.functions = {"lr": self.functions["lr"]}
        name = next((n for n in _MOMENTA if _is_on(learn.optimizer.param_groups[0], n)), None)
        if self._moving is not None and name is not None:
            self.functions[name] = self._moving
        super().before_fit(learn)


def watch(callback: Callback, learn: Learner, name: str) -> None:
    """Say before anything is trained if the table will have no such column.

    Raises:
        OptionError: it will not.
    """
    columns = learn._columns()
    if name not in columns:
        hint = " There is no validation data." if learn.valid is None else ""
        raise OptionError(
            f"{type(callback).__name__} watches {name!r}, which is no column.{hint} {nearest(name, columns)}"
        )


def _said(value: Any) -> str:
    """The value as text; functions by their names, which are the same in every process."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_said, value))}]"
    return getattr(value, "__name__", type(value).__name__) if callable(value) else repr(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _cosines(share: float, start: float, middle: float, end: float) -> Callable[[float], float]:
    """Half a cosine from start to middle over the first share of the run, and another to the end."""

    def value(progress: float) -> float:
        if progress < share:
            a, b, at = start, middle, progress / share
        else:
            a, b, at = middle, end, (progress - share) / (1 - share)
        return a + (1 - math.cos(math.pi * at)) * (b - a) / 2

    return value


def _split(name: str) -> tuple[str, int | None]:
    base, bracket, index = name.partition("[")
    if bracket and not re.fullmatch(r"\d+\]", index):
        raise OptionError(f"OverRun: {name!r} is no name; write 'momentum', or 'betas[0]' for one of a tuple.")
    return base, int(index[:-1]) if index else None


def _get(group: Mapping[str, Any], name: str) -> Any:
    base, index = _split(name)
    if base not in group or base == "params":
        known = [key for key in group if key not in ("params", "param_names")]
        raise OptionError(f"The optimizer has no hyperparameter {base!r}. {nearest(base, known)}")
    if index is None:
        return group[base]
    if not isinstance(group[base], tuple | list) or index >= len(group[base]):
        raise OptionError(f"The optimizer has no {name!r}: its {base} is {group[base]!r}.")
    return group[base][index]


def _set(group: dict[str, Any], name: str, value: Any) -> None:
    base, index = _split(name)
    if index is not None:
        values = list(group[base])
        values[index] = value
        group[base] = tuple(values)
    elif isinstance(group[base], Tensor):
        group[base].fill_(value)
    else:
        group[base] = value


def _is_on(group: Mapping[str, Any], name: str) -> bool:
    base, _ = _split(name)
    return base in group and bool(_get(group, name))


# --- by text ---------------------------------------------------------------------------------------------------------


def _step(size: int, gamma: float = 0.1) -> Callback:
    return PerStep(lr_scheduler.StepLR, step_size=size, gamma=gamma)


def _plateau(patience: int = 5, factor: float = 0.1) -> Callback:
    return OnPlateau(patience, factor)


def _cosine(final: float = 0.0) -> Callback:
    return PerStep(lr_scheduler.CosineAnnealingLR, eta_min=final, length="T_max")


def _linear(final: float = 0.0) -> Callback:
    return PerStep(lr_scheduler.LinearLR, start_factor=1.0, end_factor=final, length="total_iters")


def _exponential(gamma: float) -> Callback:
    return PerEpoch(lr_scheduler.ExponentialLR, gamma=gamma)


BY_NAME: dict[str, tuple[Callable[..., Callback], tuple[tuple[str, type], ...], str]] = {
    "step": (_step, (("size", int), ("gamma", float)), "times gamma after every so many steps"),
    "plateau": (_plateau, (("patience", int), ("factor", float)), "times factor when valid_loss stops improving"),
    "cosine": (_cosine, (("final", float),), "along a cosine to the final rate over the run"),
    "linear": (_linear, (("final", float),), "along a line to that share of the rate over the run"),
    "exponential": (_exponential, (("gamma", float),), "times gamma after every epoch"),
}
"""Schedules that a text can name: how they are made, their arguments, and what they do to the rate."""


def usage() -> list[str]:
    """How each of them is written."""
    return [f"{name}:{','.join(a.upper() for a, _ in arguments)}" for name, (_, arguments, _) in BY_NAME.items()]


def parse(text: str) -> Callback:
    """The schedule that a text such as ``step:800,0.9`` describes.

    Raises:
        OptionError: there is none of that name, or its arguments are no numbers or not as many.
    """
    name, _, rest = text.strip().partition(":")
    if name not in BY_NAME:
        raise OptionError(f"There is no schedule {name!r}. {nearest(name, BY_NAME)} Write {', '.join(usage())}.")
    make, arguments, _ = BY_NAME[name]
    given = [part.strip() for part in rest.split(",")] if rest.strip() else []
    form = f"{name}:{','.join(a.upper() for a, _ in arguments)}"
    if len(given) > len(arguments):
        raise OptionError(f"schedule {text!r}: it has {len(given)} arguments; write {form}.")
    values = {}
    for (argument, kind), part in zip(arguments, given, strict=False):
        try:
            values[argument] = kind(part)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise OptionError(f"schedule {text!r}: {argument} is {part!r}, not {what}; write {form}.") from None
        low = 1 if kind is int and name == "step" else 0
        if not math.isfinite(values[argument]) or values[argument] < low:
            raise OptionError(f"schedule {text!r}: {argument} is {part}; it must be at least {low}.")
    try:
        return make(**values)
    except TypeError:
        raise OptionError(f"schedule {text!r}: an argument is missing; write {form}.") from None


def as_callbacks(schedule: Callback | str | None, lr: float | None) -> Iterator[Callback]:
    """The schedule of a fit as callbacks: none or one.

    Raises:
        OptionError: it is no schedule, or it would overrule the fit's ``lr``.
    """
    if lr is not None and isinstance(schedule, OverRun) and "lr" in schedule.functions:
        raise OptionError(
            f"lr={lr!r} would count for nothing, because {schedule!r} sets it at every step: leave it out."
        )
    if isinstance(schedule, str):
        yield parse(schedule)
    elif isinstance(schedule, Callback):
        yield schedule
    elif isinstance(schedule, lr_scheduler.LRScheduler):
        name = type(schedule).__name__
        raise OptionError(f"Give the schedule without the optimizer, as PerStep({name}, ...) or PerEpoch({name}, ...).")
    elif isinstance(schedule, type) and issubclass(schedule, lr_scheduler.LRScheduler):
        raise OptionError(
            f"Say when it moves: PerStep({schedule.__name__}, ...) or PerEpoch({schedule.__name__}, ...)."
        )
    elif schedule is not None:
        raise OptionError(
            f"The schedule is a {type(schedule).__name__}; give PerStep, PerEpoch, OnPlateau, OverRun, or a text such "
            f"as {usage()[0]!r}."
        )


__all__ = ["BY_NAME", "OnPlateau", "OneCycle", "OverRun", "PerEpoch", "PerStep", "parse", "usage", "watch"]
