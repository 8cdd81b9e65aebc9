"""Folders of runs: ``config.json`` stores the options of a command, so that its run can be shown or resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ravine import _files as files
from ravine.errors import DataError, OptionError

CONFIG = "config.json"


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Store the options of a run."""
    files.write(folder / CONFIG, json.dumps(config, indent=1).encode() + b"\n")


def read_config(folder: Path) -> dict[str, Any]:
    """The options of the run in that folder.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_bytes())
        if not isinstance(config, dict):
            raise ValueError("it is not an object")
    except OSError as error:
        raise DataError(f"{folder} does not hold a run: {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    return config


def newest(wanted: Path) -> Path:
    """The last of the folders ``wanted``, ``wanted-2``, ``wanted-3``, ... that holds a run.

    Raises:
        OptionError: none does.
    """
    runs = [folder for folder in wanted.parent.glob(f"{wanted.name}*") if (folder / CONFIG).is_file()]
    numbered = {_number(folder.name, wanted.name): folder for folder in runs}
    numbered.pop(None, None)
    if not numbered:
        raise OptionError(f"There is no run to resume: {wanted} does not exist. Name its folder with --out.")
    return numbered[max(n for n in numbered if n is not None)]


def _number(name: str, base: str) -> int | None:
    rest = name.removeprefix(base)
    if not rest:
        return 1
    return int(rest[1:]) if rest[0] == "-" and rest[1:].isdigit() else None
