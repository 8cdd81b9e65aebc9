"""Warnings point at the line that the user wrote, wherever in the library they are made."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from ravine.optim import SGD, RMSprop
from ravine.train import Batches, Learner

X = torch.linspace(-1, 1, 16)[:, None]


def learner(targets=X, optimizer=RMSprop):
    data = Batches(X, targets, 8, shuffle=False)
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    return Learner(model, (data, data), F.mse_loss, optimizer, quiet=True)


def broadcast():
    learner(X[:, 0]).fit(1, lr=0.01)


def broken_data():
    learner(X / 0).fit(1, lr=0.01)


def not_in_a_group():
    learn = learner()
    learn.opt_func = lambda _: SGD(learn.model[:1].parameters(), lr=0.1)
    learn.fit_one_cycle(1, 0.1)


def random_order():
    learner().predict(DataLoader(TensorDataset(X, X), 4, shuffle=True))


def skipped():
    parameter = nn.Parameter(torch.ones(3))
    optimizer = SGD([parameter], lr=0.1, nonfinite="skip")
    parameter.grad = torch.full((3,), torch.nan)
    optimizer.step()


def misspelt():
    SGD([{"params": [nn.Parameter(torch.ones(3))], "momentun": 0.9}], lr=0.1)


@pytest.mark.parametrize("makes", [broadcast, broken_data, not_in_a_group, random_order, skipped, misspelt])
def test_a_warning_points_at_the_users_line(makes):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        makes()
    ours = [one for one in caught if not str(one.message).startswith("Using a target size")]
    assert ours
    assert {one.filename for one in ours} == {__file__}
