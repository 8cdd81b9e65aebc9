"""Arms made of numbers, for the tests of the judgement."""

import numpy as np
import pytest

from ravine.comparison._judge import ConfirmationRun, OptimizerRuns, TuningTrial


@pytest.fixture
def make_run():
    """A run whose curve has these losses every 100 steps; the score is the last unless given."""

    def make(seed, losses, score=None, **rest):
        steps = 100 * np.arange(1, len(losses) + 1)
        return ConfirmationRun(seed, steps, losses, losses[-1] if score is None else score, **rest)

    return make


@pytest.fixture
def make_optimizer(make_run):
    """An optimizer from one curve (or score) per seed, and tuning scores by learning rate; None diverged."""

    def make(name, curves=(), tuning=None, point=None, metrics=None):
        runs = []
        for seed, curve in enumerate(curves):
            if curve is None:
                runs.append(make_run(seed, [2.0, np.nan], np.nan, diverged=True))
            else:
                held = {} if metrics is None else {key: values[seed] for key, values in metrics.items()}
                runs.append(make_run(seed, np.atleast_1d(curve), metrics=held))
        trials = [
            TuningTrial({"lr": lr}, 1000, float("nan") if score is None else score, score is None)
            for lr, score in (tuning or {}).items()
        ]
        return OptimizerRuns(name, trials, runs, point)

    return make
