"""Optimizers with the face of ``torch.optim``: write a formula with ``Optimizer``, or take a named one.

An optimizer is added by one file beside ``_rmsprop.py`` and its name here; tests, ``ravine show``, ``ravine compare``
and ``ravine bench`` find it by that. What torch.optim has beside these (``lr_scheduler``, ``swa_utils``, ``LBFGS``, ...)
is found here too, and is torch's own.
"""

from typing import Any

from ravine.optim import _others_of_torch, pieces, search
from ravine.optim._adabelief import AdaBelief
from ravine.optim._adadelta import Adadelta
from ravine.optim._adafactor import Adafactor
from ravine.optim._adagrad import Adagrad
from ravine.optim._adam import Adam, AdamW
from ravine.optim._adamax import Adamax
from ravine.optim._adammini import AdamMini
from ravine.optim._adan import Adan
from ravine.optim._ademamix import AdEMAMix
from ravine.optim._adopt import ADOPT
from ravine.optim._asgd import ASGD
from ravine.optim._came import CAME
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._lamb import LAMB
from ravine.optim._laprop import LaProp
from ravine.optim._lars import LARS
from ravine.optim._lion import Lion
from ravine.optim._madgrad import MADGRAD
from ravine.optim._mars import MARS
from ravine.optim._muon import Muon
from ravine.optim._nadam import NAdam
from ravine.optim._normuon import NorMuon
from ravine.optim._novograd import NovoGrad
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim._prodigy import Prodigy
from ravine.optim._psgdkron import PSGDKron
from ravine.optim._qhadam import QHAdam
from ravine.optim._radam import RAdam
from ravine.optim._rmsprop import RMSprop
from ravine.optim._rprop import Rprop
from ravine.optim._schedule_free import AdamWScheduleFree, SGDScheduleFree
from ravine.optim._sgd import SGD
from ravine.optim._sgdw import SGDW
from ravine.optim._shampoo import Shampoo
from ravine.optim._signum import Signum
from ravine.optim._soap import SOAP
from ravine.optim._sparseadam import SparseAdam
from ravine.optim._stableadamw import StableAdamW
from ravine.optim._unwrap import unwrap
from ravine.optim._variant import Variant
from ravine.optim._yogi import Yogi

__all__ = [
    "ADOPT",
    "ASGD",
    "CAME",
    "LAMB",
    "LARS",
    "MADGRAD",
    "MARS",
    "SGD",
    "SGDW",
    "SOAP",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamMini",
    "AdamW",
    "AdamWScheduleFree",
    "Adamax",
    "Adan",
    "Common",
    "Hyper",
    "LaProp",
    "Lion",
    "Muon",
    "NAdam",
    "NorMuon",
    "NovoGrad",
    "Optimizer",
    "PSGDKron",
    "Params",
    "Pieces",
    "Prodigy",
    "QHAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGDScheduleFree",
    "Shampoo",
    "Signum",
    "SparseAdam",
    "StableAdamW",
    "Variant",
    "Yogi",
    "pieces",
    "search",
    "unwrap",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    return _others_of_torch.find(name, __all__)
