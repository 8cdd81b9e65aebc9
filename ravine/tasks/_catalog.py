"""The tasks by name, and how each is made."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ravine.errors import OptionError, for_both, nearest

if TYPE_CHECKING:
    from ravine.tasks._task import Task


@dataclass(frozen=True)
class _CatalogEntry:
    """A task in one line, and what makes it. Its module is imported only then: the lines are known without torch.

    Attributes:
        line: the model, the data and their sizes.
        module: the module of this package whose function ``task`` makes it from its name.
        options: from the module to the other arguments of ``task``.
        reads: whether ``task`` has ``data=``, files that it reads.
    """

    line: str
    module: str
    options: Callable[[Any], dict[str, Any]] = lambda module: {}
    reads: bool = True

    def maker(self) -> Callable[..., "Task"]:
        """From the name, and perhaps ``data=``, to the task."""
        module = import_module(f"ravine.tasks.{self.module}")
        return partial(module.task, **self.options(module))


_ENTRIES: dict[str, _CatalogEntry] = {
    "digits": _CatalogEntry("64-100-10 MLP on scikit-learn's 1,797 digits of 8 x 8 pixels", "_digits", reads=False),
    "breast-cancer": _CatalogEntry("logistic regression on 30 measurements of 569 tumours", "_cancer", reads=False),
    "fashion-mnist": _CatalogEntry(
        "784-200-10 MLP on Fashion-MNIST, 70,000 clothes of 28 x 28 pixels",
        "_mnist",
        lambda mnist: {"source": "fashion-mnist"},
    ),
    "fashion-mnist-cnn": _CatalogEntry(
        "CNN of 8,778 parameters on Fashion-MNIST",
        "_mnist",
        lambda mnist: {"source": "fashion-mnist", "model": mnist.cnn},
    ),
    "fashion-mnist-resnet-small": _CatalogEntry(
        "ResNet-18 with an eighth of the channels, 176,258 parameters, on Fashion-MNIST",
        "_mnist",
        lambda mnist: {"source": "fashion-mnist", "model": partial(mnist.grey_resnet, width=8)},
    ),
    "fashion-mnist-resnet18": _CatalogEntry(
        "ResNet-18, 11.2 million parameters, on Fashion-MNIST",
        "_mnist",
        lambda mnist: {"source": "fashion-mnist", "model": mnist.grey_resnet},
    ),
    "mnist": _CatalogEntry(
        "784-200-10 MLP on MNIST, 70,000 digits of 28 x 28 pixels", "_mnist", lambda mnist: {"source": "mnist"}
    ),
    "imagenette-resnet18": _CatalogEntry(
        "ResNet-18, 11.2 million parameters, on Imagenette, 13,394 pictures of 160 x 160 pixels, 1 GB",
        "_imagenette",
        lambda imagenette: {"layers": (2, 2, 2, 2)},
    ),
    "imagenette-resnet34": _CatalogEntry(
        "ResNet-34, 21.3 million parameters, on Imagenette", "_imagenette", lambda imagenette: {"layers": (3, 4, 6, 3)}
    ),
    "text-gpt": _CatalogEntry(
        "GPT of 170,560 parameters on a text, byte by byte: a file, the King James Bible or Python's documentation",
        "_text_task",
    ),
    **{
        name: _CatalogEntry(f"{line}, a function of two variables", "_test_functions", reads=False)
        for name, line in {
            "rosenbrock": "a curved valley with a flat floor",
            "beale": "plateaus and steep corners",
            "ravine": "a valley a hundred times steeper across than along",
        }.items()
    },
}


def names() -> list[str]:
    """The names of all tasks, the quick ones first."""
    return list(_ENTRIES)


def describe() -> dict[str, str]:
    """A line for each task, by its name: the model, the data and their sizes."""
    return {name: entry.line for name, entry in _ENTRIES.items()}


def _is_optimizer(name: str) -> bool:
    from ravine.optim import _spec as specs  # which needs torch

    return name.partition(":")[0].lower() in specs.names()


def find(name: str, data: Path | None = None) -> "Task":
    """The task of that name, or the user's own from a Python file; only its data is read.

    Args:
        name: one of :func:`names`, or the path of a file that ends in ``.py`` with a function ``task()`` that
            returns a :class:`Task`. The file is run: name only files that you trust.
        data: the folder or file that the task reads; without it, a task that reads files looks for them in
            the usual places and then downloads them. A function in the user's file gets it as ``data``.

    Raises:
        OptionError: there is no such task, ``data`` was given to one that reads no files, or the user's file
            returns no Task.
        DataError: the files are missing or damaged, or the user's file raises.
    """
    if not isinstance(name, str):
        raise OptionError(
            f"A task is named by a text: one of {', '.join(names())}, or the path of a .py file; got {name!r} "
            f"({type(name).__name__})."
        )
    if name.endswith(".py"):
        from ravine.tasks import _user_task as user_task

        return user_task.load(Path(name), data)
    entry = _ENTRIES.get(name)
    if entry is None:
        if Path(f"{name}.py").is_file():
            raise OptionError(
                f"There is no task {name!r}, but a file {name}.py: a task of your own is named with its .py."
            )
        file, colon, _ = name.rpartition(":")
        if colon and file.endswith(".py"):
            raise OptionError(f"There is no task {name!r}: a task is named by its file alone, {file}.")
        if Path(name).is_file():
            raise OptionError(
                f"There is no task {name!r}. It is a file, but no Python: a task of your own is a file such as my_task.py, with a function "
                "that reads the data and returns a ravine.tasks.Task."
            )
        if _is_optimizer(name):
            wrong = f"There is no task {name!r}; it is an optimizer,"
            raise for_both(
                OptionError(f"{wrong} and these come after the task: compare('digits', [{name!r}])."),
                f"{wrong} and each has an -o of its own: -o {name}.",
            )
        raise OptionError(
            f"There is no task {name!r}. {nearest(name, names())} A task of your own is a file that ends in .py."
        )
    if entry.reads:
        return entry.maker()(name, data=data)
    if data is not None:
        reading = ", ".join(other for other, one in _ENTRIES.items() if one.reads)
        raise OptionError(f"The task {name!r} reads no files, so leave out its data; these tasks read some: {reading}.")
    return entry.maker()(name)
