"""What is compared: an optimizer with its options, written ``NAME`` or ``NAME:key=value,...``.

``NAME`` is one of ours (``rmsprop``, ``adam``, ...), ``torch-NAME``, torch.optim's class, or the user's own:
``FILE.py:NAME``. Values are Python literals: ``alpha=0.9``, ``centered=True``, ``betas=(0.9, 0.99)``.
"""

import ast
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ravine._files import code
from ravine.errors import OptionError, RavineError, nearest
from ravine.optim import _own as own
from ravine.optim import _registry as registry
from ravine.optim._common import parameters_of

DEFAULTS = ("momentum", "sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw")
"""What is compared unless the user says otherwise."""

BETAS = ("beta1", "beta2")
"""The names under which the two numbers of ``betas`` are searched."""

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

_TORCH: dict[str, type[Optimizer]] = {
    f"torch-{name.lower()}": cls
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type) and issubclass(cls, Optimizer) and cls is not Optimizer
}


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer ready to be made; ``label`` is how the user wrote it and tells it from the others.

    ``file`` is that of the user's own.
    """

    label: str
    name: str
    cls: type[Optimizer]
    options: Mapping[str, Any]
    file: Path | None = None

    @property
    def reference(self) -> bool:
        """Whether this is torch's own optimizer, which ours are held against."""
        return self.name in _TORCH

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """A fresh optimizer of these parameters; what it says about an option names the contender."""
        self.check_complete()
        try:
            return self.cls(list(parameters), **self.options)
        except FAILURES as error:
            raise OptionError(f"{self.label}: {self.told(error)}") from error

    def check_complete(self, searched: Iterable[str] = ()) -> None:
        """Raise OptionError if an option is missing that has no default and is not among the searched ones."""
        known = keys(self.cls)
        signature = parameters_of(self.cls)
        there = {*self.options, *searched}
        missing = [key for key in known if signature[key].default is inspect.Parameter.empty and key not in there]
        if missing:
            example = ",".join(f"{key}=..." for key in missing)
            joint = "," if written(self.label) else ":"
            raise OptionError(f"{self.label}: {self.name} needs {', '.join(missing)}: {self.label}{joint}{example}")

    def told(self, error: Exception) -> str:
        """What an error says, on one line; of the user's own, where in the file."""
        text = one_line(error)
        line = None if self.file is None or isinstance(error, RavineError) else code.last_line(self.file, error)
        return text if line is None else f"{text} ({self.file}, line {line})"


def names() -> list[str]:
    """Every name a contender can have."""
    return [*registry.names(), *sorted(_TORCH)]


def file_of(spec: str) -> str | None:
    """The user's own file that a specification names, as it is written there."""
    found = _own(spec)
    return None if found is None else found.file


def parse_all(
    specs: Iterable[str], task: str | None, lr: float | None = None, versions: Mapping[str, str] | None = None
) -> list[OptimizerSpec]:
    """The contenders of these specifications, each as of :func:`parse`; a label that occurs twice is an error."""
    contenders = [parse(spec, task, lr, versions) for spec in specs]
    seen: set[str] = set()
    for contender in contenders:
        if contender.label in seen:
            raise OptionError(f"The optimizer {contender.label!r} is given twice.")
        seen.add(contender.label)
    return contenders


def parse(
    spec: str, task: str | None, lr: float | None = None, versions: Mapping[str, str] | None = None
) -> OptimizerSpec:
    """The contender that ``spec`` describes.

    Args:
        spec: ``NAME`` or ``NAME:key=value,...``.
        task: name of the task whose default learning rate is used; None: the optimizer's own.
        lr: the learning rate for a specification that has none.
        versions: by file, the content that the user's own files must have.

    The learning rate is, in this order: the specification's own ``lr``; ``lr``; the one that
    the optimizer declares for the task, if there is one (a dialect's own, too, gives way to it: dialects
    are compared at one rate); the optimizer's default.

    Raises:
        OptionError: a name or key that does not exist (the nearest is named), or text that is no value.
        DataError: the user's own file is missing, raises, or has another content.
    """
    spec = spec.strip()
    found = _own(spec)
    if found is not None:
        name, file = found.whole, Path(found.file).absolute()
        cls = own.load(found.file, found.name, (versions or {}).get(found.file))
        options: dict[str, Any] = {}
    else:
        name, file = _name(spec), None
        cls, options = _find(name)
    given = written(spec)
    for key in given:
        if not takes(cls, key):
            raise OptionError(f"{spec}: {name} has no option {key!r}. {nearest(key, keys(cls))}")
    if takes(cls, "lr") and "lr" not in given:
        if lr is None and task is not None and found is None:  # nobody knows a rate of a user's own rule
            lr = (
                registry.lookup(name.removeprefix("torch-")).rate(task)
                if name.removeprefix("torch-") in registry.names()
                else None
            )
        if lr is not None:
            options["lr"] = lr
    elif lr is not None and "lr" not in given:
        raise OptionError(f"{spec}: {name} has no learning rate, but one was given for all.")
    options = {**options, **given}
    return OptimizerSpec(spec, name, cls, options, file)


def one_line(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())


def written(spec: str) -> dict[str, Any]:
    """The options that stand in a specification; whether the optimizer has them is not asked."""
    found = _own(spec)
    text = spec.strip().partition(":")[2] if found is None else found.options
    return _options(text, spec.strip()) if text.strip() else {}


def _name(spec: str) -> str:
    return spec.strip().partition(":")[0].lower()


def _own(spec: str) -> own.Written | None:
    """The parts of a specification that names a file."""
    return None if _name(spec) in names() else own.split(spec)


def _find(name: str) -> tuple[type[Optimizer], dict[str, Any]]:
    if name in _TORCH:
        return _TORCH[name], {}
    if name not in registry.names():
        raise OptionError(f"There is no optimizer {name!r}. {nearest(name, names())}")
    named = registry.lookup(name)
    return named.cls, dict(named.options)


def keys(cls: type[Optimizer]) -> list[str]:
    """The options that an optimizer's constructor takes by name: all its arguments but the first, the parameters."""
    parameters = next(iter(inspect.signature(cls).parameters), None)
    signature = parameters_of(cls).values()
    named = [p.name for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return [name for name in named if name != parameters]


def takes(cls: type[Optimizer], key: str) -> bool:
    """Whether an optimizer's constructor takes an option; one of the user's own may take any."""
    return key in keys(cls) or any(p.kind is p.VAR_KEYWORD for p in parameters_of(cls).values())


def searchable(cls: type[Optimizer]) -> list[str]:
    """The hyperparameters that can be searched: the options that are numbers, and the two of ``betas`` by themselves."""
    numbers = [
        name
        for name, p in parameters_of(cls).items()
        if name in keys(cls)
        and (p.default is p.empty or (isinstance(p.default, int | float) and not isinstance(p.default, bool)))
    ]
    return [*numbers, *(BETAS if "betas" in keys(cls) else ())]


def at(contender: OptimizerSpec, point: Mapping[str, float]) -> OptimizerSpec:
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
