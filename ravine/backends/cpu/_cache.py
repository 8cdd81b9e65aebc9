"""Where compiled kernels are kept between runs: files in a folder that is the user's alone.

The folder is ``$RAVINE_CACHE_DIR`` or the user's cache folder. A file holds machine code and a checksum of it.
Whoever can write there could have code run here, so a folder that others can write to is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path

from ravine._files.private_folder import check_private
from ravine._line_of_user import level_of_user

_CHECKSUM = 32  # bytes of SHA-256 before the code


def load(key: str) -> bytes | None:
    """The code that was kept under a key; None if there is none that can be used."""
    folder = _folder(os.environ.get("RAVINE_CACHE_DIR"))
    if folder is None:
        return None
    path = folder / f"{key}.kernel"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _warn(f"the kernel in {path} could not be read ({error}): compiling it again")
        return None
    checksum, code = content[:_CHECKSUM], content[_CHECKSUM:]
    if _checksum(key, code) != checksum:
        _warn(f"the kernel in {path} is damaged: compiling it again")
        return None
    return code


def save(key: str, code: bytes) -> None:
    """Keep code under a key; a failure is a warning, since the run goes on without."""
    folder = _folder(os.environ.get("RAVINE_CACHE_DIR"))
    if folder is None:
        return
    # Renamed into place whole: a process that looks at the same moment sees all of it or nothing.
    temporary = folder / f"{key}.{os.getpid()}.{threading.get_ident()}.tmp"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_checksum(key, code) + code)
        os.replace(temporary, folder / f"{key}.kernel")
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        _warn(f"the kernel could not be kept in {folder}: {error}")


def _checksum(key: str, code: bytes) -> bytes:
    """Of the code and of what it is the code of, so that a file under another's name is not run."""
    return hashlib.sha256(key.encode() + code).digest()


_FILES = (
    "_llvm_text.py",
    "_llvm_functions.py",
    "_llvm_rounding.py",
    "_compiler.py",
    "_cache.py",
    "../../formula/_rounding.py",
    "../../formula/_operations.py",
)


def key(source: str, processor: str) -> str:
    """A hash of all that compiled code depends on: the kernel, what it calls, the compilers, the processor."""
    here = Path(__file__).parent
    parts = [
        source,
        processor,
        # What a kernel calls, how it is compiled, and how it is kept.
        *((here / name).read_text(encoding="utf-8") for name in _FILES),
        version("llvmlite"),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@cache
def _folder(chosen: str | None) -> Path | None:
    """The folder, made if it is not there; None, with one warning, if it cannot be used."""
    base = Path(chosen) if chosen else _user_cache()
    path = base / "kernels"
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        check_private(path)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        _warn(
            f"kernels are not kept between runs, so each run compiles them again: {error}. "
            "Set RAVINE_CACHE_DIR to a folder that is yours alone."
        )
        return None
    return path


def _user_cache() -> Path:
    import platformdirs  # here: a machine that steps on its GPU alone may not have it

    return platformdirs.user_cache_path("ravine", appauthor=False)


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=level_of_user())
