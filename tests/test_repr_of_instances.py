"""What a user holds says what it is, and not where in memory it lies."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import torch
from test_public_names import PUBLIC, names_of
from torch.nn.functional import mse_loss
from torch.optim.lr_scheduler import StepLR

from ravine import backends, contour, diagnose, tasks, train
from ravine.formula import Piece, param_copy, reduced, scalar, squares, tensor_function, tensor_state, trace_formula
from ravine.integrations import Follower
from ravine.optim import RMSprop, pieces, search
from ravine.train import Batches, FitState, Learner, Stream


def public_classes() -> list[type]:
    """Every class that a public module shows, without errors and protocols."""
    found = [getattr(importlib.import_module(module), name) for module in PUBLIC for name in names_of(module)]
    classes = [one for one in found if inspect.isclass(one) and not issubclass(one, BaseException)]
    return [one for one in classes if not getattr(one, "_is_protocol", False)]


#: A batch is the business of an optimizer's plan.
BATCHES = {"Fused", "MatrixFused", "SparseFused", "DeviceBatch", "MatrixDeviceBatch"}


def test_every_public_class_says_what_it_is():
    silent = {one.__name__ for one in public_classes() if one.__repr__ is object.__repr__}
    assert silent - BATCHES == set()


@tensor_function
def orthogonalize(x: Any) -> Any:
    return x


def held() -> list[Any]:
    """What a user makes, and what is made of it."""
    torch.manual_seed(0)
    data = Batches(torch.randn(8, 2), torch.randn(8, 1), 4)
    learn = Learner(torch.nn.Linear(2, 1), (data, data), mse_loss, RMSprop, quiet=True)
    learn.fit(1, lr=0.01)
    optimizer = learn.optimizer
    explored = contour.explore("beale", ["sgd"], rates=2, starts=1, steps=2)
    fit = learn.loop.fit
    return [
        *(orthogonalize, squares(0.0), scalar(1.0), reduced(0.0, dim=-1), param_copy, tensor_state(torch.zeros_like)),
        *(Piece(pieces.ema), optimizer.program(), pieces.clip_norm, search.log(1e-5, 0.1)),
        *(optimizer, optimizer.watch, optimizer.watch.last, optimizer.watch.history, *optimizer.watch.last.rows),
        *(RMSprop.hypers, RMSprop.variants, Follower(optimizer), backends.STATISTICS),
        *(learn, learn.recorder, data, Stream([torch.zeros(1)], 1), fit, FitState(1)),
        *(train.BestCheckpoint(), train.EarlyStopping(), train.GradientAccumulation(2), train.GradientClipping(1.0)),
        *(train.HyperSchedule(lr=abs), train.MixedPrecision(), train.OneCycle(0.1), train.ReduceOnPlateau()),
        *(train.StopOnNaN(), train.TensorBoard("folder"), train.TorchScheduler(StepLR, 3), diagnose.FindNonFinite()),
        *(explored, *explored.record.entries, contour.play("beale", ["sgd"]), tasks.find("digits")),
        *(diagnose.diagnose(learn), diagnose.evidence_of(learn)),
        diagnose.find_nonfinite(torch.nn.Linear(2, 1), torch.full((1, 2), torch.nan)),
        diagnose.find_nonfinite(torch.nn.Linear(2, 1), torch.zeros(1, 2)),
    ]


def test_a_state_dict_knows_the_formula_of_an_average_of_squares_by_its_number():
    """How a start is shown is no part of a formula's hash: state dicts of before are loaded without a word."""

    def named(param: Any, average: Any = squares(0.0), *, grad: Any) -> Any:
        return param - grad / average, average + grad**2

    def plain(param: Any, average: Any = 0.0, *, grad: Any) -> Any:
        return param - grad / average, average + grad**2

    assert trace_formula([named], {}).fingerprint == trace_formula([plain], {}).fingerprint


@pytest.mark.usefixtures("one_thread")
def test_no_instance_shows_its_address():
    assert repr([orthogonalize, squares(0.0)]) == "[tensor_function(orthogonalize), squares(0.0)]"
    assert {type(one).__name__: repr(one) for one in held() if " object at 0x" in repr(one)} == {}
