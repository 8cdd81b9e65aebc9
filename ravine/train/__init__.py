"""Trains a model and shows how it went: the Learner, its data, schedules, callbacks, recorder and checkpoints.

Knows optimizers and pictures; knows no task, no comparison and no command line.
"""

from ravine.train._batches import Batches
from ravine.train._callback import Callback
from ravine.train._fit import Fit, FitState
from ravine.train._gradients import GradientAccumulation, GradientClipping, MixedPrecision
from ravine.train._learner import Learner
from ravine.train._metrics import accuracy
from ravine.train._recorder import Recorder
from ravine.train._schedules.one_cycle import OneCycle, OverRun
from ravine.train._schedules.torch_scheduler import OnPlateau, PerEpoch, PerStep
from ravine.train._stopping import EarlyStopping, KeepBest, StopOnNaN
from ravine.train._tensorboard import TensorBoard

__all__ = [
    "Batches",
    "Callback",
    "EarlyStopping",
    "Fit",
    "FitState",
    "GradientAccumulation",
    "GradientClipping",
    "KeepBest",
    "Learner",
    "MixedPrecision",
    "OnPlateau",
    "OneCycle",
    "OverRun",
    "PerEpoch",
    "PerStep",
    "Recorder",
    "StopOnNaN",
    "TensorBoard",
    "accuracy",
]
