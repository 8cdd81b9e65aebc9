"""The code that decides a study's numbers: which version it had, and that it is the same wherever trials run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

import ravine
from ravine._files import code
from ravine.comparison._study.study_spec import StudySpec
from ravine.errors import DataError
from ravine.optim import _optimizer_file as optimizer_file
from ravine.optim import _optimizer_module as optimizer_module
from ravine.optim._spec import OptimizerSpec, parse
from ravine.tasks import Task
from ravine.tasks._data_check import content
from ravine.train._data_content import NOT_THE_SAME


def installed() -> dict[str, str]:
    """The versions of the packages that decide numbers."""
    return {"ravine": ravine.__version__, "torch": torch.__version__}


def versions_of(task: str, optimizers: Iterable[OptimizerSpec]) -> dict[str, str]:
    """The versions of the packages, and of the content of each file by how it was named: elsewhere it may lie elsewhere.

    Args:
        task: the task as it was named, which may be a file.
        optimizers: those that take part, of which some may be from files.
    """
    versions = installed()
    if task.endswith(".py") and Path(task).is_file():
        versions[task] = optimizer_file.version_of(task)
    return versions | {one.code: one.version for one in optimizers if one.version}


def load_optimizers(spec: StudySpec) -> dict[str, OptimizerSpec]:
    """The optimizers of a study, by label, if packages, files and modules are those that it was declared with.

    Files are run once, here: one that changes later changes no trial of this process.

    Raises:
        DataError: a package has another version; a file or module is missing or has another content; or an optimizer
            was made in a program, and only that had it.
    """
    for config in spec.optimizers:
        if not config.source:
            raise DataError(
                f"The optimizer {config.label!r} was made in the program that began the study, so no other can run it. "
                "Put it in a file, and name it 'my_rule.py:MyRule', in a new study."
            )
    for package, here in installed().items():
        wanted = spec.versions.get(package, here)
        if wanted != here:
            raise DataError(
                f"The study was made with {package} {wanted}, and here is {here}, which may give other numbers: "
                f"pip install {package}=={wanted}, or make another study."
            )
    for name, version in spec.versions.items():
        if name.endswith(".py"):
            _check_file(name, version)
        elif name not in installed():
            _check_module(name, version)
    return {c.label: parse(c.source, versions=spec.versions, label=c.label) for c in spec.optimizers}


def check_content(spec: StudySpec, task: Task) -> None:
    """Refuse a task whose data are not those that the study was made with.

    Raises:
        DataError: they are others.
    """
    here = content(task) if spec.content else ""
    if here != spec.content:
        raise DataError(
            f"The data of {spec.task} are not those that the study was made with: their content is {here or 'not known'} here, "
            f"{spec.content} in the study. {NOT_THE_SAME}"
        )


def _check_file(file: str, version: str) -> None:
    path = Path(file).absolute()
    if not path.is_file():
        raise DataError(
            f"The study needs {file}, which is not in {Path.cwd()}. Start the worker in the folder that has it."
        )
    with code.explained(path):
        here = code.version(path.read_bytes())
    if here != version:
        raise DataError(
            f"{file} is not the file that the study was made with: its content is {here} here ({path}), "
            f"{version} in the study. Bring that file back, or make another study with this one."
        )


def _check_module(module: str, version: str) -> None:
    if not optimizer_module.is_there(module):
        raise DataError(
            f"The study needs the module {module}, which cannot be imported here. Install it, or start the worker where "
            "it can be imported."
        )
    optimizer_module.load(module)
    here, path = optimizer_module.version_and_path(module)
    if here != version:
        raise DataError(
            f"The module {module} is not the one that the study was made with: its content is {here} here ({path}), "
            f"{version} in the study. Install that version, or make another study with this one."
        )
