"""What is compared: an optimizer with its options, written ``NAME`` or ``NAME:key=value,...``.

``NAME`` is one of ours (``rmsprop``, ``adam``, ...) or ``torch-NAME``, torch.optim's class. Values are
Python literals: ``alpha=0.9``, ``centered=True``, ``betas=(0.9, 0.99)``.
"""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ravine.comparison.rates import default_rate
from ravine.errors import OptionError, nearest
from ravine.optim import registry
from ravine.optim.shared import parameters_of
from ravine.tasks import Task

DEFAULTS = ("momentum", "sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw")
"""What is compared unless the user says otherwise."""

BETAS = ("beta1", "beta2")
"""The names under which the two numbers of ``betas`` are searched."""

FAILURES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError)
"""What optimizers raise for values they cannot use: torch checks some, and trips over the others."""

_TORCH: dict[str, type[Optimizer]] = {
    f"torch-{name.lower()}": cls
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type) and issubclass(cls, Optimizer) and cls is not Optimizer
}


@dataclass(frozen=True)
class Contender:
    """An optimizer ready to be made; ``label`` is how the user wrote it and tells it from the others."""

    label: str
    name: str
    cls: type[Optimizer]
    options: Mapping[str, Any]

    @property
    def reference(self) -> bool:
        """Whether this is torch's own optimizer, which ours are held against."""
        return self.name in _TORCH

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """A fresh optimizer of these parameters; what it says about an option names the contender."""
        try:
            return self.cls(list(parameters), **self.options)
        except FAILURES as error:
            raise OptionError(f"{self.label}: {one_line(error)}") from error


def names() -> list[str]:
    """Every name a contender can have."""
    return [*registry.names(), *sorted(_TORCH)]


def parse_all(specs: Iterable[str], task: Task | None, lr: float | None = None) -> list[Contender]:
    """The contenders of these specifications; a label that occurs twice is an error."""
    contenders = [parse(spec, task, lr) for spec in specs]
    seen: set[str] = set()
    for contender in contenders:
        if contender.label in seen:
            raise OptionError(f"The optimizer {contender.label!r} is given twice.")
        seen.add(contender.label)
    return contenders


def parse(spec: str, task: Task | None, lr: float | None = None) -> Contender:
    """The contender that ``spec`` describes.

    The learning rate is, in this order: the specification's own ``lr``; ``lr``; the one that
    :mod:`ravine.comparison.rates` has for the task, if there is one (a dialect's own, too, gives way to it: dialects
    are compared at one rate); the optimizer's default.

    Raises:
        OptionError: a name or key that does not exist (the nearest is named), or text that is no value.
    """
    spec = spec.strip()
    name = _name(spec)
    cls, options = _find(name)
    given = written(spec)
    known = keys(cls)
    for key in given:
        if key not in known:
            raise OptionError(f"{spec}: {name} has no option {key!r}. {nearest(key, known)}")
    if "lr" in known and "lr" not in given:
        rate = lr if lr is not None or task is None else default_rate(task, name)
        if rate is not None:
            options["lr"] = rate
    elif lr is not None and "lr" not in known:
        raise OptionError(f"{spec}: {name} has no learning rate, but one was given for all.")
    options = {**options, **given}
    return Contender(spec, name, cls, options)


def one_line(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())


def written(spec: str) -> dict[str, Any]:
    """The options that stand in a specification; whether the optimizer has them is not asked."""
    text = spec.strip().partition(":")[2]
    return _options(text, spec.strip()) if text.strip() else {}


def _name(spec: str) -> str:
    return spec.partition(":")[0].lower()


def _find(name: str) -> tuple[type[Optimizer], dict[str, Any]]:
    if name in _TORCH:
        return _TORCH[name], {}
    if name not in registry.names():
        raise OptionError(f"There is no optimizer {name!r}. {nearest(name, names())}")
    named = registry.lookup(name)
    return named.cls, dict(named.options)


def keys(cls: type[Optimizer]) -> list[str]:
    """The options that an optimizer's constructor takes: all its arguments but the parameters."""
    signature = parameters_of(cls).values()
    named = [p.name for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return [name for name in named if name != "params"]


def searchable(cls: type[Optimizer]) -> list[str]:
    """The hyperparameters that can be searched: the options that are numbers, and the two of ``betas`` by themselves."""
    numbers = [
        name
        for name, p in parameters_of(cls).items()
        if name in keys(cls)
        and (p.default is p.empty or (isinstance(p.default, int | float) and not isinstance(p.default, bool)))
    ]
    return [*numbers, *(BETAS if "betas" in keys(cls) else ())]


def at(contender: Contender, point: Mapping[str, float]) -> Contender:
    """The contender with the hyperparameters of a point of its search space."""
    options = {**contender.options, **{name: value for name, value in point.items() if name not in BETAS}}
    if any(name in point for name in BETAS):
        betas = options.get("betas", parameters_of(contender.cls)["betas"].default)
        options["betas"] = tuple(point.get(name, beta) for name, beta in zip(BETAS, betas, strict=True))
    return replace(contender, options=options)


def _options(text: str, spec: str) -> dict[str, Any]:
    """``alpha=0.9,betas=(0.9, 0.99)`` as a dictionary.

    Python's own parser reads it, as the arguments of a call: it knows which commas separate.
    Nothing is run; :func:`ast.literal_eval` accepts values only.
    """
    try:
        call = ast.parse(f"_({text})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        detail = f" ({error.msg})" if isinstance(error, SyntaxError) else ""
        raise OptionError(f"{spec}: {text!r} is not key=value,key=value{detail}.") from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise OptionError(f"{spec}: {text!r} is not key=value,key=value.")
    options: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise OptionError(f"{spec}: {text!r} is not key=value,key=value.")
        if keyword.arg in options:
            raise OptionError(f"{spec}: {keyword.arg} is given twice.")
        try:
            options[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, RecursionError, MemoryError) as error:
            value = ast.unparse(keyword.value)
            raise OptionError(
                f"{spec}: the value {value} of {keyword.arg} is not a number, True, False, None, "
                "a tuple or a quoted text."
            ) from error
    return options
