"""The watch's figures and the findings of the diagnosis in the loggers of other trainers, a function for each trainer.

_figures.py      what is logged, as a flat dict; parameters' names
_follower.py     follows an optimizer inside a trainer: figures, losses, findings, what a checkpoint needs
_twice.py        refuses what trainer and optimizer would both do: clipping, averages of the weights
_entrances.py    the functions that a user calls; the file of a trainer imports its library, and only then is it read
_lightning.py, _huggingface.py, _accelerate.py, _skorch.py, _fastai.py, _ignite.py    a trainer each
"""

from typing import TYPE_CHECKING

from ravine._lazy import lazy

if TYPE_CHECKING:
    from ravine.integrations._entrances import (
        fastai_callback,
        lightning_callback,
        skorch_callback,
        watch_accelerator,
        watch_engine,
        watch_trainer,
    )
    from ravine.integrations._figures import figures, name
    from ravine.integrations._follower import Follower
    from ravine.optim._unwrap import unwrap

__all__ = [
    "Follower",
    "fastai_callback",
    "figures",
    "lightning_callback",
    "name",
    "skorch_callback",
    "unwrap",
    "watch_accelerator",
    "watch_engine",
    "watch_trainer",
]

_ENTRANCES = (
    "fastai_callback",
    "lightning_callback",
    "skorch_callback",
    "watch_accelerator",
    "watch_engine",
    "watch_trainer",
)

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Follower": "ravine.integrations._follower",
        "figures": "ravine.integrations._figures",
        "name": "ravine.integrations._figures",
        "unwrap": "ravine.optim._unwrap",
        **dict.fromkeys(_ENTRANCES, "ravine.integrations._entrances"),
    },
)
