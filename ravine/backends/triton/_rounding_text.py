"""The part of a Triton kernel that says what rounding costs (``backends/_rounding_figures.py``), before anything is written.

The sample is what the first chunk has of it: others may have written theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ravine.backends._rounding_figures import SAMPLE, is_narrow, roundings
from ravine.backends.triton._kernel_text import CHUNK_STATISTICS, block, constant_text, kind_of
from ravine.formula._python import Statements, code_name
from ravine.formula._symbols import Symbol

#: Elements at a time: few, so that the kernel needs no more registers than its own loop.
_SIZE = 256

_COST = """\
def cost({given}, low, n, BLOCK: tl.constexpr):
    at = low + tl.arange(0, BLOCK)
    inside = at < n
{body}
    return ({figures})

"""


def rounding_text(
    written: Mapping[str, Symbol],
    leaves: Mapping[Symbol, str],
    read: Sequence[str],
    dtypes: Mapping[str, torch.dtype],
    real: str,
    given: str,
) -> tuple[str, list[str]]:
    """A function over some elements, and the lines of the kernel that call it for the sample; nothing where nothing is narrow.

    Args:
        written: what is computed for each buffer that is written.
        leaves: the names of what is known.
        read: the lines that load all buffers.
        dtypes: of every buffer.
        real: the type that is computed in.
        given: the arguments of functions over elements.
    """
    known = roundings(written, [b for b in written if is_narrow(dtypes[b])])
    if not known:
        return "", []
    made = Statements(
        [symbol for each in known.values() for symbol in each if symbol is not None],
        leaves,
        constant=lambda value: constant_text(real, value),
        calls={"div", "pow", "cube_root"},
        place="first + at",
    )
    texts = iter(made.results)
    body, figures = [*read, *made.lines], []
    for k, (b, each) in enumerate(known.items()):
        exact, kept = next(texts), next(texts)
        old = code_name(b) if each.before is None else next(texts)
        if each.before is None:
            kept = f"widen(narrow({kept}, {kind_of(dtypes[b])}), {real})"
        body += [
            f"exact{k} = ({exact}).to(tl.float64)",
            f"lost{k} = tl.where(inside, ({kept}).to(tl.float64) - exact{k}, 0.0)",
            f"changed{k} = tl.where(inside, exact{k} - ({old}).to(tl.float64), 0.0)",
        ]
        figures += [f"tl.sum(lost{k} * lost{k}, 0)", f"tl.sum(changed{k} * changed{k}, 0)"]
    function = _COST.format(given=given, body=block(body), figures="".join(f"{f}, " for f in figures))
    lines = [f"{what}{k} = tl.zeros([], tl.float64)" for k in range(len(known)) for what in ("lost", "changed")]
    lines += [
        f"looked_at = tl.where(first == 0, tl.minimum(n, {SAMPLE}), 0).to(tl.int32)",
        f"for low in range(0, looked_at, {_SIZE}):",
        f"    got = cost({given}, low, looked_at, {_SIZE})",
    ]
    for k in range(len(known)):
        lines += [f"    lost{k} += got[{2 * k}]", f"    changed{k} += got[{2 * k + 1}]"]
    row = {s.name: i for i, s in enumerate(CHUNK_STATISTICS)}
    put = "tl.store(figures + {} * chunks + chunk, {})"
    states = "tl.zeros([], tl.float64)"
    for k, b in enumerate(known):
        ratio = f"tl.where(changed{k} == 0, 0.0, lost{k} / tl.where(changed{k} == 0, 1.0, changed{k}))"
        if b == "param":
            lines.append(put.format(row["param_rounding_square"], ratio))
        else:
            states = f"maximum({states}, {ratio})"
    return function, [*lines, put.format(row["state_rounding_square"], states)]
