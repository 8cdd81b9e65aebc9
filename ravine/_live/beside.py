"""The live page beside what a command runs: a process of its own, so that what runs is not slowed, which ends with it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from ravine._live.serving import LOCAL, address_of, check_packages, listening

BESIDE = "RAVINE_LIVE_BESIDE"
"""The environment variable that tells a process of ``ravine live`` its socket, the process that it stands beside, and the token:
arguments can be read by all who use the machine."""

_started: list[subprocess.Popen[bytes]] = []  # kept: Python warns of one that is forgotten while it runs
_LAST = 1.5  # seconds that the page has to show the end


def start_beside(words: Sequence[str]) -> str:
    """Serve a page until this process ends.

    Args:
        words: the arguments of ``ravine live`` that say what is shown.

    Returns:
        The address. The page can be opened at once: the connection waits for the server.

    Raises:
        PackageError: starlette or uvicorn is not installed.
    """
    check_packages()
    place, token = listening(LOCAL, 0), secrets.token_urlsafe(24)
    with place:
        process = subprocess.Popen(
            [sys.executable, "-m", "ravine", "live", *words],
            env=os.environ | {BESIDE: f"{place.fileno()},{os.getpid()},{token}"},
            pass_fds=[place.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for what runs; the page shows what comes of it
        )
        _started.append(process)
        return address_of(place, LOCAL, token)


def end_after(parent: int, end: Callable[[], None]) -> None:
    """Call ``end``, from a thread, soon after the process that this one stands beside has ended."""

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        time.sleep(_LAST)
        end()

    threading.Thread(target=wait, daemon=True).start()
