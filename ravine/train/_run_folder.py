"""Folders of runs: what a command was told is kept in ``config.json``, so that a run can be shown or gone on with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ravine import _files as files
from ravine.errors import DataError, OptionError

CONFIG = "config.json"


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Keep what a run was told."""
    files.write(folder / CONFIG, json.dumps(config, indent=1).encode() + b"\n")


def read_config(folder: Path) -> dict[str, Any]:
    """What the run in that folder was told.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_bytes())
        if not isinstance(config, dict):
            raise ValueError("it is no object")
    except OSError as error:
        raise DataError(f"{folder} holds no run: {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    return config


def newest(wanted: Path) -> Path:
    """The last of the folders ``wanted``, ``wanted-2``, ``wanted-3``, ... that holds a run.

    Raises:
        OptionError: none does.
    """
    found = [folder for folder in wanted.parent.glob(f"{wanted.name}*") if (folder / CONFIG).is_file()]
    numbered = {_number(folder.name, wanted.name): folder for folder in found}
    numbered.pop(None, None)
    if not numbered:
        raise OptionError(f"There is no run to go on with: no {wanted}. Name its folder with --out.")
    return numbered[max(n for n in numbered if n is not None)]


def _number(name: str, base: str) -> int | None:
    rest = name.removeprefix(base)
    if not rest:
        return 1
    return int(rest[1:]) if rest[0] == "-" and rest[1:].isdigit() else None
