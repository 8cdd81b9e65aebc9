"""Numbers and lists as text, rounded to what they are known to."""

from collections.abc import Sequence

import numpy as np

from ravine._whole_numbers import count as count


def number(value: float, digits: int = 2) -> str:
    """A number with so many significant digits: 0.031, 4.5, 12,000; in powers of ten only where it would be very long."""
    if not np.isfinite(value):
        return "infinite" if value > 0 else "minus infinite" if value < 0 else "unknown"
    if value and not 1e-6 <= abs(value) < 1e9:
        return f"{value:.{digits - 1}e}"
    text = np.format_float_positional(value, precision=digits, unique=False, fractional=False, trim="-")
    return f"{int(text):,}" if "." not in text else text


def ratio_text(ratio: float) -> str:
    """How many times: with two digits, or as many as it takes to tell it from once."""
    return next((text for digits in (2, 3) if (text := number(ratio, digits)) != "1"), number(ratio, 4))


_MANY = 10  # names, of which a sentence has only the first


def listed(names: Sequence[str]) -> str:
    """``A``, ``A and B``, ``A, B and C``; of very many the first, and how many more there are."""
    if len(names) > _MANY:
        return f"{', '.join(names[: _MANY // 2])} and {len(names) - _MANY // 2} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def diverged_text(diverged: int, runs: int) -> str:
    """``diverged in 4 of 5 runs``."""
    return f"diverged in {diverged} of {count(runs, 'run')}"
