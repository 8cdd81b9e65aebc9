"""A task from the user's Python file: runs the file and calls its function that makes the Task.

``ravine._files.code`` runs it: name only files that you trust.
"""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ravine._files import code
from ravine.errors import DataError, OptionError, an
from ravine.tasks._task import DEFAULT_NAME, Task

_DATA = "data"


def load(path: Path, data: Path | None = None) -> Task:
    """The Task that the file's function returns.

    The function is the one named ``task``, else the only one defined in the file whose name does not begin with ``_``
    and which needs no arguments. If it takes ``data``, it gets ``data``: a Path, or None. The file can import modules
    next to it; they are imported once, while the file is run each time. A Task without a name gets that of the file,
    without ``.py``.

    Raises:
        DataError: there is no such file, or it raises.
        OptionError: it has no such function or several, the function returns no Task, or ``data`` was given and it
            takes none.
    """
    path = path.absolute()
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"The task file {path} {reason}; name a Python file with a function that returns a Task.")
    with code.beside(path):
        module = code.run(path, "task")
        function = _function(module, path)
        takes_data = any(_is_data(parameter) for parameter in inspect.signature(function).parameters.values())
        if data is not None and not takes_data:
            raise OptionError(
                f"{function.__name__}() in {path} takes no data, so leave the data folder out, "
                f"or let the function take it: def {function.__name__}(data)."
            )
        with code.explained(path):
            made = function(**{_DATA: data}) if takes_data else function()
        if not isinstance(made, Task):
            what = "nothing: is `return` missing?" if made is None else f"{an(type(made).__name__)}."
            raise OptionError(f"{function.__name__}() in {path} must return a ravine.tasks.Task; it returned {what}")
    if made.name != DEFAULT_NAME:
        return made
    try:
        return dataclasses.replace(made, name=path.stem)
    except OptionError as error:
        raise OptionError(f"{path} gives its Task no name, and the file's name cannot be used. {error}") from error


def _function(module: ModuleType, path: Path) -> Callable[..., Any]:
    members = vars(module)
    if "task" in members:
        task = members["task"]
        if not callable(task):
            raise OptionError(
                f"`task` in {path} is {an(type(task).__name__)}; it must be a function that returns a Task: def task()."
            )
        if not _needs_nothing(task):
            raise OptionError(f"task{inspect.signature(task)} in {path} needs arguments; it may take only `data`.")
        return task
    own = {
        name: value
        for name, value in members.items()
        if getattr(value, "__module__", None) == module.__name__ and inspect.isfunction(inspect.unwrap(value))
    }
    candidates = [name for name, value in own.items() if not name.startswith("_") and _needs_nothing(value)]
    if len(candidates) == 1:
        return own[candidates[0]]
    if candidates:
        raise OptionError(
            f"{path} has several functions that might make a Task: {', '.join(candidates)}. Name one of them `task`."
        )
    others = f" (it has {', '.join(own)})" if own else ""
    raise OptionError(f"{path} has no function that could make a Task{others}. Write one: def task() -> Task.")


def _needs_nothing(function: Callable[..., Any]) -> bool:
    """Whether it can be called with no argument but, perhaps, ``data=``."""
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(
        parameter.default is not parameter.empty or parameter.kind in optional or _is_data(parameter)
        for parameter in inspect.signature(function).parameters.values()
    )


def _is_data(parameter: inspect.Parameter) -> bool:
    return parameter.name == _DATA and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
