"""Whether a folder whose files are run as code is one that nobody else can write to."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def check_private(folder: Path) -> None:
    """Check a folder, and the one it is in: who can rename the folder can put another one in its place.

    Raises:
        PermissionError: it belongs to another user, or others can write to it. For the folder that it is in, root's is
            as good, and so is a sticky bit, as of /tmp, which forbids renaming.
    """
    if os.name != "posix":
        return
    _check(folder, sticky=False)
    _check(folder.parent, sticky=True)


def _check(path: Path, sticky: bool) -> None:
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in ((os.geteuid(), 0) if sticky else (os.geteuid(),)):
        raise PermissionError(f"the folder {path} belongs to another user")
    if mode & 0o022 and not (sticky and mode & stat.S_ISVTX):
        raise PermissionError(f"others can write to the folder {path} (mode {mode:o})")
