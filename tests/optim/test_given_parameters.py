"""What people give as parameters and switches: it works as with torch, or the error says what to write."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from ravine.errors import OptionError, RavineError
from ravine.optim import SGD, Adagrad, Adam, Lion, RMSprop


def model():
    return nn.Linear(2, 2)


@pytest.mark.parametrize("optimizer", [Adam, Lion])
@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"param": []}, r"no 'params' \(parameter group 0\), but 'param'; write 'params'"),
        ({"parameters": []}, "but 'parameters'; write 'params'"),
        ({"Params": [], "lr": 0.1}, "but 'Params'; write 'params'"),
        ({"lr": 0.1}, r"but 'lr': \{'params': parameters, 'lr': 0.01\}"),
        ({}, "but nothing"),
    ],
)
def test_a_group_without_params(optimizer, group, message):
    with pytest.raises(OptionError, match=message):
        optimizer([group])
    made = optimizer(model().parameters())
    with pytest.raises(OptionError, match=message.replace("group 0", "group 1")):
        made.add_param_group(group)
    assert len(made.param_groups) == 1


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (lambda m: {"params": [m.weight], "lr": 0.1}, TypeError, r"one parameter group: groups come in a list, \[\{'params': ..., 'lr': ...\}\]"),
        (lambda m: m.state_dict(), TypeError, r"a dict, .* model.parameters\(\) .* tensors of a state_dict have no gradients"),
        (lambda m: dict(m.named_parameters()), TypeError, r"a dict, with names as keys: pass model.parameters\(\) or, .*named_parameters\(\)$"),
        (lambda m: Adam(m.parameters()).state_dict(), TypeError, "state dict of an optimizer.*load_state_dict"),
        (lambda m: m(torch.ones(1, m.in_features)).sum(), TypeError, r"such as a loss: the parameters come first, \w+\(model.parameters\(\)"),
        (lambda m: Adam(m.parameters()), TypeError, "params is an optimizer: pass its param_groups"),
        (lambda m: [m], TypeError, r"params\[0\] is a module \(Linear\): pass its parameters"),
        (lambda m: [[m.weight], [m.bias]], TypeError, r"params\[0\] is a list of 1: give one list, \[\*first, \*second\], or groups"),
        (lambda m: [m.parameters(), m.parameters()], TypeError, r"params\[0\] is a generator: give one list"),
        (lambda m: [{"params": m.state_dict()}], TypeError, r"params \(parameter group 0\) is a dict, with names as keys"),
        (lambda m: 0.01, TypeError, r"params is 0.01: the parameters come first, Adam\(model.parameters\(\), lr=0.01\)"),
        (lambda m: None, TypeError, "params is None: the parameters come first"),
        (lambda m: filter(lambda p: False, m.parameters()), ValueError, "params is a filter that gives nothing: .* used up before"),
    ],
)  # fmt: skip
def test_what_are_no_parameters(params, error, message):
    with pytest.raises(error, match=message) as caught:
        Adam(params(model()))
    assert not isinstance(caught.value, RavineError) or error is OptionError


def test_a_generator_that_is_used_twice():
    generator = model().parameters()
    Adam(generator)
    with pytest.raises(
        ValueError, match=r"a generator that gives nothing: it has been used up before.*model.parameters\(\)"
    ):
        Adam(generator)
    generator = model().parameters()
    with pytest.warns(UserWarning, match=r"params \(parameter group 1\) are a generator that gives nothing"):
        optimizer = SGD([{"params": generator}, {"params": generator, "lr": 0.1}])
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 0]


def test_what_torch_takes_is_taken_without_a_word():
    m = model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for params in (
            m.parameters(), m.named_parameters(), list(m.parameters()), tuple(m.parameters()), set(m.parameters()),
            [{"params": m.parameters()}], [{"params": m.weight}, {"params": (m.bias,), "lr": 0.5}], [{"params": []}],
            dict(m.named_parameters()).values(), [{"params": m.named_parameters()}],
        ):  # fmt: skip
            Adam(params)
            torch.optim.Adam(params if not hasattr(params, "__next__") else m.parameters())


@pytest.mark.parametrize("key", ["learning_rate", "beta_1", "beta1", "wd", "epsilon"])
def test_another_librarys_word_in_a_group_is_warned_of(key):
    with pytest.warns(UserWarning, match=rf"the key '{key}' \(parameter group 0\) is not an option"):
        optimizer = Adam([{"params": model().parameters(), key: 0.1}])
    assert optimizer.param_groups[0][key] == 0.1


def test_another_librarys_word_is_warned_of_where_a_group_is_looked_at_anew():
    m = model()
    optimizer = Adam(m.parameters())
    m(torch.ones(1, m.in_features)).sum().backward()
    optimizer.step()
    optimizer.param_groups[0] |= {"learning_rate": 0.1, "lr": 0.01}
    with pytest.warns(UserWarning, match="the key 'learning_rate' .* Did you mean 'lr'"):
        optimizer.step()


@pytest.mark.parametrize(("cls", "hint"), [(Adam, r"\. Did you mean 'betas'\?$"), (Adagrad, "$")])
def test_a_momentum_in_a_group_of_an_optimizer_without_one_is_warned_of(cls, hint):
    said = rf"the key 'momentum' \(parameter group 0\) is not an option of this optimizer, so it changes nothing{hint}"
    with pytest.warns(UserWarning, match=said):
        cls([{"params": model().parameters(), "momentum": 0.9}])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cls([{"params": model().parameters(), "momentum": 0}])
        cls(torch.optim.SGD(model().parameters(), lr=0.1, momentum=0.9).param_groups)
        cls(torch.optim.RMSprop(model().parameters(), momentum=0.9).param_groups)


SWITCHES = [
    (Adam, "amsgrad"), (Adam, "maximize"), (Adam, "decoupled_weight_decay"), (SGD, "nesterov"), (SGD, "lr_in_momentum"),
    (RMSprop, "centered"), (Adagrad, "eps_inside_root"), (Lion, "maximize"),
]  # fmt: skip


@pytest.mark.parametrize(("optimizer", "name"), SWITCHES)
def test_a_switch_is_named_as_one(optimizer, name):
    others = {"momentum": 0.9} if optimizer is SGD else {}
    for wrong in ("yes", "true", 0.5, 2, None, [True]):
        with pytest.raises(OptionError, match=rf"{name}=.* \(parameter group 0\): it is a switch, True or False"):
            optimizer(model().parameters(), **{**others, name: wrong})
    for group in ({name: "no"}, {name: 3}):
        with pytest.raises(OptionError, match="it is a switch, True or False"):
            optimizer([{"params": model().parameters(), **group}], **others)


@pytest.mark.parametrize(("optimizer", "name"), SWITCHES)
@pytest.mark.parametrize("on", [1, np.True_])
def test_whole_numbers_and_numpys_flags_switch(optimizer, name, on):
    """As with torch, 1 is on and 0 off; the step is that of True and False."""
    others = {"fused": False} | ({"momentum": 0.9} if optimizer is SGD else {})  # kernels come of the same formula
    for given, meant in ((on, True), (type(on)(0), False)):
        ends = []
        for value in (given, meant):
            for in_group in (False, True):
                p = torch.full((3,), 2.0, requires_grad=True)
                options = {name: value}
                groups = [{"params": [p], **(options if in_group else {})}]
                made = optimizer(groups, lr=0.1, weight_decay=0.1, **others, **({} if in_group else options))
                for gradient in (0.5, -1.5, 0.1):
                    p.grad = torch.full((3,), gradient)
                    made.step()
                ends.append(p.detach().clone())
        assert all(torch.equal(end, ends[0]) for end in ends)
