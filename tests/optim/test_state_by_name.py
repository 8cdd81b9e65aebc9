"""``load_state_dict(match="name")``: parameters in another order, in other groups, new ones and ones that are gone."""

import copy
import warnings

import pytest
import torch
from torch import nn

from ravine.errors import OptionError, StateError
from ravine.optim import SGD, Adam, AdamW, Muon


def net(*, extra=False, turned=False):
    torch.manual_seed(0)
    layers = [("first", nn.Linear(4, 3)), ("last", nn.Linear(3, 2))]
    if extra:
        layers.insert(1, ("middle", nn.Linear(3, 3)))
    return nn.ModuleDict(dict(reversed(layers) if turned else layers))


def step(model, optimizer, k):
    for name, p in model.named_parameters():
        p.grad = torch.full_like(p, 0.1 * (k + 1) + len(name) / 10)
    optimizer.step()


def trained(model, make, steps=3):
    optimizer = make(model)
    for k in range(steps):
        step(model, optimizer, k)
    return optimizer


@pytest.mark.parametrize("cls", [Adam, AdamW, Muon, SGD], ids=lambda c: c.__name__)
def test_in_another_order_and_other_groups_training_goes_on_bit_for_bit(cls):
    model, other = net(), net(turned=True)
    optimizer = trained(model, lambda m: cls(m.named_parameters(), lr=0.02))
    saved = copy.deepcopy(optimizer.state_dict())
    other.load_state_dict(model.state_dict())
    named = list(other.named_parameters())
    fresh = cls([{"params": named[:1]}, {"params": named[1:]}], lr=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh.load_state_dict(saved, match="name")
    assert [g["lr"] for g in fresh.param_groups] == [0.02, 0.02]
    for k in range(3, 6):
        step(model, optimizer, k)
        step(other, fresh, k)
    for name, p in model.named_parameters():
        assert torch.equal(p, dict(other.named_parameters())[name])


def test_new_parameters_begin_anew_and_those_that_are_gone_are_told_in_one_table():
    model, larger = net(), net(extra=True)
    optimizer = trained(model, lambda m: Adam(m.named_parameters(), lr=0.02))
    fresh = Adam(larger.named_parameters(), lr=0.5)
    told = r"2 parameters have no partner\n  middle.weight  begins anew: not in the state dict\n  middle.bias    begins anew"
    with pytest.warns(UserWarning, match=told) as warned:
        fresh.load_state_dict(optimizer.state_dict(), match="name")
    assert {w.filename for w in warned} == {__file__}
    assert larger["middle"].weight not in fresh.state
    assert torch.equal(fresh.state[larger["last"].weight]["exp_avg"], optimizer.state[model["last"].weight]["exp_avg"])
    step(larger, fresh, 0)
    assert (fresh.state[larger["middle"].weight]["step"], fresh.state[larger["last"].weight]["step"]) == (1, 4)
    with pytest.warns(UserWarning, match="middle.bias    left out: not here"):
        optimizer.load_state_dict(fresh.state_dict(), match="name")


def test_torchs_own_state_dict_with_names():
    model, other = net(), net(turned=True)
    theirs = trained(model, lambda m: torch.optim.Adam(m.named_parameters(), lr=0.02))
    fresh = Adam(other.named_parameters())
    fresh.load_state_dict(theirs.state_dict(), match="name")
    assert torch.equal(fresh.state[other["first"].bias]["exp_avg_sq"], theirs.state[model["first"].bias]["exp_avg_sq"])


def test_a_group_of_new_parameters_keeps_its_options():
    model, larger = net(), net(extra=True)
    optimizer = trained(model, lambda m: Adam(m.named_parameters(), lr=0.02))
    named = dict(larger.named_parameters())
    new = [(n, p) for n, p in named.items() if n.startswith("middle")]
    old = [(n, p) for n, p in named.items() if not n.startswith("middle")]
    fresh = Adam([{"params": new, "lr": 0.7}, {"params": old}], lr=0.5)
    with pytest.warns(UserWarning, match="no partner"):
        fresh.load_state_dict(optimizer.state_dict(), match="name")
    assert [g["lr"] for g in fresh.param_groups] == [0.7, 0.02]


def test_names_given_later_count_and_those_that_are_not_there_are_an_error():
    model, other = net(), net(turned=True)
    optimizer = trained(model, lambda m: Adam(m.named_parameters()))
    fresh = Adam(other.parameters())
    with pytest.raises(StateError, match=r"does not know the names.*name_parameters"):
        fresh.load_state_dict(optimizer.state_dict(), match="name")
    fresh.name_parameters(other)
    fresh.load_state_dict(optimizer.state_dict(), match="name")
    assert "param_names" not in fresh.param_groups[0]
    assert torch.equal(fresh.state[other["last"].bias]["exp_avg"], optimizer.state[model["last"].bias]["exp_avg"])
    with pytest.raises(StateError, match=r"no names of parameters in group 0.*named_parameters"):
        fresh.load_state_dict(trained(net(), lambda m: Adam(m.parameters())).state_dict(), match="name")
    with pytest.raises(OptionError, match="match='names': it is 'order', as torch, or 'name'"):
        fresh.load_state_dict(optimizer.state_dict(), match="names")


def test_another_shape_or_formula_under_the_same_name_loads_nothing():
    model = net()
    optimizer = trained(model, lambda m: Adam(m.named_parameters()))
    other = nn.ModuleDict({"first": nn.Linear(4, 5), "last": nn.Linear(3, 2)})
    fresh = Adam(other.named_parameters())
    with pytest.raises(StateError, match=r"first\.weight.*\(3, 4\)"):
        fresh.load_state_dict(optimizer.state_dict(), match="name")
    assert not fresh.state
    with pytest.raises(StateError, match="another formula"):
        SGD(model.named_parameters(), momentum=0.9).load_state_dict(optimizer.state_dict(), match="name")


def test_the_default_is_torchs_rule():
    optimizer = trained(net(), lambda m: Adam(m.named_parameters()))
    with pytest.raises(StateError, match=r"another order or have other names"):
        Adam(net(turned=True).named_parameters()).load_state_dict(optimizer.state_dict())
