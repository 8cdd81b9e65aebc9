"""A heat map as HTML: one small picture that stretches, with the names of rows and the scale as texts beside it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape

import numpy as np

from ravine._plotting.notebook_html import WRONG

# from low to high: matplotlib's viridis at every eighth, so that pictures and outputs agree; no red, which is for what is wrong
_SCALE = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")
_LEVELS = 64


def heat_map(
    values: np.ndarray,
    wrong: np.ndarray,
    names: Sequence[str],
    limits: tuple[float, float],
    ends: tuple[str, str],
    title: str,
    label: str,
) -> str:
    """Rows of colours for the logarithm of values; NaN is left empty, and what is ``wrong`` is red.

    Args:
        values: shape (rows, columns).
        wrong: as many truth values.
        names: of the rows.
        limits: the values of the first and the last colour; beyond them are the same colours.
        ends: the texts below the first and the last column.
        title: what the colours mean.
        label: what it shows, for those who do not see it.
    """
    low, high = (math.log10(limit) for limit in limits)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip((np.log10(values) - low) / ((high - low) or 1.0), 0.0, 1.0)
    codes = np.where(np.isnan(share), 0, 2 + np.rint(np.nan_to_num(share) * (_LEVELS - 1))).astype(np.uint8)
    codes[np.asarray(wrong, dtype=bool)] = 1
    row, shown = 1.35, "white-space:nowrap;overflow:hidden;text-overflow:ellipsis;text-align:right"
    texts = "".join(f'<div style="height:{row}em;line-height:{row}em;{shown}">{escape(name)}</div>' for name in names)
    small = "display:flex;justify-content:space-between;gap:1em;font-size:.85em;opacity:.85"
    bar = f"height:.7em;width:9em;background:linear-gradient(to right,{','.join(_SCALE)})"
    return (
        '<div style="display:grid;grid-template-columns:fit-content(40%) minmax(0,1fr);gap:.2em .8em;max-width:46em">'
        f'<div style="font-size:.9em;min-width:0">{texts}</div>'
        f'<img alt="{escape(label)}" src="{_picture(codes)}" style="width:100%;height:{0.9 * row * len(names):.2f}em;max-width:none;margin:0;'
        "image-rendering:pixelated;outline:1px solid rgba(128,128,128,.5);"
        'background:repeating-linear-gradient(45deg,transparent 0 4px,rgba(128,128,128,.35) 4px 5px)">'
        f'<div></div><div style="{small}"><span>{escape(ends[0])}</span><span>{escape(ends[1])}</span></div>'
        '<div></div><div style="display:flex;flex-wrap:wrap;align-items:center;gap:.1em .6em;font-size:.92em">'
        f'<span>{escape(title)}</span><span>{limits[0]:.1g}</span><i style="{bar}"></i><span>{limits[1]:.1g}</span></div></div>'
    )


def _picture(codes: np.ndarray) -> str:
    """A PNG with a pixel for each value, as an address that holds it."""
    from PIL import Image

    colours = [(0, 0, 0), _rgb(WRONG)]
    steps = np.array([_rgb(colour) for colour in _SCALE], dtype=np.float64)
    places = np.linspace(0, len(steps) - 1, _LEVELS)
    between = [np.interp(places, np.arange(len(steps)), channel).round().astype(int).tolist() for channel in steps.T]
    colours += list(zip(*between, strict=True))
    image = Image.fromarray(codes)
    image.putpalette([part for colour in colours for part in colour])
    content = io.BytesIO()
    image.save(content, "PNG", transparency=0, optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
