"""An optimizer with its options, as the user names it: parsed once, and then built as often as it is needed.

As text it is ``NAME`` or ``NAME:key=value,...``. ``NAME`` is one of ours (``rmsprop``, ``adam``, ...), ``torch-NAME``,
torch.optim's class, or the user's own: ``FILE.py:NAME``. Values are Python literals: ``alpha=0.9``,
``centered=True``, ``betas=(0.9, 0.99)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ravine._files import code
from ravine.errors import OptionError, RavineError, nearest
from ravine.optim import _optimizer_file as files
from ravine.optim import _registry as registry
from ravine.optim._options_text import parse_options
from ravine.optim._signature import BETAS, Factory, defaults, option_names, option_parameters, takes

DEFAULTS = ("momentum", "sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw")
"""What is compared unless the user says otherwise."""

FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    TypeError,
    ValueError,
    RuntimeError,
)
"""What optimizers raise for values they cannot use: torch checks some, and trips over the others; and a user's slips."""

TORCH: Mapping[str, type[Optimizer]] = {
    f"torch-{name.lower()}": cls
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type) and issubclass(cls, Optimizer) and cls is not Optimizer
}
"""torch.optim's classes by the names they have here."""


@dataclass(frozen=True, repr=False)
class OptimizerSpec:
    """An optimizer ready to be made.

    Attributes:
        label: what it is called, and what tells it from others.
        name: what was named, without options: ``rmsprop``, ``torch-adam``, ``my_rule.py:MyRule``.
        factory: its class, or a function from the parameters to an optimizer.
        given: the options that the user gave.
        supplied: options from elsewhere: what the name stands for, and the learning rate of the task.
        tuned: options from a point of the search space.
        code: the user's file that it is from, as it was named; empty if it is none of the user's.
        version: of that file's content.
    """

    label: str
    name: str
    factory: Factory
    given: Mapping[str, Any] = field(default_factory=dict)
    supplied: Mapping[str, Any] = field(default_factory=dict)
    tuned: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    version: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """All options it is made with."""
        return {**self.supplied, **self.given, **self.tuned}

    @property
    def all_options(self) -> dict[str, Any]:
        """The same with the defaults of those that nobody gave: what decides how it steps."""
        return {**defaults(self.factory), **self.options}

    @property
    def reference(self) -> bool:
        """Whether this is torch's own optimizer, which ours are held against."""
        return self.name in TORCH

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"OptimizerSpec({self.label!r}: {self.name}({options}))"

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """A fresh optimizer of these parameters.

        Raises:
            OptionError: an option is missing or impossible; the text begins with the label.
        """
        self.check_complete()
        try:
            made: Optimizer = self.factory(list(parameters), **self.options)
        except FAILURES as error:
            raise OptionError(f"{self.label}: {self.error_text(error)}") from error
        return made

    def check_complete(self, searched: Iterable[str] = ()) -> None:
        """Raise OptionError if an option is missing that has no default and is not among the searched ones."""
        signature = option_parameters(self.factory)
        there = {*self.options, *searched}
        missing = [
            name
            for name in option_names(self.factory)
            if signature[name].default is inspect.Parameter.empty and name not in there
        ]
        if missing:
            example = ",".join(f"{name}=..." for name in missing)
            joint = "," if self.given else ":"
            raise OptionError(f"{self.label}: {self.name} needs {', '.join(missing)}: {self.label}{joint}{example}")

    def for_task(self, task: str | None, lr: float | None = None) -> OptimizerSpec:
        """The same with a learning rate, where none was given.

        That is ``lr``, or else the one that the library has for the task (a dialect's own, too, gives way to it:
        dialects are compared at one rate), or else the optimizer's default.

        Raises:
            OptionError: there is an ``lr``, but the optimizer has no learning rate.
        """
        if "lr" in self.given:
            return self
        if not takes(self.factory, "lr"):
            if lr is not None:
                raise OptionError(f"{self.label}: {self.name} has no learning rate, but one was given for all.")
            return self
        if lr is None and task is not None and not self.code:  # nobody knows a rate of a user's own rule
            name = self.name.removeprefix("torch-")
            lr = registry.lookup(name).rate(task) if name in registry.names() else None
        return self if lr is None else replace(self, supplied={**self.supplied, "lr": lr})

    def at(self, point: Mapping[str, float]) -> OptimizerSpec:
        """The same with the hyperparameters of a point of its search space."""
        tuned: dict[str, Any] = {name: value for name, value in point.items() if name not in BETAS}
        if any(name in point for name in BETAS):
            betas = self.options.get("betas", option_parameters(self.factory)["betas"].default)
            tuned["betas"] = tuple(point.get(name, beta) for name, beta in zip(BETAS, betas, strict=True))
        return replace(self, tuned=tuned)

    def error_text(self, error: Exception) -> str:
        """What an error says, on one line; of the user's own, where in the file."""
        text = " ".join(str(error).split())
        if not self.code or isinstance(error, RavineError):
            return text
        path = Path(self.code).absolute()
        line = code.last_line(path, error)
        return text if line is None else f"{text} ({path}, line {line})"


def names() -> list[str]:
    """Every name that needs no file."""
    return [*registry.names(), *sorted(TORCH)]


def parse_all(
    texts: Iterable[str], task: str | None = None, lr: float | None = None, versions: Mapping[str, str] | None = None
) -> list[OptimizerSpec]:
    """The optimizers of these texts, each as of :func:`parse`; a label that occurs twice is an error."""
    found = [parse(text, task, lr, versions) for text in texts]
    seen: set[str] = set()
    for one in found:
        if one.label in seen:
            raise OptionError(f"The optimizer {one.label!r} is given twice.")
        seen.add(one.label)
    return found


def parse(
    text: str, task: str | None = None, lr: float | None = None, versions: Mapping[str, str] | None = None
) -> OptimizerSpec:
    """The optimizer that ``text`` names; that is its label.

    Args:
        text: ``NAME`` or ``NAME:key=value,...``.
        task, lr: where its learning rate comes from, if it has none; see :meth:`OptimizerSpec.for_task`.
        versions: by file, the content that the user's own files must have.

    Raises:
        OptionError: a name or key that does not exist (the nearest is named), or text that is no value.
        DataError: the user's own file is missing, raises, or has another content.
    """
    text = text.strip()
    name, written = _split(text)
    in_file = None if name.lower() in names() else files.split(text)
    source, version = "", ""
    supplied: dict[str, Any] = {}
    factory: Factory
    if in_file is not None:
        name, written, source = in_file.whole, in_file.options, in_file.file
        factory, version = files.load_with_version(source, in_file.name, (versions or {}).get(source))
    else:
        name = name.lower()
        factory, supplied = _find(name)
    given = parse_options(written, text) if written.strip() else {}
    for key in given:
        if not takes(factory, key):
            raise OptionError(f"{text}: {name} has no option {key!r}. {nearest(key, option_names(factory))}")
    return OptimizerSpec(text, name, factory, given, supplied, code=source, version=version).for_task(task, lr)


def _split(text: str) -> tuple[str, str]:
    name, _, options = text.strip().partition(":")
    return name, options


def _find(name: str) -> tuple[Factory, dict[str, Any]]:
    if name in TORCH:
        return TORCH[name], {}
    if name not in registry.names():
        raise OptionError(f"There is no optimizer {name!r}. {nearest(name, names())}")
    named = registry.lookup(name)
    return named.cls, dict(named.options)
