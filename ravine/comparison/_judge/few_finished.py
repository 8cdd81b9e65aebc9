"""What is not said of few runs, of which most diverged: the others tell too little to call anybody equivalent.

Without this rule that is wrong in up to .087 of simulated studies (``equivalent_anyway`` in docs/results/verdicts.json).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ravine.comparison._judge.number_text import diverged_text
from ravine.comparison._judge.with_best import WithBest

_FEW = 8


def most_diverged(diverged: Mapping[str, Sequence[bool]]) -> dict[str, str]:
    """``diverged in 5 of 6 runs`` of each optimizer of which more than half of the runs did; given whether each run did."""
    return {name: diverged_text(sum(lost), len(lost)) for name, lost in diverged.items() if 2 * sum(lost) > len(lost)}


def without_doubtful_margin(
    found: WithBest, diverged: Mapping[str, Sequence[bool]], without_margin: Callable[[], WithBest]
) -> WithBest:
    """``found``, or the comparison without a margin, and so without equivalence, where one would be of few runs that say too little.

    Args:
        found: the comparison.
        diverged: of each optimizer whether each of its runs diverged.
        without_margin: makes the same comparison with a margin of 0.
    """
    doubtful = most_diverged(diverged)
    equal = [s for s in found.standings if s.equivalent]  # the best is so, too, and may be the one that is doubtful
    few = [s.runs for s in equal if s.runs < _FEW and s.name in doubtful]
    if not few or all(s.verdict == "best" for s in equal):
        return found
    strict = without_margin()
    if strict.settled or found.more is None:
        return strict
    return replace(strict, more=max(found.more, _FEW - min(few)))  # with so many the margin counts again


def no_equivalence_text(runs: str) -> str:
    """That nobody is called equivalent, and why; ``runs`` is what there are few of, ``"seeds"``."""
    return f"Nobody is called equivalent: with fewer than {_FEW} {runs}, and most runs diverged, that would often be wrong."
