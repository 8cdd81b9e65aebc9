"""Trains a model and shows how it went: the Learner, its data, schedules, callbacks, recorder and checkpoints.

Knows optimizers and pictures; knows no task, no comparison and no command line.
"""

from ravine.train.batches import Batches
from ravine.train.callback import Callback
from ravine.train.gradients import GradientAccumulation, GradientClipping, MixedPrecision
from ravine.train.learner import Learner
from ravine.train.metrics import accuracy
from ravine.train.progress import OneCycle, OverRun
from ravine.train.recorder import Recorder
from ravine.train.schedules import OnPlateau, PerEpoch, PerStep
from ravine.train.stopping import EarlyStopping, KeepBest, StopOnNaN
from ravine.train.tensorboard import TensorBoard
from ravine.train.trace_nan import TraceNaN

__all__ = [
    "Batches",
    "Callback",
    "EarlyStopping",
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
    "TraceNaN",
    "accuracy",
]
