"""Successive halving: the points of a tuning that are trained in full, by their losses after a quarter of the steps.

Of the first k points the better half goes on (Karnin et al., 2013, https://proceedings.mlr.press/v28/karnin13.html; Jamieson
and Talwalkar, 2016, https://arxiv.org/abs/1502.07943), and the best of those is the best of the k. The fresh runs at the best
of the first 1, 2, 4, ... points say what fewer points would have brought, so for each of these numbers the half is taken among
these points alone: a few points are trained in full for that, which the half of all points would have stopped.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean

#: A point is stopped after one part of so many of the steps.
PARTS = 4
_DRAWS = 1000  # of the order of points, to say about how many go on


def better_half(losses: Sequence[float]) -> list[int]:
    """The places of the lower half of some losses, rounded up, in rising order; of equal losses the first ones.

    What has no finite loss is not among them, so there may be fewer, or none.
    """
    finite = [place for place, loss in enumerate(losses) if math.isfinite(loss)]
    return sorted(sorted(finite, key=lambda place: losses[place])[: -(-len(losses) // 2)])


def going_on(losses: Sequence[float], budgets: Sequence[int]) -> list[int]:
    """The places of the points that are trained in full, in rising order.

    Args:
        losses: of all points of a tuning, after a quarter of the steps.
        budgets: for which numbers of first points the best is needed, beside all.
    """
    places = {*better_half(losses)}
    for among in budgets:
        half = better_half(losses[:among])
        if len(half) > 1:  # a single one is the best without more steps
            places |= {*half}
    return sorted(places)


@lru_cache
def expected_going_on(points: int, budgets: tuple[int, ...]) -> float:
    """About how many points of a tuning are trained in full, if every order of their losses is as likely."""
    draw, order = random.Random(0), list(map(float, range(points)))
    return fmean(len(going_on(draw.sample(order, points), budgets)) for _ in range(_DRAWS))


def most_going_on(points: int, budgets: Sequence[int]) -> int:
    """How many of so many points are trained in full at most: the half of all and of each number of first points are
    others."""
    halves = [-(-among // 2) for among in {*budgets, points}]
    return min(points, sum(half for half in halves if half > 1) or 1)
