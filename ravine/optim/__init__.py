"""Optimizers with the face of ``torch.optim``: write a formula with ``Optimizer``, or take a named one.

An optimizer is added by one file beside ``_rmsprop.py`` and its name here; tests, ``ravine show``, ``ravine compare``
and ``ravine bench`` find it by that. What torch.optim has beside these (``lr_scheduler``, ``swa_utils``, ``LBFGS``, ...)
is found here too, and is torch's own.
"""

from typing import Any

from ravine.optim import _others_of_torch, pieces, search
from ravine.optim._adadelta import Adadelta
from ravine.optim._adagrad import Adagrad
from ravine.optim._adam import Adam, AdamW
from ravine.optim._adamax import Adamax
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._lion import Lion
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim._radam import RAdam
from ravine.optim._rmsprop import RMSprop
from ravine.optim._rprop import Rprop
from ravine.optim._sgd import SGD
from ravine.optim._unwrap import unwrap
from ravine.optim._variant import Variant

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Common",
    "Hyper",
    "Lion",
    "Optimizer",
    "Params",
    "Pieces",
    "RAdam",
    "RMSprop",
    "Rprop",
    "Variant",
    "pieces",
    "search",
    "unwrap",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    return _others_of_torch.find(name, __all__)
