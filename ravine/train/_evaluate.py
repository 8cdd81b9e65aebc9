"""What a model does on data without being trained: loss and metrics over all rows, and its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine.errors import OptionError
from ravine.train import _parallel as parallel
from ravine.train._all_rows import AllRows
from ravine.train._batches import Batches
from ravine.train._forward import ForwardPass, pair, row_count
from ravine.train._measured import Measured
from ravine.train._metrics import Measure
from ravine.train._stream import Stream

LOSS = "valid_loss"
"""The name of the loss among the measures."""


def evaluate(forward: ForwardPass, measures: Mapping[str, Measure], data: Iterable[Any]) -> dict[str, float]:
    """Each measure (the loss, under ``valid_loss``, and the metrics) over all rows of all processes.

    Most are means over rows, and are added up batch by batch. Losses of torch that are weighted means (class weights,
    ``ignore_index``) are added up by these weights. What is neither (an AUC, a root of a mean) is computed once more, from
    the outputs and targets of all rows together; objects with ``update``, ``compute`` and ``reset``, as torchmetrics has
    them, collect what they need themselves.

    Raises:
        TrainingError: a metric raises, or gives something other than a number.
        OptionError: there is no batch.
    """
    device = forward.device
    measured = [Measured(_what(name), measure, device) for name, measure in measures.items()]
    kept = AllRows()
    batches = count = 0
    with forward.eval_mode():
        for batch in _in_order(data, parallel.rank(), parallel.size()):
            inputs, targets = pair(batch, device)
            rows = row_count(targets)
            if rows == 0:  # a process's part of the last batch may be empty, and has no mean
                continue
            outputs = forward.outputs(inputs, rows)
            for each in measured:
                each.add(outputs, targets, rows)
            if any(not each.is_known for each in measured):
                kept.add(outputs, targets)
            count += rows
            batches += 1
        everywhere = parallel.sums([float(count), float(batches)], device)
        if not everywhere[0]:
            raise OptionError("The validation data gave no batch. Is it empty?")
        unknown = parallel.sums([0.0, *(float(not each.is_known) for each in measured)], device)[1:]
        whole = kept.together(everywhere[0], device) if any(unknown) and everywhere[1] > 1 else None
        results = {name: each.result(whole, kept) for name, each in zip(measures, measured, strict=True)}
        return {name: value for name, value in results.items() if value is not None}


def _what(name: str) -> str:
    return "loss" if name == LOSS else f"metric {name!r}"


def _in_order(data: Iterable[Any], part: int = 0, parts: int = 1) -> Iterable[Any]:
    """Rows in the order of the data, so that the first output is that of the first row; or a part of them."""
    if isinstance(data, Batches):
        return data.in_order(part, parts)
    return data.epoch(0) if isinstance(data, Stream) else data
