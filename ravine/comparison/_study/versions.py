"""What decides a study's numbers beside its spec, and that it is the same wherever trials run: versions and files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

import ravine
from ravine._files import code
from ravine.comparison._study.spec import Spec
from ravine.errors import DataError
from ravine.optim import _own as own
from ravine.optim import _spec as specs


def installed() -> dict[str, str]:
    """The versions of the packages that decide numbers."""
    return {"ravine": ravine.__version__, "torch": torch.__version__}


def versions_of(named: str, labels: Iterable[str]) -> dict[str, str]:
    """The version of the content of each file, by how it was named: on another machine it may lie elsewhere.

    Args:
        named: the task, which may be a file.
        labels: the optimizers, of which some may be in files.
    """
    files = [named] if named.endswith(".py") and Path(named).is_file() else []
    files += [file for file in map(specs.file_of, labels) if file is not None]
    return {file: own.version_of(file) for file in files}


def check(spec: Spec) -> None:
    """Refuse to run trials of a study with packages or files that are not those it was declared with.

    The optimizers' files are run, so that a file that changes later does not change the trials of this process.

    Raises:
        DataError: a package has another version, or a file is missing or has another content.
    """
    for package, here in installed().items():
        wanted = spec.versions.get(package, here)
        if wanted != here:
            raise DataError(
                f"The study was made with {package} {wanted}, and here is {here}, which may give other numbers: "
                f"pip install {package}=={wanted}, or make another study."
            )
    for file, version in spec.versions.items():
        if not file.endswith(".py"):
            continue
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
    specs.parse_all([arm.label for arm in spec.arms], None, versions=spec.versions)
