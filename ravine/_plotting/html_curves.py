"""A picture of lines as HTML: an SVG that stretches to the room there is, with its texts beside it, never stretched.

So a picture has the same size of text on a phone as on a desktop, and the colour of text that the page has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

_SIZE = 1000.0  # of the picture's own coordinates
_MOST = 300  # points of a line: more are not seen
_LEGEND = "display:flex;flex-wrap:wrap;gap:0 1.2em;font-size:.92em"


@dataclass(frozen=True)
class Axis:
    """One axis: its limits, and whether it is logarithmic; ``whole`` has only whole numbers at its ticks."""

    low: float
    high: float
    title: str = ""
    log: bool = False
    whole: bool = False

    def place(self, values: np.ndarray | float) -> np.ndarray:
        """Where values lie, from 0 to 1; beyond the limits they lie on the edge. NaN stays."""
        numbers = np.asarray(values, dtype=np.float64)
        low, high = self.low, self.high
        if self.log:
            numbers = np.log10(np.maximum(numbers, low))
            low, high = math.log10(low), math.log10(high)
        placed: np.ndarray = np.clip((numbers - low) / ((high - low) or 1.0), 0.0, 1.0)
        return placed

    def ticks(self) -> list[tuple[float, str]]:
        """A few values with their texts."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, -(-(last - first) // 5))
            if last - first < 2:
                parts = [times * 10.0**power for power in range(first - 1, last + 1) for times in (1, 2, 5)]
                return [(value, f"{value:.4g}") for value in parts if self.low <= value <= self.high]
            return [(10.0**power, f"{10.0**power:g}") for power in range(first, last + 1, every)]
        room = self.high - self.low
        if not room > 0 or not math.isfinite(room):
            return [(self.low, f"{self.low:.4g}")]
        unit = 10.0 ** math.floor(math.log10(room / 4))
        step = next(unit * times for times in (1, 2, 5, 10) if room / (unit * times) <= 5)
        step = max(step, 1.0) if self.whole else step
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        values = [n * step for n in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]
        if digits > 5 or max(abs(self.low), abs(self.high)) >= 1e6:
            return [(value, f"{value:.2e}") for value in values]
        return [(value, f"{value:,.{digits}f}") for value in values]


@dataclass(frozen=True)
class HtmlLine:
    """A line, or with ``dots`` a line with a dot at each value; NaN leaves a gap."""

    name: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    colour: str
    dots: bool = False


@dataclass(frozen=True)
class HtmlBand:
    """What lies between two lines, faintly; NaN leaves a gap at its end only."""

    name: str
    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    colour: str


@dataclass(frozen=True)
class HtmlMark:
    """A vertical line at ``x`` with a text at its top."""

    text: str
    x: float
    colour: str


def curves_html(
    lines: Sequence[HtmlLine],
    x: Axis,
    y: Axis,
    *,
    bands: Sequence[HtmlBand] = (),
    marks: Sequence[HtmlMark] = (),
    note: str = "",
    label: str = "",
) -> str:
    """The picture, as wide as its room up to 34em; ``label`` says what it shows to those who do not see it.

    Like what ``drawn`` gives, it is hidden where the style sheet of the output is missing: axes without lines say nothing.
    """
    grid = "".join(f'<path d="M0 {_y(y, v):.1f}H{_SIZE:g}"/>' for v, _ in y.ticks())
    shapes = "".join(_band(band, x, y) for band in bands)
    shapes += "".join(
        f'<path d="M{_x(x, mark.x):.1f} 0V{_SIZE:g}" stroke="{mark.colour}" stroke-width="1.5" stroke-dasharray="4 3"/>'
        for mark in marks
    )
    shapes += "".join(_line(line, x, y) for line in lines)
    svg = (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {_SIZE:g} {_SIZE:g}" preserveAspectRatio="none" '
        'style="position:absolute;inset:0;width:100%;height:100%;overflow:visible">'
        '<g fill="none" vector-effect="non-scaling-stroke">'
        f'<g stroke="currentColor" stroke-opacity=".16">{grid}</g>{shapes}'
        f'<path d="M0 0V{_SIZE:g}H{_SIZE:g}" stroke="currentColor" stroke-opacity=".5"/></g></svg>'
    ).replace("<path ", '<path vector-effect="non-scaling-stroke" ')
    small = "position:absolute;line-height:1;white-space:nowrap;font-size:.85em;opacity:.85"
    left = "".join(
        f'<span style="{small};right:100%;margin-right:.5em;top:{_y(y, v) / 10:.1f}%;transform:translateY(-50%)">{escape(text)}</span>'
        for v, text in y.ticks()
    )
    below = "".join(
        f'<span style="{small};top:100%;margin-top:.5em;left:{_x(x, v) / 10:.1f}%;transform:translateX(-50%)">{escape(text)}</span>'
        for v, text in x.ticks()
    )
    tops = "".join(_top(mark, x, small) for mark in marks)
    title = f'<span style="{small};top:100%;margin-top:1.9em;right:0">{escape(x.title)}</span>' if x.title else ""
    widest = max([1, *(len(text) for _, text in y.ticks())])
    return (
        f'<div class="drawn" style="display:none;flex:1 1 20em;max-width:34em;width:100%"><div style="{_LEGEND}">{_legend(y.title, lines, bands)}</div>'
        f'<div style="position:relative;height:11em;margin:{1.5 if marks else 0.5}em .8em 3.2em {0.55 * widest + 0.9:.1f}em">'
        f"{svg}{left}{below}{tops}{title}</div>" + (f'<p class="soft">{escape(note)}</p>' if note else "") + "</div>"
    )


def _legend(title: str, lines: Sequence[HtmlLine], bands: Sequence[HtmlBand]) -> str:
    swatch = "display:inline-block;width:1.2em;margin-right:.4em;vertical-align:middle;"
    named = [(line.name, f"height:3px;background:{line.colour}") for line in lines if line.name]
    named += [(band.name, f"height:.7em;background:{band.colour};opacity:.25") for band in bands if band.name]
    items = [f"<span>{escape(title)}</span>"] if title else []
    return "".join([*items, *(f'<span><i style="{swatch}{look}"></i>{escape(name)}</span>' for name, look in named)])


def _top(mark: HtmlMark, x: Axis, small: str) -> str:
    """The text over a mark, on the side of it where there is room."""
    place = _x(x, mark.x) / 10
    side = "transform:translateX(-100%)" if place > 60 else ""
    return f'<span style="{small};bottom:100%;margin-bottom:.25em;left:{place:.1f}%;{side}">{escape(mark.text)}</span>'


def _x(axis: Axis, value: float) -> float:
    return _SIZE * float(axis.place(value))


def _y(axis: Axis, value: float) -> float:
    return _SIZE * (1 - float(axis.place(value)))


def _line(line: HtmlLine, x: Axis, y: Axis) -> str:
    across, up = thinned(line.x, line.y, _MOST)
    places = [
        None if math.isnan(v) else f"{a:.1f} {b:.1f}"
        for v, a, b in zip(up, _SIZE * x.place(across), _SIZE * (1 - y.place(up)), strict=True)
    ]
    path, drawing = [], False
    for index, place in enumerate(places):
        if place is None:
            drawing = False
            continue
        last = index + 1 == len(places) or places[index + 1] is None
        # a point alone is a line of no length, which round ends make a dot
        path.append(f"{'L' if drawing else 'M'}{place}" + ("h0" if last and not drawing else ""))
        drawing = True
    if not path:
        return ""
    ends = 'stroke-linecap="round" stroke-linejoin="round"'
    drawn = f'<path d="{"".join(path)}" stroke="{line.colour}" stroke-width="2" {ends}/>'
    if line.dots and len(path) <= 60:
        dots = "".join(f"M{place}h0" for place in places if place is not None)
        drawn += f'<path d="{dots}" stroke="{line.colour}" stroke-width="7" {ends}/>'
    return drawn


def _band(band: HtmlBand, x: Axis, y: Axis) -> str:
    known = np.isfinite(band.low) & np.isfinite(band.high)
    if known.sum() < 2:
        return ""
    across = _SIZE * x.place(band.x[known])
    edges = [(across, band.high[known]), (across[::-1], band.low[known][::-1])]
    points = " ".join(
        f"{a:.1f} {b:.1f}" for at, values in edges for a, b in zip(at, _SIZE * (1 - y.place(values)), strict=True)
    )
    return f'<path d="M{points}Z" fill="{band.colour}" fill-opacity=".25"/>'


def thinned(
    x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """At most about ``most`` points of a line, each the mean of as many neighbours; infinity becomes NaN, a gap."""
    across, up = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    up = np.where(np.isfinite(up), up, np.nan)
    every = -(-len(up) // most) if len(up) else 1
    if every == 1:
        return across, up
    starts = np.arange(0, len(up), every)
    known = np.isfinite(up)
    counts = np.add.reduceat(known.astype(np.float64), starts)
    with np.errstate(invalid="ignore", over="ignore"):
        means = np.add.reduceat(np.where(known, up, 0.0), starts) / counts
    sizes = np.diff(np.append(starts, len(up)))
    return np.add.reduceat(across, starts) / sizes, means


def loss_axis(values: Sequence[np.ndarray], title: str = "", may_be_log: bool = False) -> Axis:
    """An axis for losses that outliers do not stretch: from the lowest to the highest that is not far above most others.

    With ``may_be_log`` it is logarithmic where all losses are positive and most of the fall would lie in the lowest tenth.
    """
    known = [kept for kept in (line[np.isfinite(line)] for line in values) if len(kept)]
    if not known:
        return Axis(0.0, 1.0, title)
    low = min(float(line.min()) for line in known)
    high = max(float(line.max()) for line in known)
    middles = [float(np.quantile(line, 0.5, method="lower")) for line in known]
    fences = [middle + 6 * (middle - float(line.min())) for middle, line in zip(middles, known, strict=True)]
    high = min(high, max([*fences, *(float(line[0]) for line in known[:1])]))
    if may_be_log and low > 0 and high > 10 * low and min(middles) < low + 0.2 * (high - low):
        return Axis(max(low, 1e-12 * high) / 1.15, high * 1.15, f"{title}, logarithmic", log=True)
    room = 0.04 * (high - low) or 0.04 * abs(high) or 0.5
    return Axis(low - room, high + room, title)
