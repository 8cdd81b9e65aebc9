"""The judgement as JSON has it."""

from __future__ import annotations

from typing import Any

from ravine.comparison._judge import Judgement, Pair


def judgement_tree(judgement: Judgement) -> dict[str, Any]:
    """What the study shows: the sentence, the target, the steps to it, and every pair with its interval."""
    target = judgement.target
    return {
        "sentence": judgement.sentence,
        "headline": judgement.headline.name,
        "target": None
        if target is None
        else {"loss": target.loss, "reference": target.reference, "seeds": target.seeds},
        "steps_to_target": [
            {
                "optimizer": label,
                "median": taken.median,
                "seeds": list(taken.steps),
                "steps": list(taken.steps.values()),
                "diverged_seeds": sorted(taken.diverged),
            }
            for label, taken in judgement.steps.items()
        ],
        "pairs": [_pair(pair) for pairs in judgement.pairs.values() for pair in pairs],
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "metric": pair.metric.name,
        "higher_is_better": pair.metric.higher_is_better,
        "logarithm": pair.metric.ratio,
        "first": pair.first,
        "second": pair.second,
        "verdict": pair.kind,
        "difference": pair.difference,
        "low": pair.low,
        "high": pair.high,
        "spread": pair.spread,
        "p": pair.p,
        "adjusted_p": pair.adjusted,
        "seeds": list(pair.seeds),
        "more_seeds": pair.more_seeds,
        "sentence": pair.sentence,
    }
