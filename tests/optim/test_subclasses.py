"""Tensor subclasses that lack operations, and tensors without values: nothing fails after something was written."""

from __future__ import annotations

import pytest
import torch
from torch.nn import Parameter

from ravine.backends import _eager
from ravine.optim import SGD, Adagrad, Adam, RMSprop


def lacking(*names):
    """A tensor subclass without these operations."""

    class Lacking(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if getattr(func, "__name__", "") in names:
                raise NotImplementedError(f"no {names[0]}")
            return super().__torch_function__(func, types, args, kwargs or {})

    return Lacking


def given(*params):
    for p in params:
        p.grad = torch.full_like(p.detach().as_subclass(torch.Tensor), 2.0)
    return params


def test_figures_that_cannot_be_had_are_nan_and_the_step_is_made_once():
    """torchao's int8 parameters have no ``abs``: the watch raised after the step, and a caller who tried again stepped twice."""
    _eager._warn_unwatched.cache_clear()
    plain, odd = Parameter(torch.ones(3)), Parameter(torch.ones(3).as_subclass(lacking("abs")))
    beside = Parameter(torch.ones(3))
    ours, theirs = Adam([plain, odd], lr=0.1), torch.optim.Adam([beside], lr=0.1)
    given(plain, odd, beside)
    with pytest.warns(UserWarning, match="no figures of parameters that are a Lacking .*no abs.*NaN") as caught:
        ours.step()
    theirs.step()
    for _ in range(3):
        ours.step()
        theirs.step()
    assert len(caught) == 1
    assert torch.allclose(odd.as_subclass(torch.Tensor), beside, rtol=1e-6)
    assert float(ours.state[odd]["step"]) == 4
    row = ours.watch.last["1"]
    assert row.grad_norm != row.grad_norm
    assert row.nonfinite == 0
    assert ours.watch.last["0"].grad_norm == pytest.approx(12**0.5)
    assert ours.watch.steps == 4


@pytest.mark.filterwarnings("error")
def test_a_warning_that_is_an_error_comes_before_anything_is_written():
    _eager._warn_unwatched.cache_clear()
    plain, odd = given(Parameter(torch.ones(3)), Parameter(torch.ones(3).as_subclass(lacking("abs"))))
    optimizer = SGD([plain, odd], lr=0.1)
    with pytest.raises(UserWarning, match="no figures"):
        optimizer.step()
    assert torch.equal(plain.detach(), torch.ones(3))


@pytest.mark.parametrize("names", [("mul", "__mul__", "__rmul__"), ("copy_",)])
def test_an_operation_that_is_missing_is_found_before_another_parameter_is_written(names):
    plain, odd = given(Parameter(torch.ones(3)), Parameter(torch.ones(3).as_subclass(lacking(*names))))
    optimizer = SGD([plain, odd], lr=0.1, momentum=0.9)
    for _ in range(2):
        with pytest.raises(NotImplementedError, match="no "):
            optimizer.step()
        assert torch.equal(plain.detach(), torch.ones(3))
        assert float(optimizer.state[plain]["step"]) == 0
    odd.grad = None
    optimizer.step()
    assert torch.allclose(plain.detach(), torch.full((3,), 0.8))


# --- no values: how much memory a training would take ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": 1.0},
        {"nonfinite": "skip"},
        {"nonfinite": "raise"},
        {"ema_decay": 0.9},
        {"fused": True},
        {"fused": False, "watch": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("cls", [SGD, Adagrad, Adam, RMSprop])
def test_a_step_under_fake_tensor_mode(cls, options):
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    with FakeTensorMode():
        net = torch.nn.Linear(4, 3)
        ours = cls(net.parameters(), lr=0.1, **options)
        theirs = getattr(torch.optim, cls.__name__)(torch.nn.Linear(4, 3).parameters(), lr=0.1)
        # More than the watch keeps, with and without a count of skipped steps; and fewer where that is known.
        for step in range(70 if cls is Adam and options in ({}, {"nonfinite": "skip"}) else 4):
            net(torch.randn(2, 4)).sum().backward()
            ours.step()
            if step == 1:
                ours.load_state_dict(ours.state_dict())
                ours.param_groups[0]["lr"] = 0.2
        theirs_net = [p for group in theirs.param_groups for p in group["params"]]
        for p in theirs_net:
            p.grad = torch.ones_like(p)
        theirs.step()
    for p, q in zip(net.parameters(), theirs_net, strict=True):
        states = {n: s for n, s in ours.state[p].items() if n not in ("step", "param_avg")}
        other = {n: s for n, s in theirs.state[q].items() if n != "step" and s is not None}
        assert {n: (type(s), s.shape, s.dtype) for n, s in states.items()} == {
            n: (FakeTensor, s.shape, s.dtype) for n, s in other.items()
        }
