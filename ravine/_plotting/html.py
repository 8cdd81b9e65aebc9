"""Pages of HTML that hold all they need: how they are made, and how a line's style is called in them.

A page may load nothing (its content security policy says so), so plotly's script and all styles stand inside. Texts
reach it by Jinja2's escaping or as JSON without `<`. ``templates/page.*`` is what all pages share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Any

from ravine._plotting.style import Line

_DASHES = {"-": "solid", (0, (6, 1.5)): "dash", (0, (6, 1.5, 1.5, 1.5)): "dashdot", (0, (1, 3)): "dot"}
_TEMPLATES = "_plotting/templates"


def rendered(template: str, *folders: str, **values: Any) -> bytes:
    """A page in UTF-8.

    Args:
        template: the name of its file.
        folders: where it and what it includes lie in the package; the shared templates are found from everywhere.
        values: what the template names; ``plotly``, the script, need not be given.
    """
    given = {"plotly": plotly_script(), **values} if "plotly" not in values else values
    return _environment(folders).get_template(template).render(**given).encode()


@cache
def _environment(folders: tuple[str, ...]) -> Any:
    """What finds templates and keeps them compiled."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader("ravine", path) for path in dict.fromkeys((*folders, _TEMPLATES))]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def plotly_script() -> str:
    """The script of plotly, as its package has it."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script


def numbers(values: Iterable[float]) -> list[float | None]:
    """For JSON, which has no number for what is not finite; six digits are more than a picture shows."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def script_style(line: Line) -> dict[str, str]:
    """A line's colour and dashes, as the page's script takes them."""
    return {"colour": line.colour, "dash": _DASHES[line.dashes]}


def strong(colour: str, contrast: float = 3.0) -> str:
    """The colour, made darker until it is as far from white as the accessibility guidelines ask of a mark (WCAG 1.4.11)."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    while 1.05 / (_luminance(parts) + 0.05) < contrast:
        parts = [int(part * 0.97) for part in parts]
    return "#" + "".join(f"{part:02x}" for part in parts)


def _luminance(parts: list[int]) -> float:
    """How bright a colour is, from 0 to 1, as the guidelines compute it."""
    linear = [p / 255 / 12.92 if p <= 10 else ((p / 255 + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
