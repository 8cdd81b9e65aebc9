"""Optimizers as Python has them: classes, partials of them, and functions from parameters to an optimizer."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from ravine.errors import FormulaError, OptionError
from ravine.formula import Piece
from ravine.formula._pieces import as_piece
from ravine.optim._options_text import options_text
from ravine.optim._spec import OptimizerSpec, canonical_name, check_given, parse, parse_all

#: What names an optimizer: text as on the command line, a class of ravine or torch.optim (or one derived from them), a
#: ``functools.partial`` of a class with options, or a function from the parameters to an optimizer.
OptimizerLike = Any


def specs_of(
    optimizers: OptimizerLike | Iterable[OptimizerLike] | Mapping[str, OptimizerLike],
    task: str | None = None,
    lr: float | None = None,
) -> list[OptimizerSpec]:
    """The optimizers that are named: one, several, or several with labels.

    Args:
        optimizers: text, a class, a partial, a function; a list of any of them; or a dict from labels to them.
        task, lr: where the learning rate comes from of those that have none; see :meth:`OptimizerSpec.for_task`.

    Raises:
        OptionError: one of them names no optimizer, or has an option that it cannot have; or a label is there twice.
        DataError: a user's file is missing or raises.
    """
    if isinstance(optimizers, Mapping):
        labelled = [(label, value) for label, value in optimizers.items()]
        for label, _ in labelled:
            if not isinstance(label, str) or not label.strip():
                raise OptionError(f"The label {label!r} is not text; write {{'a name': optimizer}}.")
        return [spec_of(value, label.strip()).for_task(task, lr) for label, value in labelled]
    if isinstance(optimizers, str) or callable(optimizers) or not isinstance(optimizers, Iterable):
        optimizers = [optimizers]
    return parse_all([spec_of(one).for_task(task, lr) for one in optimizers])


def spec_of(value: OptimizerLike, label: str = "") -> OptimizerSpec:
    """One optimizer; without a label it is called by its name and options.

    Raises:
        OptionError: it is none.
    """
    if isinstance(value, str):
        return parse(value, label=label)
    factory, options = _unwrapped(value)
    name = canonical_name(factory)
    text = _text(name or _address(factory), options)
    if text:
        return parse(text, label=label)
    shown = options_text(options) or ",".join(f"{key}={value}" for key, value in options.items())
    called = getattr(factory, "__qualname__", type(factory).__qualname__)
    called = name or called.rpartition(".")[2]
    label = label or (f"{called}:{shown}" if shown else called)
    check_given(label, called, factory, options)
    return OptimizerSpec(label, name or called, factory, options, text="", code="" if name else "this process")


def _unwrapped(value: OptimizerLike) -> tuple[Any, dict[str, Any]]:
    """The class or function, and the options that partials of it have."""
    if isinstance(value, partial):
        if value.args:
            raise OptionError(
                f"partial({_called(value.func)}, {', '.join(map(repr, value.args))}): give options by their names, such as "
                "partial(RMSprop, alpha=0.9); the parameters come later."
            )
        inner, options = _unwrapped(value.func)
        return inner, {**options, **{key: _plain(option) for key, option in value.keywords.items()}}
    if isinstance(value, torch.optim.Optimizer):
        raise OptionError(
            f"This {type(value).__name__} is made already, for one model's parameters: give its class, or "
            f"partial({type(value).__name__}, lr=...), because every training makes an optimizer of its own."
        )
    if isinstance(value, type) and not issubclass(value, torch.optim.Optimizer):
        raise OptionError(f"The class {value.__name__} is not derived from torch.optim.Optimizer.")
    if isinstance(value, Piece) or _is_piece(value):
        called = _called(value.function if isinstance(value, Piece) else value)
        raise OptionError(
            f"{called} is a piece of a formula. Put it in a file and name it 'my_rule.py:{called}', or write "
            f"a function that makes the optimizer: lambda params: Optimizer(params, [{called}], lr=...)."
        )
    if not callable(value):
        raise OptionError(
            f"{value!r} names no optimizer: give text such as 'rmsprop:alpha=0.9', a class such as RMSprop, "
            "partial(RMSprop, alpha=0.9), or a function from the parameters to an optimizer."
        )
    return value, {}


def _is_piece(value: object) -> bool:
    if not inspect.isfunction(value):
        return False
    try:
        changes, reads = as_piece(value).signature()
        return bool(reads) and any(name.name in ("param", "update") for name in changes)
    except FormulaError:  # a function of another kind
        return False


def _called(value: object) -> str:
    return getattr(value, "__name__", type(value).__name__)


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's: they can be written down."""
    return value.item() if isinstance(value, np.generic) else value


def _text(name: str, options: Mapping[str, Any]) -> str:
    """What another process reads as the same optimizer; empty if there is no such text."""
    written = options_text(options)
    if not name or written is None:
        return ""
    return f"{name}:{written}" if written else name


def _address(factory: Any) -> str:
    """``module:name`` where another process finds the same object; empty if it cannot."""
    module, name = getattr(factory, "__module__", None), getattr(factory, "__qualname__", "")
    if not isinstance(module, str) or module == "__main__" or not re.fullmatch(r"[\w.]+", name):
        return ""
    try:
        if find_spec(module) is None:
            return ""
        there: Any = sys.modules[module]
        for part in name.split("."):
            there = getattr(there, part)
    except (ImportError, AttributeError, KeyError, ValueError):  # made while the program ran, or replaced
        return ""
    return f"{module}:{name}" if there is factory else ""
