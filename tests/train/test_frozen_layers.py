"""Layers that were frozen stay so, and a last batch of one row is no surprise to batch normalization."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from ravine.errors import TrainingError
from ravine.optim import SGD
from ravine.train import Batches, Callback, Learner

INPUTS = torch.randn(33, 3, generator=torch.Generator().manual_seed(0))
CLASSES = (INPUTS[:, 0] > 0).long()


def model() -> nn.Sequential:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    return nn.Sequential(backbone, nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def learner(net: nn.Module, rows: int = 32, **options) -> Learner:
    data = Batches(INPUTS[:rows], CLASSES[:rows], 8)
    return Learner(net, (data, data), cross_entropy, SGD, quiet=True, **options)


def modes(learn: Learner) -> set[tuple[bool, ...]]:
    """Which of the backbone's normalization and dropout, and of the other normalization, train in a fit's batches."""
    seen = set()
    backbone, _, norm, _ = learn.model
    learn.model.register_forward_hook(
        lambda *_: (
            seen.add((backbone[1].training, backbone[2].training, norm.training)) if torch.is_grad_enabled() else None
        )
    )
    learn.fit(2, 0.1)
    return seen


def freeze_backbone(net):
    net[0].requires_grad_(False).eval()


def test_everything_trains_where_nothing_is_frozen():
    assert modes(learner(model())) == {(True, True, True)}
    assert modes(learner(model().eval())) == {(True, True, True)}


def test_a_frozen_backbone_stays_in_evaluation_mode():
    net = model()
    freeze_backbone(net)
    before = {name: value.clone() for name, value in net[0].state_dict().items()}
    learn = learner(net)
    assert modes(learn) == {(False, False, True)}
    learn.lr_find(1e-4, 1.0, 10, 1)
    assert modes(learn) == {(False, False, True)}
    assert all(torch.equal(value, before[name]) for name, value in net[0].state_dict().items())
    assert learn.model[2].num_batches_tracked == 16


def test_normalization_alone_is_frozen_by_eval():
    net = model()
    net[2].eval()
    net[0][2].eval()  # dropout has nothing that could be frozen
    assert modes(learner(net)) == {(True, True, False)}


@pytest.mark.parametrize("hook", ["before_fit", "before_epoch"])
def test_a_callback_freezes(hook):
    freezes = type("Freezes", (Callback,), {hook: lambda self, fit: freeze_backbone(fit.model)})
    assert modes(learner(model(), callbacks=[freezes()])) == {(False, False, True)}


# --- one row left over -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loader", [lambda *d: Batches(*d, 8), lambda *d: DataLoader(TensorDataset(*d), 8)])
def test_one_row_that_is_left_over_is_found_before_anything_is_trained(loader):
    net = model()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.get_rng_state()
    learn = Learner(net, (loader(INPUTS, CLASSES), None), cross_entropy, SGD, quiet=True)
    for fails in (lambda: learn.fit(1, 0.1), learn.lr_find, learn.dry_run):
        with pytest.raises(TrainingError, match=r"1 row left over.*drop_last=True.* another batch_size"):
            fails()
    assert len(learn.recorder) == 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_loader_whose_last_row_cannot_be_foreseen():
    data = [(INPUTS[:8], CLASSES[:8]), (INPUTS[8:9], CLASSES[8:9])]
    with pytest.raises(TrainingError, match="1 row left over"):
        Learner(model(), (data, None), cross_entropy, SGD, quiet=True).fit(1, 0.1)


def test_one_row_is_no_fault_where_it_can_be_trained_on():
    frozen = model()
    frozen[0][1].eval()
    frozen[2].eval()
    for net in (frozen, nn.Linear(3, 2)):
        learner(net, 33).fit(1, 0.1)
    dropped = Batches(INPUTS, CLASSES, 8, drop_last=True)
    learn = Learner(model(), (dropped, dropped), cross_entropy, SGD, quiet=True)
    learn.fit(1, 0.1)
    assert len(learn.recorder) == 4
    assert learn.validate()["valid_loss"] == pytest.approx(
        float(cross_entropy(learn.predict(INPUTS), CLASSES)), rel=1e-5
    )  # all 33 rows are validated on
    pictures = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 2))
    data = Batches(torch.randn(9, 1, 5, 5), CLASSES[:9], 4)
    Learner(pictures, (data, None), cross_entropy, SGD, quiet=True).fit(1, 0.1)
