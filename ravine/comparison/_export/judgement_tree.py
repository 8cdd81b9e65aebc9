"""The judgement as JSON has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ravine.comparison._judge import Compared, Judgement, StepsToTarget, rank_tests


def judgement_tree(judgement: Judgement) -> dict[str, Any]:
    """What the study shows: the sentence, every optimizer against the best, all pairs, the target and the steps to it."""
    target = judgement.target
    return {
        "sentence": judgement.sentence,
        "ranked": list(judgement.ranked),
        "compared": [compared_tree(one) for one in judgement.compared.values()],
        "target": None if target is None else target.loss,
        "steps_to_target": steps_tree(judgement.steps, judgement.ranked[0]),
        "budget": [
            {
                "optimizer": label,
                "points": list(curve.points),
                "loss": curve.expected.tolist(),
                "low": curve.low.tolist(),
                "high": curve.high.tolist(),
            }
            for label, curve in judgement.budget.items()
        ],
    }


def steps_tree(steps: Mapping[str, StepsToTarget], first: str = "") -> list[dict[str, Any]]:
    """The steps to the target of each optimizer, with rank tests against the first; empty without a target."""
    p = rank_tests(steps, first) if first in steps else {}
    return [
        {
            "optimizer": label,
            "reached": len(taken.reached),
            "share_low": taken.share_interval[0],
            "share_high": taken.share_interval[1],
            "restricted_mean": taken.restricted_mean,
            "median": taken.median,
            "rank_p": p.get(label),
            "seeds": list(taken.steps),
            "steps": list(taken.steps.values()),
            "diverged_seeds": sorted(taken.diverged),
        }
        for label, taken in steps.items()
    ]


def compared_tree(one: Compared) -> dict[str, Any]:
    """One metric: every optimizer against the best, and all pairs; where more is better, of the negative values."""
    judgement = one.with_best
    return {
        "metric": one.metric.name,
        "higher_is_better": one.metric.higher_is_better,
        "logarithm": one.metric.ratio,
        "margin": judgement.margin,
        "alpha": judgement.alpha,
        "looks": list(judgement.looks),
        "settled": judgement.settled,
        "more_seeds": judgement.more,
        "standings": [asdict(standing) for standing in judgement.standings],
        "pairs": [
            {"first": first, "second": second, "difference": middle, "low": low, "high": high}
            for (first, second), (middle, low, high) in judgement.pairs.items()
        ],
    }
