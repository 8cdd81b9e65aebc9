"""What is not said of few runs, of which most diverged: the others tell too little to call anybody equivalent.

That was wrong in up to .087 of the studies that benchmarks/verdicts.py simulates.
"""

from collections.abc import Callable, Mapping, Sequence

from ravine.comparison._judge.number_text import count
from ravine.comparison._judge.with_best import WithBest

_FEW = 8


def most_diverged(diverged: Mapping[str, Sequence[bool]]) -> dict[str, str]:
    """``5 of 6 runs`` of each optimizer of which more than half of the runs diverged, but not all; given whether each run did."""
    return {
        name: f"{sum(lost)} of {count(len(lost), 'run')}"
        for name, lost in diverged.items()
        if len(lost) < 2 * sum(lost) < 2 * len(lost)
    }


def without_doubtful_margin(
    found: WithBest, diverged: Mapping[str, Sequence[bool]], without_margin: Callable[[], WithBest]
) -> WithBest:
    """``found``, or the comparison without a margin, and so without equivalence, where one would be of few runs that say too little.

    Args:
        found: the comparison.
        diverged: of each optimizer whether each of its runs diverged.
        without_margin: makes the same comparison with a margin of 0.
    """
    doubtful = {name for name, lost in diverged.items() if 2 * sum(lost) > len(lost)}
    if any(s.equivalent and s.verdict != "best" and s.runs < _FEW and s.name in doubtful for s in found.standings):
        return without_margin()
    return found


def no_equivalence_text(runs: str) -> str:
    """That nobody is called equivalent, and why; ``runs`` is what there are few of, ``"seeds"``."""
    return f"Nobody is called equivalent: with fewer than {_FEW} {runs}, and most runs diverged, that would often be wrong."
