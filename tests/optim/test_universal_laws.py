"""Laws that hold for every optimizer that is found: no list to extend when one is added."""

import copy

import pytest
import torch

from ravine.backends.cpu import compiled
from ravine.optim import Optimizer
from ravine.optim import _registry as registry

NAMES = registry.names()
#: Every optimizer in single and double precision; 16-bit storage, which no dialect changes, without the dialects.
CASES = [(n, d) for n in NAMES for d in (torch.float32, torch.float64)]
CASES += [(n, d) for n in NAMES if "-" not in n for d in (torch.bfloat16, torch.float16)]


def make(name, dtype=torch.float32, **options):
    torch.manual_seed(0)
    named = registry.lookup(name)
    params = [torch.randn(s).to(dtype).requires_grad_() for s in ((33, 7), (20_000,), (), (0,))]
    return params, named.cls(params, **{"lr": 0.01, **named.options, **options})


def set_grads(params, seed):
    generator = torch.Generator().manual_seed(seed)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)


def tensors(optimizer, params):
    return [t for p in params for t in (p.detach(), *(v for k, v in sorted(optimizer.state[p].items())))]


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
def test_the_kernel_equals_the_eager_formula(name, dtype):
    """One step from the same state: both compute in float32 or wider and round once."""
    steps = 5
    (p1, fused), (p2, eager) = make(name, dtype, fused=True), make(name, dtype, fused=False)
    for step in range(steps):
        set_grads(p1, step)
        set_grads(p2, step)
        fused.step()
        eager.step()
        for a, b in zip(tensors(fused, p1), tensors(eager, p2), strict=True):
            rtol = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-9}[dtype]
            torch.testing.assert_close(a, b, rtol=rtol, atol=rtol / 10)
        if dtype in (torch.bfloat16, torch.float16):
            eager.load_state_dict(fused.state_dict())
            for a, b in zip(p1, p2, strict=True):
                b.data.copy_(a.data)


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
def test_dtypes_and_shapes_stay_and_gradients_are_untouched(name, dtype):
    params, optimizer = make(name, dtype)
    for step in range(3):
        set_grads(params, step)
        before = [p.grad.clone() for p in params]
        optimizer.step()
        for p, g in zip(params, before, strict=True):
            assert torch.equal(p.grad, g)
            assert p.dtype == dtype
            for key, value in optimizer.state[p].items():
                assert key == "step" or (value.dtype == dtype and value.shape == p.shape)
            assert float(optimizer.state[p]["step"]) == step + 1


@pytest.mark.parametrize("name", NAMES)
def test_neither_a_second_step_nor_a_new_rate_compiles_again(name):
    params, optimizer = make(name, fused=True)
    set_grads(params, 0)
    optimizer.step()
    before = compiled()
    for step in range(5):
        optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        set_grads(params, step)
        optimizer.step()
    assert compiled() == before


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_down_hill_and_up_hill(name):
    """Not a proof of anything but signs: the first step lowers or raises a bowl's value."""
    for maximize, sign in ((False, -1), (True, 1)):
        params, optimizer = make(name, maximize=maximize, lr=1e-3)
        for p in params:
            p.grad = p.detach().clone()
        before = sum(float((p.detach() ** 2).sum()) for p in params)
        optimizer.step()
        after = sum(float((p.detach() ** 2).sum()) for p in params)
        assert sign * (after - before) > 0


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_goes_on_bit_for_bit(name):
    params, optimizer = make(name)
    for step in range(3):
        set_grads(params, step)
        optimizer.step()
    others, second = make(name)
    second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for p, q in zip(params, others, strict=True):
        q.data.copy_(p.data)
    for step in range(3, 6):
        set_grads(params, step)
        set_grads(others, step)
        optimizer.step()
        second.step()
    for a, b in zip(tensors(optimizer, params), tensors(second, others), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_repr_shows_the_formula(name):
    _, optimizer = make(name)
    text = repr(optimizer)
    assert "θₜ = " in text
    assert "lr=" in text


@pytest.mark.parametrize("cls", registry.classes(), ids=lambda c: c.__name__)
def test_every_class_is_documented_and_short(cls):
    assert issubclass(cls, Optimizer)
    assert cls.reference
    assert "Args:" in cls.__doc__ or "Arguments as" in cls.__doc__
