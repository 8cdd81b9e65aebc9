"""Finds the optimizer inside what trainers put around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ravine.errors import OptionError
from ravine.optim._optimizer import Optimizer

#: Where wrappers and trainers keep their optimizer: Accelerate, DeepSpeed, Hugging Face (optimizer), Lightning
#: (_optimizer, optimizers), fastai (opt), ZeroRedundancyOptimizer (optim), sharpness-aware ones (base_optimizer),
#: skorch (optimizer_).
_PLACES = ("optimizer", "_optimizer", "optim", "opt", "base_optimizer", "inner_optimizer", "optimizer_", "optimizers")
_DEEPEST = 6


def unwrap(optimizer: Any) -> Optimizer:
    """The Ravine optimizer inside a wrapper, or inside a trainer: to ask for its ``watch`` or set its ``nonfinite``.

    Args:
        optimizer: what Accelerate, DeepSpeed, fastai, Lightning, ``ZeroRedundancyOptimizer`` or a sharpness-aware optimizer
            made of a Ravine optimizer, or an object that has it as ``optimizer``, ``opt`` or the like.

    Raises:
        OptionError: there is none, or there are several.

    Example::

        model, optimizer = accelerator.prepare(model, RMSprop(model.parameters(), lr=1e-3))
        unwrap(optimizer).name_parameters(model)
        print(unwrap(optimizer).watch.last)
    """
    optimizers = {id(o): o for o in _inside(optimizer, _DEEPEST)}
    if len(optimizers) == 1:
        return next(iter(optimizers.values()))
    what = type(optimizer).__name__
    if optimizers:
        raise OptionError(f"there are {len(optimizers)} Ravine optimizers in this {what}: unwrap one of them")
    raise OptionError(
        f"there is no Ravine optimizer in this {what}: looked at {', '.join(f'.{name}' for name in _PLACES)}, and what is in them"
    )


def _inside(thing: Any, depth: int) -> Iterator[Optimizer]:
    if isinstance(thing, list | tuple):
        for one in thing:
            yield from _inside(one, depth)
        return
    held = [value for name in _PLACES if (value := _held(thing, name)) is not None and value is not thing]
    inner = [o for value in held for o in _inside(value, depth - 1)] if depth else []
    # Lightning's wrapper is made an instance of the optimizer's class too, and knows nothing of its steps.
    if not inner and isinstance(thing, Optimizer):
        inner = [thing]
    yield from inner


def _held(thing: Any, name: str) -> Any:
    if isinstance(thing, str | bytes | int | float | Mapping) or (callable(thing) and isinstance(thing, type)):
        return None
    try:
        return getattr(thing, name, None)
    except Exception:  # a property of a trainer that has not begun
        return None
