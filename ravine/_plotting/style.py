"""How lines are told apart: colours safe for the colour-blind, with a dash pattern each, and how files are made."""

import io
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

# mostly Paul Tol's "bright" and "vibrant" sets: told apart by the colour-blind, strong enough on white
_COLOURS = (
    "#4477AA",
    "#EE6677",
    "#228833",
    "#AA3377",
    "#66CCEE",
    "#CCBB44",
    "#EE7733",
    "#332288",
    "#999999",
    "#009988",
)
_SIGNATURE = 0.12  # inches
_DASHES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (6, 1.5, 1.5, 1.5)))


@dataclass(frozen=True)
class Line:
    """The look of one line: colour, dash pattern, width in points, and which lies on top."""

    colour: str
    dashes: Any
    width: float
    order: int

    def options(self) -> dict[str, Any]:
        """As keyword arguments of matplotlib's ``plot``."""
        return {"color": self.colour, "linestyle": self.dashes, "linewidth": self.width, "zorder": self.order}


def line(index: int, reference: bool) -> Line:
    """The look of the line number ``index``.

    A reference lies exactly on the line it confirms: black dots on top, so that both are seen.
    """
    if reference:
        return Line("black", (0, (1, 3)), 1.6, 5)
    # the dashes change with every round of colours and between neighbours
    return Line(_COLOURS[index % len(_COLOURS)], _DASHES[(index + index // len(_COLOURS)) % len(_DASHES)], 2.0, 3)


def blank(width: float, height: float) -> Any:
    """An empty matplotlib figure, width and height in inches, that a notebook shows as a picture.

    Below it says, small, which version made it.
    """
    _import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ravine import __version__

    figure: Any = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    strip = _SIGNATURE / height
    figure.get_layout_engine().set(rect=(0, strip, 1, 1 - strip))
    figure.text(0.997, 0.2 * strip, f"ravine {__version__}", fontsize=6, color="0.55", ha="right", va="bottom")
    figure._repr_png_ = lambda: png(figure)  # what pyplot would do for its own figures
    return figure


def _import_matplotlib() -> None:
    """Import matplotlib also where MPLBACKEND, which a notebook sets for itself and its shell commands, names none that is here.

    Pictures are drawn without any backend, and matplotlib's import would fail. What ``pyplot`` will use stays as it was named.
    """
    if "matplotlib" in sys.modules:
        return
    named = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if named is not None:
            os.environ["MPLBACKEND"] = named
    if named:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = named


def tidy(axes: Any) -> None:
    """A light grid, and no frame above and to the right."""
    axes.grid(True, which="major", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plain_ticks(axes: Any) -> None:
    """Plain numbers at a logarithmic vertical axis that has its limits, where powers of ten alone would leave it bare."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    low, high = axes.get_ylim()
    if high / low >= 40:
        return
    ticks = list(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]).tick_values(low, high))
    if high / low > 4:
        ticks = [float(f"{f}e{e}") for e in range(-17, 300) for f in (1, 2, 3, 5)]
    axes.set_yticks([t for t in ticks if low <= t <= high])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.6g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def centred_text(axes: Any, text: str) -> None:
    """A sentence in the middle of an empty picture."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.35", parse_math=False)


def png(figure: Any) -> bytes:
    """A matplotlib figure as a PNG file's bytes."""
    return encoded(figure, "png")


def small_png(figure: Any) -> bytes:
    """The same with fewer dots and 256 colours, a fifth of the bytes: an output stays in its notebook for good."""
    from PIL import Image

    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", dpi=90)
    Image.open(full).convert("RGB").quantize(256).save(small, "png", optimize=True)
    return small.getvalue()


def encoded(figure: Any, kind: str) -> bytes:
    """A matplotlib figure as the bytes of a file of that kind: ``"png"``, ``"pdf"`` or ``"svg"``."""
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=144)
    return content.getvalue()
