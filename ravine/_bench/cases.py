"""What is timed: sets of shapes (``CASES``) and optimizers with their options (``configurations``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from ravine.backends._sparse_rows import why_no_rows
from ravine.errors import OptionError, nearest
from ravine.optim import _registry as registry

Shape = tuple[int, ...]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Case:
    """Parameters to step.

    Attributes:
        name: what ``--case`` takes.
        title: what stands above its table.
        shapes: the shape of each parameter.
        rounds: how many rounds the candidates alternate for, unless said.
        streams: whether a step goes through memory. If all of it stays in the processor's caches, the memory
            stream is no limit, and none is shown.
        others: which parameters an optimizer of matrices leaves to AdamW: embeddings, beside what is no matrix.
        touched: how many rows the gradient of each parameter names; 0: gradients are dense.
        asked: it is timed only if its name is given, or with ``--all``.
    """

    name: str
    title: str
    shapes: tuple[Shape, ...]
    rounds: int
    streams: bool
    others: frozenset[int] = frozenset()
    touched: int = 0
    asked: bool = False

    @property
    def elements(self) -> int:
        """Elements of all parameters together."""
        return sum(math.prod(shape) for shape in self.shapes)


def _resnet18() -> tuple[Shape, ...]:
    """The 62 parameters of torchvision's ResNet-18 for 1,000 classes, in its order."""

    def conv(out: int, into: int, side: int) -> list[Shape]:
        return [(out, into, side, side), (out,), (out,)]  # a convolution without bias, then its batch norm

    shapes = conv(64, 3, 7)
    width = 64
    for out in (64, 128, 256, 512):
        shapes += conv(out, width, 3) + conv(out, out, 3)
        if out != width:  # the shortcut that halves the picture
            shapes += conv(out, width, 1)
        shapes += conv(out, out, 3) + conv(out, out, 3)
        width = out
    return (*shapes, (1000, 512), (1000,))


def _gpt() -> tuple[Shape, ...]:
    """48 matrices of twelve transformer blocks of width 384, after two embeddings."""
    width = 384
    block = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)]
    return ((8192, width), (256, width), *(block * 12))


#: The MLP of the tutorials: 784 pixels, 200 hidden, 10 classes.
MLP = Case("mlp", "MLP 784-200-10 (4 tensors)", ((200, 784), (200,), (10, 200), (10,)), 61, False)

CASES = {
    case.name: case
    for case in (
        Case("20x1M", "20 tensors of 1,000,000", ((1_000_000,),) * 20, 15, True),
        MLP,
        Case("62x100", "62 tensors of 100", ((100,),) * 62, 61, False),
        Case("resnet18", "ResNet-18 (62 tensors, 11.7 M)", _resnet18(), 15, True),
        Case("matrices", "20 matrices of 1,000 x 1,000", ((1000, 1000),) * 20, 9, True, asked=True),
        Case("gpt", "GPT (48 matrices, two embeddings, 24.5 M)", _gpt(), 5, True, frozenset((0, 1)), asked=True),
        Case("embedding", "Embedding of 1 M x 64, 4,096 rows", ((1_000_000, 64),), 31, False, touched=4096, asked=True),
    )
}


@dataclass(frozen=True)
class Configuration:
    """An optimizer's class, by the name that it has in ``torch.optim`` and here, and what it is made with."""

    label: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)


def configurations() -> tuple[Configuration, ...]:
    """What is timed unless said: what torch has too, and the names whose optimizers say so."""
    named = map(registry.lookup, registry.names())
    return tuple(
        _configuration(n.name) for n in named if n.timed and (n.options or hasattr(torch.optim, n.cls.__name__))
    )


def takes(configuration: Configuration, case: Case) -> bool:
    """Whether an optimizer can step the parameters of a case: not all can step rows."""
    if not case.touched:
        return True
    cls = registry.lookup(configuration.label).cls
    optimizer = cls([torch.zeros(2, 2, requires_grad=True)], **configuration.options)
    return not why_no_rows(optimizer.program(ndim=2))


def _configuration(name: str) -> Configuration:
    named = registry.lookup(name)
    return Configuration(name, named.cls.__name__, dict(named.options))


def find_cases(names: Iterable[str], every: bool = False) -> list[Case]:
    """The cases of these names, in any case of letters; if there are none, those that need not be asked for, or all."""
    names = list(names)
    known = [case for case in CASES.values() if names or every or not case.asked]
    return _find(names, known, lambda case: case.name, "case")


def find_configurations(names: Iterable[str], every: bool = False) -> list[Configuration]:
    """The configurations of these labels, in any case of letters; what is timed unless said, if there are none.

    With ``every`` and no labels: every optimizer, without the settings that have names of their own.

    A name of the registry that is not timed unless said, such as a dialect, may be asked for.
    """
    names = list(names)
    known = [_configuration(name) for name in registry.names()] if names else configurations()
    if every and not names:
        known = [_configuration(cls.__name__.lower()) for cls in registry.classes()]
    return _find(names, known, lambda configuration: configuration.label, "optimizer to time")


def _find(names: Iterable[str], known: Iterable[_T], name_of: Callable[[_T], str], kind: str) -> list[_T]:
    names, known = list(names), list(known)
    by_name = {name_of(thing).lower(): thing for thing in known}
    for name in names:
        if name.lower() not in by_name:
            raise OptionError(f"There is no {kind} named {name!r}. {nearest(name, map(name_of, known))}")
    wanted = {name.lower() for name in names}
    return [thing for name, thing in by_name.items() if not wanted or name in wanted]
