"""Which line a warning points at: the user's, not one of this library or of torch between them."""

from __future__ import annotations

import os
import sys
from itertools import count

import torch

import ravine

_OURS = os.path.dirname(os.path.abspath(ravine.__file__)) + os.sep
_THEIRS = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep


def level_of_user() -> int:
    """The ``stacklevel``, for ``warnings.warn`` in the function that calls this, of the first line that is not ours."""
    for level in count(1):
        try:
            file = sys._getframe(level).f_code.co_filename
        except ValueError:
            return 2
        if not file.startswith((_OURS, _THEIRS)):
            return level
    raise AssertionError
