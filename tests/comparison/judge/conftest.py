"""Optimizers made of numbers, for the tests of the judgement."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from ravine.comparison._judge import FreshRun, OptimizerRuns, TuningTrial


@pytest.fixture
def make_run() -> Callable[..., FreshRun]:
    """A run with these losses at steps 0, 100, 200, ...; the score is the last one unless given."""

    def make(seed: int, losses: Sequence[float], score: float | None = None, **rest: Any) -> FreshRun:
        steps = 100 * np.arange(len(losses))
        return FreshRun(seed, steps, losses, losses[-1] if score is None else score, **rest)

    return make


@pytest.fixture
def make_optimizer(make_run: Callable[..., FreshRun]) -> Callable[..., OptimizerRuns]:
    """An optimizer from a curve, or a final loss, for each seed, and the scores of each tuning; None diverged."""

    def make(
        name: str,
        curves: Iterable[Any] = (),
        tunings: Iterable[Any] = (),
        *,
        start: float = 2.0,
        metrics: Mapping[str, Sequence[float]] | None = None,
        points: Sequence[Mapping[str, Any]] | None = None,
        **rest: Any,
    ) -> OptimizerRuns:
        runs = []
        for seed, curve in enumerate(curves):
            point = {} if points is None else points[seed]
            if curve is None:
                runs.append(make_run(seed, [start, np.nan], np.nan, diverged=True, point=point))
                continue
            of_run = {} if metrics is None else {key: values[seed] for key, values in metrics.items()}
            losses = [start, curve] if np.ndim(curve) == 0 else curve
            runs.append(make_run(seed, losses, metrics=of_run, point=point))
        trials = [
            TuningTrial({"lr": float(i + 1)}, 1000 + number, np.nan if score is None else score, score is None)
            for number, scores in enumerate(tunings)
            for i, score in enumerate(np.atleast_1d(np.array(scores, dtype=object)))
        ]
        return OptimizerRuns(name, trials, runs, **rest)

    return make
