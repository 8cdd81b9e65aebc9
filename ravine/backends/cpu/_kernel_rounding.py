"""The lines of a kernel that say what rounding costs (``backends/_rounding_figures.py``), before anything is written.

They compute the new values of a sample once more, and write nothing but two statistics. A kernel without tensors of 16 or 8
bits has none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from ravine.backends import STATISTICS
from ravine.backends._eight_bits import is_code
from ravine.backends._rounding_figures import SAMPLE, is_narrow, roundings
from ravine.formula._python import Statements, code_name
from ravine.formula._symbols import Symbol


def rounding_lines(
    written: Mapping[str, Symbol],
    leaves: Mapping[Symbol, str],
    reads: Sequence[str],
    elements: Mapping[str, str],
    stored: Callable[[str, str], str],
    dtypes: Mapping[str, torch.dtype],
    real: str,
    whole: bool = False,
) -> tuple[list[str], list[str], list[str]]:
    """The lines before, in and after a loop over the elements ``i`` of a chunk that begins at ``first``.

    Args:
        written: what is computed for each buffer that is written.
        leaves: the names of what is known.
        reads: the buffers that the pass reads.
        elements: the text of an element of every buffer.
        stored: of a buffer's name and a value, the text of what a 16-bit tensor holds of it.
        dtypes: of every buffer.
        real: the type that is computed in.
        whole: the loop is over all elements, and those behind the sample do not count.
    """
    known = roundings(written, [b for b in written if is_narrow(dtypes[b])])
    if not known:
        return [], [], []
    body = Statements(
        [symbol for each in known.values() for symbol in each if symbol is not None],
        leaves,
        constant=lambda value: f"{real}({value!r})",
        place="first + i",
        temporary="w",
    )
    texts = iter(body.results)
    inside = [f"{code_name(b)} = {elements[b]}" for b in dict.fromkeys([*reads, *known])]
    inside += body.lines
    before: list[str] = []
    for k, (b, each) in enumerate(known.items()):
        exact, made = next(texts), next(texts)
        old = code_name(b) if each.before is None else next(texts)
        holds = is_code(dtypes[b]) or each.before is not None
        kept = made if holds else stored(b, f"{real}({made})")
        # In double precision: squares of changes of averages of squares are below what float32 holds.
        before += [f"lost{k} = 0.0", f"changed{k} = 0.0"]
        lost, changed = f"float64({kept}) - float64({exact})", f"float64({exact}) - float64({old})"
        if whole:
            lost, changed = (f"{x} if i < {SAMPLE} else 0.0" for x in (lost, changed))
        inside += [f"lost{k} = add_square(lost{k}, {lost})", f"changed{k} = add_square(changed{k}, {changed})"]
    row = {s.name: i for i, s in enumerate(STATISTICS)}
    after = ["states_top = magnitude(0.0)"]
    for k, b in enumerate(known):
        if b == "param":
            after.append(f"watch[{row['param_rounding_square']}, chunk] = quotient_or_zero(lost{k}, changed{k})")
        else:
            after.append(f"states_top = larger(states_top, magnitude(quotient_or_zero(lost{k}, changed{k})))")
    after.append(f"watch[{row['state_rounding_square']}, chunk] = from_magnitude(states_top)")
    return before, inside, after


def in_first_chunk(lines: tuple[list[str], list[str], list[str]], loop: Callable[[list[str]], list[str]]) -> list[str]:
    """The lines of ``rounding_lines`` for the first chunk of a tensor; ``loop``: gives one over ``looked_at`` elements."""
    before, inside, after = lines
    return first_chunk_only([*before, f"looked_at = min(n, {SAMPLE})", *loop(inside), *after] if inside else [])


def first_chunk_only(lines: Sequence[str]) -> list[str]:
    """Lines for the chunk that begins a tensor."""
    return ["if first == 0:  # what rounding costs", *(f"    {line}" for line in lines)] if lines else []
