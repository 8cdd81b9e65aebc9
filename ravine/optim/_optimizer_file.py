"""An optimizer of the user's own, named by its file: ``my_rule.py:MyRule``.

The file may hold classes derived from ``ravine.optim.Optimizer`` or ``torch.optim.Optimizer``, lists of pieces, and
pieces. It is run once in a process for each content it has: a study's thousand trials run it once.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ravine._files import code
from ravine.errors import DataError, FormulaError, OptionError, nearest
from ravine.formula import Piece
from ravine.formula._pieces import RESERVED, as_piece
from ravine.formula._tracing import hyper_defaults
from ravine.optim._optimizer import Optimizer

_FORMS = "a class derived from ravine.optim.Optimizer or torch.optim.Optimizer, a piece, or a list of pieces"

_modules: dict[tuple[Path, str], ModuleType] = {}
_classes: dict[tuple[Path, str, str], type[torch.optim.Optimizer]] = {}


@dataclass(frozen=True)
class Written:
    """What was written: the file, the name in it (empty: its only one), and the text of the options."""

    file: str
    name: str
    options: str

    @property
    def whole(self) -> str:
        """The file and the name, without the options."""
        return f"{self.file}:{self.name}" if self.name else self.file


def split(text: str) -> Written | None:
    """The parts of ``FILE.py``, ``FILE.py:NAME``, ``FILE.py:NAME:key=value`` or ``FILE.py:key=value``; None: no file.

    The file ends where ``.py`` is followed by a colon or nothing, so its path may have colons: ``C:\\rules\\mine.py``.
    """
    match = re.fullmatch(r"(.+?\.py)(?::(.*))?", text.strip(), re.DOTALL)
    if match is None:
        return None
    rest = (match[2] or "").strip()
    name, _, options = rest.partition(":")
    if "=" in name:  # options of the only optimizer in the file
        name, options = "", rest
    return Written(match[1], name.strip(), options)


def load(file: str, name: str = "", version: str | None = None) -> type[torch.optim.Optimizer]:
    """The optimizer of that name in the file, or the only one; pieces become a class with their hyperparameters.

    Without a name a class is sought first, then a list of pieces, then a piece that changes ``param``: the
    pieces of a class may stand beside it.

    Args:
        file: the path.
        name: in the file.
        version: the content that the file must have, as ``ravine._files.code.version`` says it; if it has been run
            with that, it is not looked at again.

    Raises:
        DataError: there is no such file, it raises, or has another content.
        OptionError: it has no such name, what has it is no optimizer, or there are several and none is named.
        FormulaError: the piece or list is no formula.
    """
    return load_with_version(file, name, version)[0]


def load_with_version(file: str, name: str = "", version: str | None = None) -> tuple[type[torch.optim.Optimizer], str]:
    """What :func:`load` gives, and the version of the content that it is from."""
    path = Path(file).absolute()
    module, version = _module(path, file, version)
    key = (path, version, name)
    if key not in _classes:
        _classes[key] = _class(module, name or _only(module, file), file)
    return _classes[key], version


def version_of(file: str) -> str:
    """The version of a file's content.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    return code.version(_read(Path(file).absolute(), file))


def _module(path: Path, file: str, version: str | None) -> tuple[ModuleType, str]:
    if version is not None and (path, version) in _modules:
        return _modules[path, version], version
    content = _read(path, file)
    now = code.version(content)
    if version not in (None, now):
        raise DataError(f"{file} has another content than the one that was asked for: {now}, not {version}.")
    if (path, now) not in _modules:
        with code.beside(path):
            _modules[path, now] = code.run(path, "optimizer", content)
    return _modules[path, now], now


def _read(path: Path, file: str) -> bytes:
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else f"does not exist (looked in {path.parent})"
        raise DataError(f"The file {file} {reason}; name a Python file with an optimizer: my_rule.py:MyRule")
    with code.explained(path):
        return path.read_bytes()


# --- what is in a file ------------------------------------------------------------------------------------------------


def _contents(module: ModuleType) -> tuple[list[str], list[str], list[str]]:
    """The classes, lists and pieces of the file's own that are optimizers, by name."""
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    classes = [name for name, value in public.items() if _is_class(value) and value.__module__ == module.__name__]
    lists = [name for name, value in public.items() if isinstance(value, list | tuple) and _steps(value)]
    pieces = [
        name
        for name, value in public.items()
        if (isinstance(value, Piece) or (inspect.isfunction(value) and value.__module__ == module.__name__))
        and _steps([value])
    ]
    return classes, lists, pieces


def _is_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, torch.optim.Optimizer)


def _steps(pieces: Sequence[Any]) -> bool:
    """Whether these are pieces, and one of them changes the parameter."""
    if not all(isinstance(one, Piece) or inspect.isfunction(one) for one in pieces):
        return False
    try:
        return any(n.name == "param" for one in pieces for n in as_piece(one).signature()[0])
    except FormulaError:  # a function of another kind
        return False


def _only(module: ModuleType, file: str) -> str:
    kinds = _contents(module)
    for names in kinds:
        if len(names) == 1:
            return names[0]
        if names:
            raise OptionError(f"{file} has several optimizers: {', '.join(names)}. Name one: {file}:{names[0]}")
    raise OptionError(f"{file} has no optimizer. Write one: {_FORMS}.")


def _class(module: ModuleType, name: str, file: str) -> type[torch.optim.Optimizer]:
    if name not in vars(module):
        names = [one for kind in _contents(module) for one in kind]
        raise OptionError(f"{file} has no optimizer {name!r}. {nearest(name, names)}")
    value = vars(module)[name]
    if _is_class(value):
        cls: type[torch.optim.Optimizer] = value
        return cls
    if isinstance(value, type):
        raise OptionError(f"{name} in {file} is a class that is not derived from an optimizer; it must be {_FORMS}.")
    pieces = [value] if isinstance(value, Piece) or inspect.isfunction(value) else value
    if not isinstance(pieces, list | tuple) or not pieces:
        empty = "empty " if isinstance(pieces, list | tuple) else ""
        raise OptionError(f"{name} in {file} is {_article(empty + type(value).__name__)}; it must be {_FORMS}.")
    for one in pieces:
        if not (isinstance(one, Piece) or inspect.isfunction(one)):
            raise OptionError(
                f"{name} in {file} has {_article(type(one).__name__)} in it; a formula is a list of pieces."
            )
    if not any(n.name == "param" for one in pieces for n in as_piece(one).signature()[0]):
        raise OptionError(
            f"{name} in {file} changes no `param`, so it does nothing by itself. Put it in a list with a piece that does: "
            f"rule = [{name if pieces[0] is value else '...'}, descend]"
        )
    return _of_pieces(name, pieces, module)


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


# --- pieces as a class ------------------------------------------------------------------------------------------------


def _of_pieces(name: str, pieces: Sequence[Any], module: ModuleType) -> type[Optimizer]:
    """A class whose constructor has the hyperparameters that the pieces read."""
    signatures = [as_piece(piece).signature() for piece in pieces]
    given = {n.name for changes, _ in signatures for n in changes} | {*RESERVED}
    defaults = hyper_defaults(pieces)
    hypers = dict.fromkeys(n.name for _, reads in signatures for n in reads if n.name not in given)
    kind, none = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    _, first, *usual = inspect.signature(Optimizer.__init__).parameters.values()
    parameters = [
        first,
        *(inspect.Parameter(hyper, kind, default=defaults.get(hyper, none)) for hyper in hypers),
        *(p for p in usual if p.kind is kind and p.name not in hypers),
    ]

    def start(self: Optimizer, params: Any, **options: Any) -> None:
        Optimizer.__init__(self, params, pieces, **options)

    members: dict[str, Any] = {
        "__init__": start,
        "__signature__": inspect.Signature(parameters),
        "__module__": module.__name__,
        "__doc__": inspect.getdoc(as_piece(pieces[0]).function) if len(pieces) == 1 else None,
    }
    declared = getattr(as_piece(pieces[0]).function, "hypers", None) if len(pieces) == 1 else None
    if declared is not None:
        members["hypers"] = declared
    made: type[Optimizer] = type(name, (Optimizer,), members)
    return made
