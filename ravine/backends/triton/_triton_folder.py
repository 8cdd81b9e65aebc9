"""The folder in which Triton keeps what it compiles, and whether others can write to it."""

from __future__ import annotations

import os
from pathlib import Path

from ravine._files.private_folder import check_private


def kept_privately() -> bool:
    """Whether nobody else can write to Triton's folder: what lies there is run."""
    if "TRITON_CACHE_MANAGER" in os.environ:  # it is kept elsewhere
        return False
    try:
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(folder)
    except (OSError, TypeError):  # Triton was told to keep nothing
        return False
    return True


def _folder() -> Path:
    """Where Triton keeps what it compiles."""
    try:
        from triton import knobs
    except ImportError:  # 3.3
        home = os.environ.get("TRITON_HOME") or Path.home()
        return Path(os.environ.get("TRITON_CACHE_DIR") or Path(home) / ".triton" / "cache")
    return Path(knobs.cache.dir)
