"""Times and numbers as the page says them."""

from __future__ import annotations

import math


def about(seconds: float) -> str:
    """A time in the words of a human: ``130 ms``, ``5 seconds``, ``2 minutes``, ``3.5 hours``."""
    if seconds < 0.95:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 1.5:
        return "1 second"
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def figure(value: float | None) -> str:
    """Four digits; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}" if value is None or math.isnan(value) else str(value)
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e7 else f"{value:.4g}"
