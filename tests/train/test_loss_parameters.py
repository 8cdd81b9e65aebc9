"""Parameters that a loss has are trained with the model's; what is trainable and is not trained is named."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ravine import optim
from ravine.errors import StateError
from ravine.train import Batches, Callback, Learner

INPUTS = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
CLASSES = (INPUTS[:, 0] > 0).long()


class Weighted(nn.Module):
    """Uncertainty weighting: the loss learns its own scale."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.fixed = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.fixed * cross_entropy(outputs, targets) * (-self.log_scale).exp() + self.log_scale


def net() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 2)


def data() -> Batches:
    return Batches(INPUTS, CLASSES, 16, shuffle=False)


@pytest.mark.parametrize("opt_func", [optim.Adam, torch.optim.Adam])
def test_they_are_trained_as_by_hand(opt_func):
    model, loss = net(), Weighted()
    optimizer = torch.optim.Adam([*model.parameters(), loss.log_scale], lr=0.1)
    for x, y in list(data()) * 3:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
    learn = Learner(net(), (data(), data()), Weighted(), opt_func, [], quiet=True)
    learn.fit(3, 0.1)
    torch.testing.assert_close(learn.loss_func.log_scale, loss.log_scale)
    torch.testing.assert_close(learn.model.weight, model.weight)
    with torch.no_grad():
        expected = loss(model(INPUTS), CLASSES).item()
    assert learn.validate()["valid_loss"] == pytest.approx(expected, rel=1e-5)
    before = learn.loss_func.log_scale.clone()
    learn.lr_find(1e-4, 1.0, 10, 1)
    assert torch.equal(learn.loss_func.log_scale, before)


def test_they_are_in_checkpoints(tmp_path):
    learn = Learner(net(), (data(), None), Weighted(), optim.Adam, quiet=True, folder=tmp_path / "run")
    learn.fit(3, 0.1, checkpoint_every="epoch")
    again = Learner(net(), (data(), None), Weighted(), optim.Adam, quiet=True)
    again.load(tmp_path / "run" / "checkpoint.safetensors")
    assert torch.equal(again.loss_func.log_scale, learn.loss_func.log_scale)
    plain = Learner(net(), (data(), None), cross_entropy, optim.Adam, quiet=True)
    plain.fit(1, 0.1)
    plain.save(tmp_path / "plain.safetensors")
    with pytest.raises(StateError, match="is of another loss"):
        again.load(tmp_path / "plain.safetensors")


def test_a_loss_that_is_part_of_the_model_is_trained_once():
    model = nn.Sequential(net())
    model.add_module("loss", Weighted())
    whole = model.loss
    model.forward = lambda x: model[0](x)
    learn = Learner(model, (data(), None), whole, optim.Adam, quiet=True)
    learn.fit(1, 0.1)
    assert sum(len(group["params"]) for group in learn.optimizer.param_groups) == 4


def said_by(learn: Learner) -> list[str]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        learn.fit(1, 0.1)
    return [str(one.message) for one in said]


def test_what_a_function_holds_is_said_not_to_be_trained():
    scale = torch.zeros((), requires_grad=True)
    loss = lambda o, t: cross_entropy(o, t) * (-scale).exp() + scale  # noqa: E731
    (sentence,) = said_by(Learner(net(), (data(), None), loss, optim.Adam, quiet=True))
    assert "1 tensor of shape () that require a gradient" in sentence
    assert "Make the loss a torch.nn.Module" in sentence
    given = Learner(net(), (data(), None), loss, lambda ps: optim.Adam([*ps, scale]), quiet=True)
    assert said_by(given) == []
    assert scale.item() != 0


def test_inputs_that_require_a_gradient_are_no_parameters():
    batch = (INPUTS.clone().requires_grad_(), CLASSES)
    assert said_by(Learner(net(), ([batch], None), cross_entropy, optim.Adam, quiet=True)) == []


def test_parameters_in_no_group_are_named():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    head = lambda ps: optim.Adam([p for p in model.parameters() if p.requires_grad])  # noqa: E731
    learn = Learner(model, (data(), None), cross_entropy, head, quiet=True)
    assert said_by(learn) == []
    model[0].requires_grad_(True)
    (sentence,) = said_by(learn)
    assert sentence.startswith("0.weight, 0.bias are trainable, but in no parameter group of the optimizer")
    learn.optimizer.add_param_group({"params": list(model[0].parameters())})
    assert said_by(learn) == []
    model[0].requires_grad_(False)
    unfreezes = type("Unfreezes", (Callback,), {"before_epoch": lambda self, fit: fit.model[0].requires_grad_(True)})
    again = Learner(model, (data(), None), cross_entropy, head, quiet=True, callbacks=[unfreezes()])
    assert [sentence.split(" are")[0] for sentence in said_by(again)] == ["0.weight, 0.bias"]
    own = Learner(net(), (data(), None), Weighted(), lambda ps: optim.Adam(net_of.parameters()), quiet=True)
    net_of = own.model
    assert said_by(own)[0].startswith("loss.log_scale is trainable")
