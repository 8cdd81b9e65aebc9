"""Optimizers with the face of ``torch.optim``: write a formula with ``Optimizer``, or take a named one.

An optimizer is added by one file beside ``rmsprop.py`` and its name here; tests, ``ravine show``, ``ravine compare``
and ``ravine bench`` find it by that.
"""

from ravine.optim._adadelta import Adadelta
from ravine.optim._adagrad import Adagrad
from ravine.optim._adam import Adam, AdamW
from ravine.optim._optimizer import Optimizer
from ravine.optim._rmsprop import RMSprop
from ravine.optim._sgd import SGD

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop"]
