"""The average of the parameters that is kept in the pass that steps, against torch's own AveragedModel."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ravine.errors import OptionError, ParameterError
from ravine.optim import SGD, Adam, Optimizer, RMSprop, pieces

PATHS = pytest.mark.parametrize("fused", [None, False], ids=["kernel", "eager"])


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 20), nn.Tanh(), nn.Linear(20, 1)).double()


def loss_of(made, step):
    x = torch.randn(16, 5, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
    return (made(x) - x.sum(1, keepdim=True)).square().mean()


def train(made, optimizer, steps, after=lambda: None):
    for step in steps:
        optimizer.zero_grad()
        loss_of(made, step).backward()
        optimizer.step()
        after()


def weights(made):
    return [p.detach().clone() for p in made.parameters()]


@PATHS
def test_the_average_is_torchs(fused):
    ours, theirs = model(), model()
    # torch's average begins as a copy at its first update, which is after the first step
    averaged = AveragedModel(theirs, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    averaged.n_averaged.fill_(1)
    mine = RMSprop(ours.parameters(), lr=0.01, ema_decay=0.9, fused=fused)
    reference = torch.optim.RMSprop(theirs.parameters(), lr=0.01)
    train(ours, mine, range(30))
    train(theirs, reference, range(30), after=lambda: averaged.update_parameters(theirs))
    before = weights(ours)
    with mine.averaged():
        inside = weights(ours)
        inner = loss_of(ours, 99).item()
    for a, b in zip(inside, averaged.module.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-10)
    assert inner == pytest.approx(loss_of(averaged.module, 99).item())
    assert all(map(torch.equal, weights(ours), before)), "outside, the parameters are their own again"
    assert not any(map(torch.equal, inside, before))


def test_the_piece_and_the_option_are_the_same():
    a, b = model(), model()
    first = Optimizer(a.parameters(), [pieces.descend, pieces.ema(0.8)], lr=0.1)
    second = SGD(b.parameters(), lr=0.1, ema_decay=0.8)
    train(a, first, range(5))
    train(b, second, range(5))
    with first.averaged(), second.averaged():
        assert all(map(torch.equal, weights(a), weights(b)))


def test_exact_under_resume():
    whole, half = model(), model()
    first, second = Adam(whole.parameters(), ema_decay=0.95), Adam(half.parameters(), ema_decay=0.95)
    train(whole, first, range(20))
    train(half, second, range(10))
    resumed = model()
    resumed.load_state_dict(half.state_dict())
    third = Adam(resumed.parameters(), ema_decay=0.95)
    third.load_state_dict(copy.deepcopy(second.state_dict()))
    train(resumed, third, range(10, 20))
    assert all(map(torch.equal, weights(whole), weights(resumed)))
    with first.averaged(), third.averaged():
        assert all(map(torch.equal, weights(whole), weights(resumed)))


def test_training_goes_on_afterwards_as_if_nothing_had_been():
    a, b = model(), model()
    first, second = Adam(a.parameters(), ema_decay=0.9), Adam(b.parameters(), ema_decay=0.9)
    train(a, first, range(10))
    train(b, second, range(5))
    with second.averaged():
        loss_of(b, 0).item()
    train(b, second, range(5, 10))
    assert all(map(torch.equal, weights(a), weights(b)))


def test_an_error_inside_leaves_the_parameters_as_they_were():
    made = model()
    optimizer = SGD(made.parameters(), lr=0.1, ema_decay=0.9)
    train(made, optimizer, range(3))
    before = weights(made)
    with pytest.raises(ZeroDivisionError), optimizer.averaged():
        1 / 0  # noqa: B018
    assert all(map(torch.equal, weights(made), before))


def test_what_cannot_be_averaged_says_why():
    made = model()
    optimizer = SGD(made.parameters(), lr=0.1)
    with pytest.raises(OptionError, match="ema_decay=0.999"), optimizer.averaged():
        pass
    averaging = SGD(made.parameters(), lr=0.1, ema_decay=0.9)
    train(made, averaging, range(1))
    with averaging.averaged():
        with pytest.raises(ParameterError, match="step outside"):
            averaging.step()
        with pytest.raises(OptionError, match="leave out the inner"), averaging.averaged():
            pass
    for value in (1.0, -0.1, "a"):
        with pytest.raises(OptionError, match="ema_decay"):
            SGD(made.parameters(), lr=0.1, ema_decay=value)


def test_before_the_first_step_the_average_is_the_parameter():
    made = model()
    optimizer = SGD(made.parameters(), lr=0.1, ema_decay=0.9)
    before = weights(made)
    with optimizer.averaged():
        assert all(map(torch.equal, weights(made), before))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@PATHS
def test_the_average_of_16_bit_parameters_moves(dtype, fused):
    p = nn.Parameter(torch.ones(3, dtype=dtype))
    optimizer = SGD([p], lr=2e-3, ema_decay=0.999, fused=fused)
    wanted = 1.0
    for _ in range(500):
        p.grad = torch.ones_like(p)
        optimizer.step()
        wanted = 0.999 * wanted + 0.001 * p.detach().float()[0].item()
    before = p.detach().clone()
    with optimizer.averaged():
        assert p.detach().float()[0].item() == pytest.approx(wanted, abs=2e-3)
    assert torch.equal(p.detach(), before)
    assert optimizer.state[p]["param_avg"][0].item() == pytest.approx(wanted, rel=1e-3)


def test_what_is_saved_or_copied_inside_is_whole():
    made = model()
    optimizer = SGD(made.parameters(), lr=0.1, ema_decay=0.9)
    train(made, optimizer, range(5))
    with optimizer.averaged():
        inside = weights(made)
        saved = copy.deepcopy(optimizer.state_dict())
        copied = copy.deepcopy(optimizer)
    averages = [s["param_avg"] for s in saved["state"].values()]
    assert all(map(torch.equal, averages, inside))
    other = copied.param_groups[0]["params"]
    for p in other:
        p.grad = torch.ones_like(p)
    copied.step()
    with copied.averaged():
        pass


def test_only_groups_that_keep_an_average_are_averaged():
    a, b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    optimizer = SGD([{"params": [a]}, {"params": [b]}], lr=1.0, ema_decay=0.5)
    for step in range(5):
        if step == 1:
            optimizer.param_groups[0]["ema_decay"] = None
        a.grad, b.grad = torch.ones(2), torch.ones(2)
        optimizer.step()
    with optimizer.averaged():
        assert a[0].item() == -5.0
        assert b[0].item() > -5.0


def test_state_dicts_of_optimizers_without_an_average():
    made = model()
    theirs = torch.optim.SGD(made.parameters(), lr=0.1, momentum=0.9)
    train(made, theirs, range(2))
    ours = SGD(made.parameters(), lr=0.1, momentum=0.9, ema_decay=0.9)
    ours.load_state_dict(theirs.state_dict())
    train(made, ours, range(1))
    with ours.averaged():
        pass
    plain = SGD(made.parameters(), lr=0.1, momentum=0.9)
    train(made, plain, range(1))
    with pytest.warns(UserWarning, match=r"without ema_decay=0\.9, which is off"):
        ours.load_state_dict(plain.state_dict())
