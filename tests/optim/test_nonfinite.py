"""What happens where a gradient has a NaN or infinity: written, left out or refused."""

from __future__ import annotations

import math
import re
import warnings

import pytest
import torch
from torch.nn import Parameter

from ravine.errors import NonFiniteError, OptionError
from ravine.optim import SGD, Adam

PATHS = pytest.mark.parametrize("fused", [None, False], ids=["kernel", "eager"])
VALUES = pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
#: First, last, and on both sides of the edge of a chunk.
PLACES = pytest.mark.parametrize("place", [0, 16_383, 16_384, 40_000 - 1])


def made(fused, nonfinite, cls=Adam, **options):
    torch.manual_seed(0)
    named = [("before", Parameter(torch.randn(5))), ("empty", Parameter(torch.randn(0)))]
    named += [("large", Parameter(torch.randn(40_000))), ("after", Parameter(torch.randn(3)))]
    return [p for _, p in named], cls(named, fused=fused, nonfinite=nonfinite, **options)


def give(params, seed):
    torch.manual_seed(seed)
    for p in params:
        p.grad = torch.randn_like(p)


def everything(params, optimizer):
    kept = [p.detach().clone() for p in params]
    return kept + [v.clone() for s in optimizer.state.values() for v in s.values()]


def equal(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@PATHS
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([2], "1 of 40,000 elements that are NaN or infinite. Nothing"),
        ([2, 3], "infinite, as has that of 1 other parameter. Nothing"),
        ([0, 2, 3], "infinite, as have those of 2 other parameters. Nothing"),
    ],
)
def test_how_many_other_gradients_are_not_finite_is_said(bad, said, fused):
    params, optimizer = made(fused, "raise")
    give(params, 0)
    for place in bad:
        params[place].grad[1] = math.nan
    with pytest.raises(NonFiniteError, match=re.escape(said)):
        optimizer.step()


@PATHS
@VALUES
@PLACES
def test_raise_names_parameter_and_number_and_writes_nothing(place, value, fused):
    params, optimizer = made(fused, "raise")
    give(params, 0)
    optimizer.step()
    give(params, 1)
    params[2].grad[place] = value
    params[2].grad[17] = value
    before = everything(params, optimizer)
    count = 1 if place == 17 else 2
    with pytest.raises(NonFiniteError, match=rf"'large' \(shape \(40000,\)\) has {count} of 40,000 elements"):
        optimizer.step()
    assert equal(everything(params, optimizer), before)
    give(params, 2)
    optimizer.step()
    assert not equal(everything(params, optimizer), before)
    assert optimizer.state[params[0]]["step"].item() == 2


@PATHS
@VALUES
@PLACES
def test_skip_writes_nothing_counts_and_says_so_once(place, value, fused):
    params, optimizer = made(fused, "skip")
    others, other = made(fused, "propagate")
    for step in range(6):
        give(params, step)
        give(others, step)
        if step in (0, 3, 4):  # the very first step too: no state must be left half made
            params[2].grad[place] = value
            before = [p.detach().clone() for p in params]
            if step == 0:
                with pytest.warns(UserWarning, match="'large'.* 1 of 40,000 .*skipped"):
                    optimizer.step()
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    optimizer.step()
            assert equal([p.detach() for p in params], before)
        else:
            optimizer.step()
            other.step()
    assert optimizer.watch.skipped == 3
    assert optimizer.watch.steps == 3
    assert equal(everything(params, optimizer), everything(others, other))


@PATHS
@VALUES
def test_propagate_is_torch(value, fused):
    params, optimizer = made(fused, "propagate", lr=0.1)
    theirs = [Parameter(p.detach().clone()) for p in params]
    reference = torch.optim.Adam(theirs, lr=0.1)
    for step in range(3):
        give(params, step)
        if step == 1:
            params[2].grad[7] = value
        for p, q in zip(params, theirs, strict=True):
            q.grad = p.grad.clone()
        optimizer.step()
        reference.step()
    for p, q in zip(params, theirs, strict=True):
        assert torch.allclose(p.detach(), q.detach(), atol=1e-6, equal_nan=True)
    assert optimizer.watch.first_nonfinite == {"large": 2}


@PATHS
@pytest.mark.parametrize("policy", ["skip", "raise"])
def test_finite_gradients_step_to_the_same_bits_under_every_policy(policy, fused):
    params, optimizer = made(fused, policy, clip_norm=1.0)
    others, other = made(fused, "propagate", clip_norm=1.0)
    for step in range(4):
        give(params, step)
        give(others, step)
        optimizer.step()
        other.step()
    assert equal(everything(params, optimizer), everything(others, other))


@PATHS
def test_large_finite_gradients_are_not_refused(fused):
    params, optimizer = made(fused, "raise", cls=SGD, lr=1e-30)
    for p in params:
        p.grad = torch.full_like(p, 1e30)
    optimizer.step()


@PATHS
def test_a_bad_gradient_in_one_group_leaves_the_others_too(fused):
    a, b = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    optimizer = SGD([{"params": [a]}, {"params": [b], "clip_norm": 1.0}], lr=0.1, nonfinite="raise", fused=fused)
    a.grad, b.grad = torch.ones(3), torch.tensor([1.0, math.nan, 1.0])
    with pytest.raises(NonFiniteError, match="0 of group 1"):
        optimizer.step()
    assert torch.equal(a.detach(), torch.ones(3))


@PATHS
def test_with_a_gradient_missing(fused):
    params, optimizer = made(fused, "raise")
    give(params, 0)
    params[0].grad = None
    optimizer.step()
    params[3].grad[0] = math.nan
    with pytest.raises(NonFiniteError, match="'after'"):
        optimizer.step()


def test_the_policy_may_change_between_steps():
    params, optimizer = made(None, "propagate", cls=SGD, lr=0.1)
    give(params, 0)
    optimizer.step()
    optimizer.nonfinite = "raise"
    params[0].grad[0] = math.nan
    with pytest.raises(NonFiniteError):
        optimizer.step()
    with pytest.raises(OptionError, match="nonfinite='ignore': it is 'propagate', 'skip' or 'raise'"):
        optimizer.nonfinite = "ignore"
    assert optimizer.watch.steps == 1


def test_an_unknown_policy_is_refused_at_once():
    with pytest.raises(OptionError, match="it is 'propagate', 'skip' or 'raise'"):
        SGD([Parameter(torch.ones(1))], lr=0.1, nonfinite="drop")


@pytest.mark.parametrize("fused", [None, False, True])
def test_an_overflow_under_a_loss_scale_is_the_scalers_business(fused):
    params, optimizer = made(fused, "raise", cls=SGD, lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.ones(()))
    give(params, 0)
    params[0].grad[0] = math.inf
    before = [p.detach().clone() for p in params]
    scaler.step(optimizer)
    scaler.update()
    assert equal([p.detach() for p in params], before)
    # Without fused=True the scaler unscales by itself, and the optimizer hears nothing of a step that is left out.
    assert (optimizer.watch.overflowed, optimizer.watch.skipped) == (int(fused is True), 0)


@pytest.mark.parametrize("fused", [None, False])
def test_gradients_of_a_skipped_step_are_let_go(fused):
    import sys

    p = Parameter(torch.ones(3))
    optimizer = Adam([p], lr=0.1, nonfinite="skip", fused=fused)
    p.grad = torch.ones(3)
    optimizer.step()
    p.grad = grad = torch.full((3,), float("nan"))
    before = sys.getrefcount(grad)
    with pytest.warns(UserWarning, match="skipped"):
        optimizer.step()
    assert sys.getrefcount(grad) == before
    optimizer.bytes_moved()
    assert sys.getrefcount(grad) == before
