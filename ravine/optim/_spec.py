"""An optimizer with its options, as the user names it: parsed once, and then built as often as it is needed.

As text it is ``NAME`` or ``NAME:key=value,...``. ``NAME`` is one of ours (``rmsprop``, ``adam``, ...), ``torch-NAME``,
torch.optim's class, or the user's own: ``FILE.py:NAME``, or ``package.module:NAME`` of one that can be imported. Values
are Python literals: ``alpha=0.9``, ``centered=True``, ``betas=(0.9, 0.99)``.
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
from ravine.errors import OptionError, RavineError, for_both, nearest
from ravine.optim import _optimizer_file as optimizer_file
from ravine.optim import _optimizer_module as optimizer_module
from ravine.optim import _registry as registry
from ravine.optim._options_text import parse_options
from ravine.optim._signature import BETAS, Factory, beta_parts, defaults, option_names, option_parameters, takes

DEFAULTS = ("sgd", "momentum", "adagrad", "rmsprop", "adam")
"""What is compared unless the user says otherwise: one of each kind, since every name more makes the others harder to tell apart."""

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
        text: what any process reads as the same optimizer; empty where only this process has it.
        code: the user's file or module that it is from, as it was named; empty if it is none of the user's.
        version: of that code's content.
        path: where that code lies.
    """

    label: str
    name: str
    factory: Factory
    given: Mapping[str, Any] = field(default_factory=dict)
    supplied: Mapping[str, Any] = field(default_factory=dict)
    tuned: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    code: str = ""
    version: str = ""
    path: str = ""

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
            made = self.factory(list(parameters), **self.options)
        except FAILURES as error:
            raise OptionError(f"{self.label}: {self.error_text(error)}") from error
        if not isinstance(made, Optimizer):
            raise OptionError(f"{self.label}: {self.name} returns {made!r}, not an optimizer.")
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
        parts = beta_parts(self.factory)
        tuned: dict[str, Any] = {name: value for name, value in point.items() if name not in parts}
        if any(name in point for name in parts):
            betas = self.options.get("betas", option_parameters(self.factory)["betas"].default)
            tuned["betas"] = tuple(point.get(name, beta) for name, beta in zip(BETAS, betas, strict=True))
        return replace(self, tuned=tuned)

    def error_text(self, error: Exception) -> str:
        """What an error says, on one line; of the user's own, where in the file."""
        text = " ".join(str(error).split())
        if not self.path or isinstance(error, RavineError):
            return text
        line = code.last_line(Path(self.path), error)
        return text if line is None else f"{text} ({self.path}, line {line})"


def names() -> list[str]:
    """Every name that needs no file."""
    return [*registry.names(), *sorted(TORCH)]


def canonical_name(factory: Factory) -> str:
    """The name that needs no file of one of our classes or torch's; empty if it is none of them."""
    ours = (name for name in registry.names() if registry.lookup(name).cls is factory)
    return next((name for name in ours if not registry.lookup(name).options), "") or next(
        (name for name, cls in TORCH.items() if cls is factory), ""
    )


def special_cases() -> dict[str, Mapping[str, Mapping[str, float]]]:
    """Optimizers, and those that they become, each with the setting that leads there."""
    becomes = {name: registry.lookup(name).becomes for name in registry.names()}
    return {name: special for name, special in becomes.items() if special}


def parse_all(
    optimizers: Iterable[str | OptimizerSpec], task: str | None = None, lr: float | None = None
) -> list[OptimizerSpec]:
    """The optimizers of these texts, each as of :func:`parse`; a label that occurs twice is an error."""
    specs = [parse(one, task, lr) if isinstance(one, str) else one for one in optimizers]
    seen: set[str] = set()
    for spec in specs:
        if spec.label in seen:
            raise OptionError(
                f"The optimizer {spec.label!r} is given twice: leave one out, or give one of them options of its own."
            )
        seen.add(spec.label)
    return specs


def parse(
    text: str,
    task: str | None = None,
    lr: float | None = None,
    versions: Mapping[str, str] | None = None,
    label: str = "",
) -> OptimizerSpec:
    """The optimizer that ``text`` names.

    Args:
        text: ``NAME`` or ``NAME:key=value,...``.
        task, lr: where its learning rate comes from, if it has none; see :meth:`OptimizerSpec.for_task`.
        versions: by file, the content that the user's own files must have.
        label: what it is called; the text itself if empty.

    Raises:
        OptionError: a name or key that does not exist (the nearest is named), or text that is no value.
        DataError: the user's own file or module is missing, raises, or has another content.
    """
    text = text.strip()
    label = label or text
    name, written = _split(text)
    file = None if name.lower() in names() else optimizer_file.split(text)
    source = version = path = ""
    supplied: dict[str, Any] = {}
    factory: Factory
    if file is not None:
        name, written, source, path = file.whole, file.options, file.file, str(Path(file.file).absolute())
        factory, version = optimizer_file.load_with_version(source, file.name, (versions or {}).get(source))
    elif name.lower() in names():
        name = name.lower()
        factory, supplied = _find(name)
    elif (address := optimizer_module.split(text)) is not None:
        source, attribute, written = address
        factory = optimizer_module.load(source, attribute)
        name, version, path = f"{source}:{attribute}", *optimizer_module.version_and_path(source)
        if ours := canonical_name(factory):
            name, source, version, path = ours, "", "", ""
    else:
        several = name.split(",")
        if len(several) > 1 and all(one.strip().lower() in names() for one in several):
            each = [one.strip() for one in several]
            wrong = f"{text!r} are {len(several)} optimizers: give each by itself,"
            raise for_both(OptionError(f"{wrong} {each}."), f"{wrong} {' '.join(f'-o {one}' for one in each)}.")
        if Path(f"{name}.py").is_file():
            wrong = f"There is no optimizer {name!r}, but a file {name}.py: one of your own is named with its .py,"
            right = f"{name}.py{text[len(name) :] or ':MyRule'}"
            raise for_both(OptionError(f"{wrong} {right!r}."), f"{wrong} -o {right}.")
        raise OptionError(f"There is no optimizer {name.lower()!r}. {nearest(name.lower(), names())}")
    if text.endswith(":"):
        wrong = f"{text!r} has a colon and no option behind it:"
        without, with_one = text[:-1], f"{text}lr=0.01"
        raise for_both(
            OptionError(f"{wrong} write {without!r}, or {with_one!r}."),
            f"{wrong} write -o {without}, or -o {with_one}.",
        )
    given = parse_options(written, text) if written.strip() else {}
    check_given(text, name, factory, given)
    spec = OptimizerSpec(label, name, factory, given, supplied, {}, text, source, version, path)
    return spec.for_task(task, lr)


def check_given(where: str, name: str, factory: Factory, given: Mapping[str, Any]) -> None:
    """Refuse options that it does not take.

    Raises:
        OptionError: one of them, with the nearest that it takes.
    """
    for key in given:
        if key in beta_parts(factory) and not takes(factory, key):
            betas = tuple(given.get(part, usual) for part, usual in zip(BETAS, defaults(factory)["betas"], strict=True))
            raise OptionError(f"{where}: {name} has no option {key!r}: give both, betas={betas}.")
        if not takes(factory, key):
            raise OptionError(f"{where}: {name} has no option {key!r}. {nearest(key, option_names(factory))}")


def _split(text: str) -> tuple[str, str]:
    name, _, options = text.strip().partition(":")
    return name, options


def _find(name: str) -> tuple[Factory, dict[str, Any]]:
    if name in TORCH:
        return TORCH[name], {}
    named = registry.lookup(name)
    return named.cls, dict(named.options)
