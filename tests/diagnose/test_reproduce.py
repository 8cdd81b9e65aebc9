"""The search leaves the model as it was, and its file finds the fault again."""

import copy
import functools
import random

import numpy as np
import pytest
import torch
from faulty_models import Does, Parent, batch, net, with_zero
from torch import nn
from torch.nn.functional import mse_loss

from ravine.diagnose import find_nonfinite, reproduce
from ravine.errors import DataError, OptionError, StateError


def test_the_model_and_the_random_states_stay_as_they_were():
    model = net(nn.BatchNorm1d(8), nn.Dropout(0.5), with_zero, torch.abs, torch.log)
    inputs, targets = batch()
    model[:3](inputs).sum().backward()
    fresh = torch.zeros(())
    for p in model.parameters():
        p.register_post_accumulate_grad_hook(lambda p: fresh.add_(1))
    before = copy.deepcopy(model.state_dict())
    gradients = [p.grad for p in model.parameters()]
    values = [None if g is None else g.clone() for g in gradients]
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert find_nonfinite(model, (inputs, targets), mse_loss).module == "5"
    assert not find_nonfinite(model[:3], (inputs, None), lambda outputs, targets: outputs.mean())
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(v is None or torch.equal(g, v) for g, v in zip(gradients, values, strict=True))
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state[1:]
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert fresh == 0  # no step in the backward pass
    assert model.training


def test_dropout_draws_the_same_again(tmp_path):
    """The fault is in the elements that dropout took: another mask would count others."""

    class Drops(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x).abs().log()

    model = net(Drops())
    torch.manual_seed(7)
    taken = nn.functional.dropout(torch.ones(16, 8)).eq(0).sum()
    torch.manual_seed(7)
    finding = find_nonfinite(model, batch(), mse_loss, path=tmp_path)
    assert finding.output.minus_inf == taken
    torch.manual_seed(8)
    assert find_nonfinite(model, batch(), mse_loss) != finding
    assert not find_nonfinite(model.eval(), batch(), mse_loss)
    assert reproduce(finding.path, model) == finding  # training is the file's, too


def test_reproducing_leaves_the_model_as_it_is(tmp_path):
    model = net(nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(0.2)), Parent())
    path = find_nonfinite(model, batch(), mse_loss, path=tmp_path / "own.safetensors").path
    assert path.name == "own.safetensors"
    other = net(nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(0.2)), Parent()).eval()
    for p in other.parameters():
        p.data += 1
    before = copy.deepcopy(other.state_dict())
    assert reproduce(path, other).module == "2"
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    assert not any(m.training for m in other.modules())
    assert all(p.grad is None for p in other.parameters())


def test_the_file_holds_only_what_the_module_needs(tmp_path):
    model = net(nn.Linear(8, 8), lambda x: with_zero(x).abs().log())
    model.append(nn.Linear(2, 100_000))
    path = find_nonfinite(model, batch(), lambda outputs, targets: outputs.sum(), path=tmp_path).path
    assert path.stat().st_size < 30_000


def test_a_mended_module_gives_nothing(tmp_path):
    path = find_nonfinite(net(torch.log), batch(), mse_loss, path=tmp_path).path
    assert reproduce(path, net(lambda x: x.abs().clamp_min(1e-12).log())) is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: nn.Linear(4, 2), "the module '1', which this model does not have"),
        (lambda: net(nn.Tanh()), "there a Parent, and here a Tanh"),
        (lambda: net(smaller()), r"first.bias has shape \(8,\) in the file, \(3,\) in the model"),
    ],
)
def test_another_model_is_refused(other, message, tmp_path):
    path = find_nonfinite(net(Parent()), batch(), mse_loss, path=tmp_path).path
    with pytest.raises(DataError, match=message):
        reproduce(path, other())


def smaller():
    parent = Parent()
    parent.first = nn.Linear(3, 3)
    return parent


def test_wrong_arguments_are_refused(tmp_path):
    model = net(nn.ReLU())
    with pytest.raises(OptionError, match="with a loss it is a pair"):
        find_nonfinite(model, batch()[0], mse_loss)
    with pytest.raises(OptionError, match=r"shape \(16, 2\)"):
        find_nonfinite(model, batch(), functools.partial(mse_loss, reduction="none"))
    with pytest.raises(DataError, match="There is no checkpoint"):
        reproduce(tmp_path / "none.safetensors", model)
    from ravine._files import checkpoint

    checkpoint.save(tmp_path / "other.safetensors", {"model": {}})
    with pytest.raises(DataError, match=r"was not written by ravine\.diagnose\.find_nonfinite"):
        reproduce(tmp_path / "other.safetensors", model)
    with pytest.raises(StateError):
        asks = Does(lambda x, f: f(x))
        find_nonfinite(asks, (with_zero(batch()[0]).abs(), torch.log), path=tmp_path)


def test_a_pair_that_the_model_does_not_take_is_inputs_and_targets():
    assert find_nonfinite(net(torch.log), batch()).module == "1"
