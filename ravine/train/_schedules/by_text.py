"""Schedules by text, such as ``step:800,0.9``, and what a fit may be given as its schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

from torch.optim import Optimizer, lr_scheduler

from ravine.errors import OptionError, an, nearest
from ravine.train._callback import Callback
from ravine.train._schedules.hyper_schedule import HyperSchedule
from ravine.train._schedules.torch_scheduler import FACTOR, PATIENCE, ReduceOnPlateau, TorchScheduler


def _step(size: int, gamma: float = 0.1) -> Callback:
    return TorchScheduler(lr_scheduler.StepLR, step_size=size, gamma=gamma)


def _plateau(
    patience: int = PATIENCE,
    factor: float = FACTOR,
    every: Literal["step", "epoch"] = "epoch",
    monitor: str | None = None,
) -> Callback:
    return ReduceOnPlateau(patience, factor, monitor, every=every)


def _cosine(final: float = 0.0) -> Callback:
    return TorchScheduler(lr_scheduler.CosineAnnealingLR, eta_min=final, length="T_max")


def _linear(final: float = 0.0) -> Callback:
    return TorchScheduler(lr_scheduler.LinearLR, start_factor=1.0, end_factor=final, length="total_iters")


def _exponential(gamma: float) -> Callback:
    return TorchScheduler(lr_scheduler.ExponentialLR, gamma=gamma, every="epoch")


def _constant() -> Callback:
    return TorchScheduler(lr_scheduler.ConstantLR, factor=1.0)


def _stay(optimizer: Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.ConstantLR(optimizer, factor=1.0)


def _cosine_to_zero(optimizer: Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)


def _line_to_zero(optimizer: Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps)


def _warmup_and(then: Callable[[Optimizer, int], lr_scheduler.LRScheduler]) -> Callable[..., Callback]:
    def make(share: float = 0.1) -> Callback:
        return TorchScheduler(_after_warmup, share, then, length="steps")

    return make


def _after_warmup(
    optimizer: Optimizer, share: float, then: Callable[[Optimizer, int], lr_scheduler.LRScheduler], *, steps: int
) -> lr_scheduler.LRScheduler:
    """Over that share of the steps the rate rises along a line, to all of it at the last of them; then the other begins."""
    warm = min(max(1, round(share * steps)), steps)
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / warm, total_iters=warm - 1)
    return lr_scheduler.SequentialLR(optimizer, [rise, then(optimizer, max(1, steps - warm))], [warm])


BY_NAME: dict[str, tuple[Callable[..., Callback], tuple[tuple[str, type], ...], str]] = {
    "step": (_step, (("size", int), ("gamma", float)), "times gamma after every SIZE steps"),
    "plateau": (
        _plateau,
        (("patience", int), ("factor", float)),
        "times factor when valid_loss stops improving; every=step: train_loss; monitor=NAME: another number",
    ),
    "cosine": (_cosine, (("final", float),), "along a cosine to the final rate over the run"),
    "linear": (_linear, (("final", float),), "along a line to that fraction of the rate over the run"),
    "exponential": (_exponential, (("gamma", float),), "times gamma after every epoch"),
    "warmup": (_warmup_and(_stay), (("share", float),), "up along a line over that share of the run, then it stays"),
    "warmup-cosine": (_warmup_and(_cosine_to_zero), (("share", float),), "the same, then along a cosine to 0"),
    "warmup-linear": (_warmup_and(_line_to_zero), (("share", float),), "the same, then along a line to 0"),
    "constant": (_constant, (), "it stays"),
}
"""Schedules that a text can name: how they are made, their arguments, and what they do to the rate."""

_SETTINGS = {"plateau": ("every", "monitor")}
"""What may follow the arguments as ``name=value``: ``plateau:200,0.7,every=step``."""


def usage() -> list[str]:
    """How each of them is written."""
    return [_form(name) for name in BY_NAME]


def _form(name: str) -> str:
    arguments = ",".join(argument.upper() for argument, _ in BY_NAME[name][1])
    return f"{name}:{arguments}" if arguments else name


def parse(text: str) -> Callback:
    """The schedule that a text such as ``step:800,0.9`` describes.

    Raises:
        OptionError: there is none of that name, or it has other arguments.
    """
    name, _, rest = text.strip().partition(":")
    if name.lower().replace("-", "").replace("_", "") == "onecycle":
        raise OptionError(
            f"There is no schedule {name!r} by text: it is learn.fit_one_cycle(epochs, lr), or schedule=OneCycle(lr)."
        )
    if name not in BY_NAME:
        raise OptionError(f"There is no schedule {name!r}. {nearest(name, BY_NAME)} Write {', '.join(usage())}.")
    make, arguments, _ = BY_NAME[name]
    parts = [part.strip() for part in rest.split(",")] if rest.strip() else []
    form = _form(name)
    settings = {}
    while parts and "=" in parts[-1]:
        key, _, value = (piece.strip() for piece in parts.pop().partition("="))
        if key not in _SETTINGS.get(name, ()):
            raise OptionError(
                f"schedule {text!r} has no setting {key!r}. {nearest(key, _SETTINGS.get(name, ()))} Write {form}."
            )
        settings[key] = value
    if len(parts) > len(arguments):
        raise OptionError(f"schedule {text!r} has {len(parts)} argument{'s' * (len(parts) > 1)}; write {form}.")
    values: dict[str, Any] = {}
    for (argument, kind), part in zip(arguments, parts, strict=False):
        try:
            values[argument] = kind(part)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise OptionError(f"schedule {text!r}: {argument} is {part!r}, not {what}; write {form}.") from None
        if reason := _impossible(name, argument, values[argument]):
            raise OptionError(f"schedule {text!r}: {argument} is {part}; {reason}.")
    try:
        return make(**values, **settings)
    except TypeError:
        raise OptionError(f"schedule {text!r}: an argument is missing; write {form}.") from None


def _impossible(name: str, argument: str, value: float) -> str:
    """What is wrong with a schedule's argument; empty if nothing is."""
    if argument == "share":
        return "" if 0 < value < 1 else "it is a share of the run, between 0 and 1"
    low = 1 if argument == "size" else 0
    if not math.isfinite(value) or value < low:
        return f"it must be {'a finite number of ' * (not math.isfinite(value))}at least {low}"
    if argument in ("gamma", "factor") and value == 0:
        return "it must be above 0: a rate of 0 trains nothing"
    if argument == "factor" and value >= 1:
        return "it must be below 1, to lower the rate"
    if name == "linear" and value > 1:
        return "it is a fraction of the rate that the run begins with, at most 1"
    return ""


def _check_final(text: str, schedule: Callback, lr: Any) -> None:
    """A cosine goes down: the rate that it ends at is below that which it begins with, where that is known."""
    if not isinstance(schedule, TorchScheduler) or (final := schedule.kwargs.get("eta_min")) is None:
        return
    rates = [lr] if isinstance(lr, int | float) else list(lr or ())
    if any(final > rate for rate in rates):
        raise OptionError(
            f"schedule {text!r}: final is {final:g}, and the rate begins at {min(rates):g}; final is the rate at the end, not a fraction."
        )


def as_callbacks(schedule: Callback | str | None, lr: Any) -> Iterator[Callback]:
    """The schedule of a fit as callbacks: none or one.

    Raises:
        OptionError: it is not a schedule, or it would overrule the fit's ``lr``.
    """
    if lr is not None and isinstance(schedule, HyperSchedule) and "lr" in schedule.functions:
        raise OptionError(f"lr={lr!r} has no effect, because {schedule!r} sets lr at every step: leave it out.")
    if isinstance(schedule, str):
        made = parse(schedule)
        _check_final(schedule, made, lr)
        yield made
    elif isinstance(schedule, Callback):
        yield schedule
    elif isinstance(schedule, lr_scheduler.LRScheduler) or (
        isinstance(schedule, type) and issubclass(schedule, lr_scheduler.LRScheduler)
    ):
        name = schedule.__name__ if isinstance(schedule, type) else type(schedule).__name__
        raise OptionError(
            f"Wrap torch's scheduler, without the optimizer, and say when it moves: TorchScheduler({name}, ...) for "
            f'every step, TorchScheduler({name}, ..., every="epoch") for every epoch.'
        )
    elif schedule is not None:
        raise OptionError(
            f"The schedule is {an(type(schedule).__name__)}; give a TorchScheduler, ReduceOnPlateau, HyperSchedule or "
            f"OneCycle, or a text such as {usage()[0]!r}."
        )
