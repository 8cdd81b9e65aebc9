"""The result of the learning-rate finder in a notebook: the rate in words, the picture, and what each rule says."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from ravine._plotting.html_curves import Axis, HtmlBand, HtmlLine, HtmlMark, curves_html, loss_axis
from ravine._plotting.notebook_html import FIRST, SECOND, beside, html_rows, output, paragraph, scrolling
from ravine.train._lr_find.lr_rules import Suggestion, short

_SAYS = {
    "valley": "two thirds of the way down the fall of the loss",
    "steepest": "where the loss falls fastest",
    "minimum": "a tenth of the rate with the lowest loss",
}


def lr_find_html(
    rates: np.ndarray,
    losses: np.ndarray,
    suggestions: Sequence[Suggestion],
    recommended: Suggestion | None,
    reasons: Sequence[str],
) -> str:
    """The output of an ``LRFind``; ``reasons`` are sentences, on rules without an answer and of the sweeps."""
    if recommended is None:
        answer, why = "There is no learning rate to suggest", ""
    else:
        answer = f"Learning rate {short(recommended.lr)}"
        why = f"By the rule {recommended.rule}: {_SAYS.get(recommended.rule, '')}."
    heads = ["rule", "lr", "low", "high"]
    rows = [[s.rule, *(short(v) for v in (s.lr, s.low, s.high))] for s in suggestions] if recommended else []
    best = None if recommended is None else [s.rule for s in suggestions].index(recommended.rule)
    return output(
        answer,
        paragraph(why, soft=False),
        beside(_picture(rates, losses, recommended), scrolling(html_rows(heads, rows, best)) if rows else ""),
        *(paragraph(reason) for reason in reasons),
    )


def _picture(rates: np.ndarray, losses: np.ndarray, recommended: Suggestion | None) -> str:
    table = np.where(np.isfinite(losses), losses, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of rates at which no sweep has a loss
        low, mean, high = np.nanmin(table, axis=0), table.mean(axis=0), np.nanmax(table, axis=0)
    y = loss_axis([mean], "loss")
    known = mean[np.isfinite(mean)]
    if len(known):  # the fall in full, and half as much again of the rise after it
        bottom = int(known.argmin())
        before = float(known[: bottom + 1].max())
        top = min(float(known.max()), before + 0.5 * (before - float(known[bottom])))
        room = 0.05 * (top - float(known[bottom])) or 0.05 * abs(top) or 0.5
        y = Axis(float(known[bottom]) - room, top + room, y.title)
    x = Axis(float(rates[0]), float(rates[-1]) if len(rates) > 1 else float(rates[0]) * 10, "learning rate", log=True)
    several = len(table) > 1
    name = f"mean of {len(table)} sweeps" if several else "one sweep"
    return curves_html(
        [HtmlLine(name, rates, mean, FIRST)],
        x,
        y,
        bands=[HtmlBand("all sweeps", rates, low, high, FIRST)] if several else [],
        marks=[HtmlMark(short(recommended.lr), recommended.lr, SECOND)] if recommended else [],
        label="The loss at each learning rate that was tried",
    )
