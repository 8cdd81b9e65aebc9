"""The first line of everything: who may be the best, who is not, what is equivalent, and what it takes to know more."""

from collections.abc import Mapping, Sequence

import numpy as np

from ravine.comparison._judge.few_finished import most_diverged
from ravine.comparison._judge.limited_differences import MOST
from ravine.comparison._judge.measurements import Metric
from ravine.comparison._judge.number_text import count, listed, number, ratio_text
from ravine.comparison._judge.with_best import Standing, WithBest


def verdict_text(
    losses: WithBest, metric: Metric, diverged: Mapping[str, Sequence[bool]] | None = None, *, more: bool = True
) -> str:
    """The verdict in one to five sentences.

    Args:
        losses: the comparison with the best.
        metric: what was compared.
        diverged: of each optimizer whether each of its runs diverged; None: no run did.
        more: whether to say what more runs would do.
    """
    best, top, others, lost = losses.best, losses.top, losses.others, losses.diverged
    if not top:
        return f"Nobody can be called the best: {listed(lost)} diverged in every run."
    near = [name for name in others if losses.standing(name).equivalent]
    far = [name for name in others if name not in near]
    most = most_diverged(diverged or {})
    doubtful = [f"{name} {most[name]}" for name in [*top, *near] if name in most]
    doubt = [f"But {listed(doubtful)}."] if doubtful else []
    if best and not others and lost:
        return " ".join([f"{best} is the best: {listed(lost)} diverged in every run.", *doubt])
    if best and near:
        # told apart, and too near for that to matter: to call one of them the best would be the lesser half of it
        sentences = [_almost_best(losses, metric, near), *([f"{_are(far)} worse."] if far else [])]
        near = []
    elif best:
        sentences = [_best(losses, metric)]
    elif losses.settled and len(top) > 1:
        sentences = [_equivalent(losses, metric), *([f"{_are(far)} worse."] if far else [])]
    else:
        sentences = [f"{_either(top)} may be the best{f'; {_are(far)} not' if far else ''}."]
    if near:
        sentences.append(f"{_are(near)} worse, but within the margin of {_margin(losses, metric)}.")
    if lost:
        sentences.append(f"{listed(lost)} diverged in every run.")
    sentences += doubt
    if more and not losses.settled:
        sentences.append(_more(losses))
    return " ".join(sentences)


def far_out_text(losses: WithBest) -> str:
    """Which runs the verdict counts as less far out than they are, without a full stop; empty if there are none."""
    runs = far_out_runs(losses)
    return f"Far out, and counted as {MOST:g} times the usual difference: {runs}" if runs else ""


def far_out_runs(losses: WithBest) -> str:
    """``2 of 20 runs of sgd and 1 of 20 runs of adam``; empty if none are far out."""
    outside = sorted((s for s in losses.standings if s.far_out), key=lambda s: (-s.far_out, s.name))
    return listed([f"{s.far_out} of {count(s.runs, 'run')} of {s.name}" for s in outside]) if outside else ""


def margin_text(losses: WithBest, metric: Metric, why: str) -> str:
    """How large the margin is, and where it comes from."""
    return f"Differences in {metric.name} up to the margin, {_margin(losses, metric)} ({why}), are too small to matter."


def _best(losses: WithBest, metric: Metric) -> str:
    best = losses.standing(losses.top[0])
    return f"{best.name} is the best: its {metric.name} is {_typically(losses.standings)}{_ahead(best, metric)}."


def _almost_best(losses: WithBest, metric: Metric, near: Sequence[str]) -> str:
    best = losses.standing(losses.top[0])
    same = _within(losses, metric, [best.name, *near])
    return f"{same}; that of {best.name} is {_typically(losses.standings)}{_ahead(best, metric)}."


def _ahead(best: Standing, metric: Metric) -> str:
    return f"{_gap(-best.high, -best.low, metric)} the next best"


def _equivalent(losses: WithBest, metric: Metric) -> str:
    if not losses.margin:
        return f"{listed(losses.top)} are equal: their {_plural(metric)} are the same in every run."
    return f"{_within(losses, metric, losses.top)}."


def _within(losses: WithBest, metric: Metric, names: Sequence[str]) -> str:
    typically = _typically([losses.standing(name) for name in names])
    margin = _margin(losses, metric)
    return f"{listed(names)} are equivalent: their {_plural(metric)} are {typically}within {margin} of each other"


def _typically(standings: Sequence[Standing]) -> str:
    """What differences are limited, so that those of the means may be larger."""
    return "typically " if any(s.far_out for s in standings) else ""


def _more(losses: WithBest) -> str:
    if losses.more is None:
        return "It would take more than 1,000 more seeds to settle it."
    return f"About {count(losses.more, 'more seed')} would settle it with a chance of 0.8."


def _gap(least: float, most: float, metric: Metric) -> str:
    """``0.012 to 0.03 lower than``, ``up to 0.03 lower than``, ``0.1 to 0.5 times that of``."""
    if metric.ratio:
        low, high = (ratio_text(float(np.exp(-end))) for end in (most, least))
        return f"{low if low == high else f'{low} to {high}'} times that of"
    low, high = number(max(least, 0.0)), number(most)
    side = "higher" if metric.higher_is_better else "lower"
    return f"{high if low == high else f'{low} to {high}' if least > 0 else f'up to {high}'} {side} than"


def _margin(losses: WithBest, metric: Metric) -> str:
    """The margin in words: ``0.01``, or ``a factor of 1.2``."""
    return f"a factor of {number(float(np.exp(losses.margin)), 3)}" if metric.ratio else number(losses.margin)


def _either(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"Either {names[0]} or {names[1]}" if len(names) == 2 else f"Any of {listed(names)}"


def _are(names: Sequence[str]) -> str:
    return f"{listed(names)} {'is' if len(names) == 1 else 'are'}"


def _plural(metric: Metric) -> str:
    if metric.name.startswith("value "):
        return metric.name.replace("value", "values", 1)
    return f"{metric.name}es" if metric.name.endswith("loss") else f"values of {metric.name}"
