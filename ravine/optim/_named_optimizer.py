"""What the class of a named optimizer says of itself: everything else (ranges, searches, rates, tables, pages) reads it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._variant import Variant
from ravine.optim.pieces import HYPERS


class NamedOptimizer:
    """Declarations, with what holds where a class has none."""

    #: The paper, with its year and equation.
    reference: ClassVar[str] = ""
    #: When to take it, and why its defaults are what they are.
    advice: ClassVar[str] = ""
    #: What each hyperparameter may be, and where a comparison searches it.
    hypers: ClassVar[Mapping[str, Hyper]] = HYPERS
    #: For a first look at each task, of a grid of 1, 2, 5 times powers of ten: of the best two or three the smallest.
    rates: ClassVar[Mapping[str, float]] = {}
    #: The names of optimizers that it becomes, each with the hyperparameters that lead there, as a comparison names them, and
    #: their values (Choi et al., 2019): where these were searched, it must not lose to them.
    becomes: ClassVar[Mapping[str, Mapping[str, float]]] = {}
    #: Settings that have a name of their own.
    variants: ClassVar[Mapping[str, Variant]] = {}
    #: Where torch's class of the same name keeps no such state: what it stands for in a state dict of torch.
    not_in_torch: ClassVar[Mapping[str, float]] = {}
    #: Whether states exist before the first step, as in torch's class.
    states_at_once: ClassVar[bool] = False
    #: Its pieces, from those of a group's options that are named as arguments.
    formula: ClassVar[Callable[..., Pieces] | None] = None
