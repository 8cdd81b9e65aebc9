"""A training as parts of a page: its table of epochs, its curve of losses."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from ravine._plotting.html_curves import Axis, HtmlLine, curves_html, loss_axis, thinned
from ravine._plotting.notebook_html import FIRST, SECOND, paragraph, scrolling
from ravine.train._display.cells import cell

_POINTS = 120  # of the training's line: each is a mean, so that the noise of batches does not hide the fall
_MOST = 1000  # rows; who trains for longer reads the recorder


def head_row(columns: Sequence[str]) -> str:
    """The head of a table of epochs."""
    return _tr("".join(f"<th>{escape(name)}</th>" for name in columns))


def epoch_row(columns: Sequence[str], cells: Sequence[object]) -> str:
    """An epoch's row, with the cells of the other displays."""
    texts = [escape(cell(name, value)) for name, value in zip(columns, cells, strict=True)]
    return _tr("".join(f"<td>{text}</td>" for text in texts))


def said_row(sentence: str, columns: int) -> str:
    """A sentence between the rows."""
    return _tr(f'<td class="said" colspan="{columns or 1}"><div>{escape(sentence)}</div></td>')


def table_of(rows: Sequence[str], most: int = _MOST) -> str:
    """Rows as a table that scrolls where it is long: the first is the head, and of the others the last ``most`` are shown."""
    if not rows:
        return ""
    head, body = rows[0], rows[1:]
    left_out = max(len(body) - most, 0)
    earlier = paragraph(f"… {left_out:,} rows before these: learn.recorder.epochs has all." if left_out else "")
    table = f'<table class="epochs"><thead>{head}</thead><tbody>{"".join(body[left_out:])}</tbody></table>'
    return f"<div>{earlier}{scrolling(table)}</div>"


def epoch_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table of epochs."""
    return table_of([head_row(columns), *(epoch_row(columns, cells) for cells in rows)]) if rows else ""


def loss_picture(
    places: Sequence[float] | np.ndarray,
    losses: Sequence[float] | np.ndarray,
    valid: Sequence[tuple[float, float]],
    by_epoch: bool,
    last: float = 0.0,
    broken: int | None = None,
    first: float = 0.0,
) -> str:
    """The curve of the training loss and of the validation loss; empty before the first loss, a sentence if none is finite.

    Args:
        places: where on the axis the losses lie.
        losses: the training losses, or means of them.
        valid: pairs of a place and the validation loss there.
        by_epoch: whether places are epochs, else they are steps.
        last: where the axis ends at the least, so that a curve grows into its room.
        broken: how many losses were not finite; None: count them.
        first: where the axis begins.
    """
    values = np.asarray(losses, dtype=np.float64)
    if not len(values) and not valid:
        return ""
    points = np.asarray(valid, dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(values).any() and not np.isfinite(points[:, 1]).any():
        return paragraph("No loss was finite.")
    at = np.asarray(places, dtype=np.float64)
    shown = thinned(at, values, _POINTS)
    y = loss_axis([shown[1], points[:, 1]], "loss", may_be_log=True)
    end = max([last, *at[-1:].tolist(), *points[-1:, 0].tolist()])
    x = Axis(first, end if end > first else first + 1, "epoch" if by_epoch else "step", whole=True)
    lines = [HtmlLine("training", *shown, FIRST)]
    if len(points):
        lines.append(HtmlLine("validation", points[:, 0], points[:, 1], SECOND, dots=True))
    count = int((~np.isfinite(values)).sum()) if broken is None else broken
    note = (
        f"{count:,} {'loss was' if count == 1 else 'losses were'} NaN or infinite, and {'is' if count == 1 else 'are'} not drawn."
        if count
        else ""
    )
    words = f"The training loss{' and the validation loss' * bool(len(points))} over {x.title}s"
    return curves_html(lines, x, y, note=note, label=words)


def _tr(cells: str) -> str:
    return f"<tr>{cells}</tr>"
