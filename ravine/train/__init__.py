"""Trains a model and shows how it went: the Learner, its data, schedules, callbacks, recorder and checkpoints.

Knows optimizers, what they watch, and pictures; knows no task, no comparison, no diagnosis and no command line.
"""

from typing import TYPE_CHECKING

from ravine._lazy import lazy

if TYPE_CHECKING:
    from ravine.train._batches import Batches
    from ravine.train._callback import Callback
    from ravine.train._fit import Fit, FitState
    from ravine.train._gradients import GradientAccumulation, GradientClipping, MixedPrecision
    from ravine.train._learner import Learner
    from ravine.train._lr_find.lr_find_result import LRFind
    from ravine.train._metrics import accuracy
    from ravine.train._recorder import Recorder
    from ravine.train._schedules.hyper_schedule import HyperSchedule
    from ravine.train._schedules.one_cycle import OneCycle
    from ravine.train._schedules.torch_scheduler import ReduceOnPlateau, TorchScheduler
    from ravine.train._stopping import BestCheckpoint, EarlyStopping, StopOnNaN
    from ravine.train._stream import Stream
    from ravine.train._tensorboard import TensorBoard

__all__ = [
    "Batches",
    "BestCheckpoint",
    "Callback",
    "EarlyStopping",
    "Fit",
    "FitState",
    "GradientAccumulation",
    "GradientClipping",
    "HyperSchedule",
    "LRFind",
    "Learner",
    "MixedPrecision",
    "OneCycle",
    "Recorder",
    "ReduceOnPlateau",
    "StopOnNaN",
    "Stream",
    "TensorBoard",
    "TorchScheduler",
    "accuracy",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Batches": "ravine.train._batches",
        "BestCheckpoint": "ravine.train._stopping",
        "Callback": "ravine.train._callback",
        "EarlyStopping": "ravine.train._stopping",
        "Fit": "ravine.train._fit",
        "FitState": "ravine.train._fit",
        "GradientAccumulation": "ravine.train._gradients",
        "GradientClipping": "ravine.train._gradients",
        "HyperSchedule": "ravine.train._schedules.hyper_schedule",
        "LRFind": "ravine.train._lr_find.lr_find_result",
        "Learner": "ravine.train._learner",
        "MixedPrecision": "ravine.train._gradients",
        "OneCycle": "ravine.train._schedules.one_cycle",
        "Recorder": "ravine.train._recorder",
        "ReduceOnPlateau": "ravine.train._schedules.torch_scheduler",
        "StopOnNaN": "ravine.train._stopping",
        "Stream": "ravine.train._stream",
        "TensorBoard": "ravine.train._tensorboard",
        "TorchScheduler": "ravine.train._schedules.torch_scheduler",
        "accuracy": "ravine.train._metrics",
    },
    of_others="ravine.train._names_of_others",
)
