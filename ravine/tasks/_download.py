"""Downloads a data set's file into the cache. A file with a wrong checksum is never used."""

import os
import textwrap
from pathlib import Path

from ravine.errors import DataError, advised


def cache(name: str) -> Path:
    """The folder for the files of the data set ``name``, in ``$RAVINE_CACHE_DIR`` or the user's cache; it need not exist."""
    import platformdirs

    return Path(os.environ.get("RAVINE_CACHE_DIR") or platformdirs.user_cache_dir("ravine")) / "datasets" / name


def fetch(url: str, md5: str, folder: Path, how_to_get: str) -> Path:
    """The file at ``url``, stored in ``folder`` under its own name and downloaded only if it is not there.

    Raises:
        DataError: it cannot be downloaded, or has a wrong checksum; ``how_to_get`` ends the text.
    """
    import pooch

    name = url.rsplit("/", 1)[-1]
    try:
        return Path(pooch.retrieve(url, f"md5:{md5}", fname=name, path=folder))
    except (OSError, ValueError) as error:  # no network or no disk; a wrong checksum
        reason = textwrap.shorten(str(error), 160)  # the network library nests its own errors
        raise advised(DataError, f"{name} could not be downloaded: {reason}.", how_to_get) from error
