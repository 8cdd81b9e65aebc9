"""All search paths of a study as a JSON document: everything needed to draw it again or to run it again.

Strictly valid JSON; a number that is not finite is null.
"""

import json

import torch

import ravine
from ravine.compare.paths import Path, Study
from ravine.compare.record import plain, thinned

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
                "class": f"{walk.contender.cls.__module__}.{walk.contender.cls.__qualname__}",
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
