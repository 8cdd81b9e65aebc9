"""The files of the user's own that a study reads, and that they are the same wherever its trials run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ravine.comparison import contenders
from ravine.comparison.study.spec import Spec
from ravine.errors import DataError
from ravine.files import code
from ravine.optim import own


def versions_of(named: str, labels: Iterable[str]) -> dict[str, str]:
    """The version of the content of each file, by how it was named: on another machine it may lie elsewhere.

    Args:
        named: the task, which may be a file.
        labels: the optimizers, of which some may be in files.
    """
    files = [named] if named.endswith(".py") and Path(named).is_file() else []
    files += [file for file in map(contenders.file_of, labels) if file is not None]
    return {file: own.version_of(file) for file in files}


def check(spec: Spec) -> None:
    """Refuse to run trials of a study with files that are not those it was declared with.

    The optimizers' files are run, so that a file that changes later does not change the trials of this process.

    Raises:
        DataError: a file is missing or has another content.
    """
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
    contenders.parse_all([arm.label for arm in spec.arms], None, versions=spec.versions)
