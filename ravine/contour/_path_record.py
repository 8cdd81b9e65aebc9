"""All search paths of a study as a JSON document: everything needed to draw it again or to run it again.

Strictly valid JSON; a number that is not finite is null.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import torch

import ravine
from ravine.contour._paths import Path, Study

_MOST_POINTS = 1000  # of a path: enough for any picture, and a file that opens at once
_DIGITS = 7  # of a coordinate or a value: finer than any picture, and the file is half as long


def to_json(study: Study) -> bytes:
    """The study as a JSON document in UTF-8; of paths of more than 1000 steps, evenly spaced ones and the last."""
    surface = study.surface
    document = {
        "ravine": ravine.__version__,
        "torch": torch.__version__,
        "function": study.name,
        "window": surface.window,
        "minimum": surface.minimum,
        "lowest": study.lowest,
        "floor": study.floor,
        "rates": study.rates,
        "starts": study.starts,
        "steps": study.steps,
        "seed": study.seed,
        "optimizers": [
            {
                "spec": walk.contender.label,
                "family": walk.family,
                "value": walk.value,
                "optimizer": walk.contender.name,
                "class": f"{walk.contender.factory.__module__}.{walk.contender.factory.__qualname__}",
                "options": {key: value for key, value in walk.contender.options.items() if key != "lr"},
                "best_rate": study.rates[study.best(walk)],
                "finals": walk.finals.tolist(),
                "paths": [[_path(path) for path in row] for row in walk.paths],
            }
            for walk in study.walks
        ],
    }
    return json.dumps(plain(document), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _path(path: Path) -> dict[str, object]:
    kept = thinned(len(path.points))
    return {
        "diverged_at": path.diverged_at,
        "step": kept,
        "x": [_short(x) for x in path.points[kept, 0].tolist()],
        "y": [_short(y) for y in path.points[kept, 1].tolist()],
        "value": [_short(value) for value in path.values[kept].tolist()],
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
