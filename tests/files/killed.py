"""A process that is killed at a chosen moment of a call, for the tests of files; holds no tests."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def moments(call: Callable[[], object]) -> int:
    """How many moments a call has: each beginning and end of a function, of Python's or of C's."""
    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += 1

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


def killed_at(moment: int, call: Callable[[], object]) -> bool:
    """Make the call in a child process that the system kills at that moment; whether it was killed before the end."""
    child = os.fork()
    if child == 0:
        left = moment

        def profile(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.setprofile(profile)
            call()
            sys.setprofile(None)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)
