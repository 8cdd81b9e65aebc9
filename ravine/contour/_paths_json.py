"""All search paths as a JSON document: everything needed to draw them again or to run them again.

Strictly valid JSON; a number that is not finite is null.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import torch

import ravine
from ravine.contour._search_record import SearchRecord
from ravine.contour._trajectories import Trajectory

_MOST_POINTS = 1000  # of a path: enough for any picture, and a file that opens at once
_DIGITS = 7  # of a coordinate or a value: finer than any picture, and the file is half as long


def to_json(record: SearchRecord) -> bytes:
    """The document in UTF-8; of trajectories of more than 1000 steps, evenly spaced ones and the last."""
    surface = record.surface
    document = {
        "ravine": ravine.__version__,
        "torch": torch.__version__,
        "function": record.name,
        "window": surface.window,
        "minimum": surface.minimum,
        "lowest": record.lowest,
        "floor": record.floor,
        "rates": record.rates,
        "starts": record.starts,
        "steps": record.steps,
        "seed": record.seed,
        "optimizers": [
            {
                "spec": entry.spec.label,
                "family": entry.family,
                "value": entry.value,
                "optimizer": entry.spec.name,
                "class": f"{entry.spec.factory.__module__}.{entry.spec.factory.__qualname__}",
                "options": {key: value for key, value in entry.spec.options.items() if key != "lr"},
                "best_rate": record.rates[record.best(entry)],
                "finals": entry.finals.tolist(),
                "paths": [[_path(t) for t in row] for row in entry.trajectories],
            }
            for entry in record.entries
        ],
    }
    return json.dumps(plain(document), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _path(trajectory: Trajectory) -> dict[str, object]:
    kept = thinned(len(trajectory.points))
    return {
        "diverged_at": trajectory.diverged_at,
        "step": kept,
        "x": [_short(x) for x in trajectory.points[kept, 0].tolist()],
        "y": [_short(y) for y in trajectory.points[kept, 1].tolist()],
        "value": [_short(value) for value in trajectory.values[kept].tolist()],
    }


def _short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")


def thinned(length: int) -> list[int]:
    """At most 1001 of the indices below ``length``, evenly spaced, with the first and the last."""
    every = -(-length // _MOST_POINTS)
    kept = list(range(0, length, max(every, 1)))
    if length and kept[-1] != length - 1:
        kept.append(length - 1)
    return kept


def plain(value: Any) -> Any:
    """The value in JSON's types: tuples as lists, tensors of one element as numbers, NaN and inf as None."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return repr(value)
