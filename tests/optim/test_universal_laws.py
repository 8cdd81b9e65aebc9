"""Laws that hold for every optimizer that is found: no list to extend when one is added."""

import copy

import pytest
import torch
from exact_program import Expected, decided, jumps, within
from kinds import dtype_cases, one_of_each_kind

from ravine import formula
from ravine.backends.cpu import compiled
from ravine.optim import Optimizer
from ravine.optim import _registry as registry
from ravine.optim._engine.prepare import shape_of

NAMES = registry.names()
CASES = [*dtype_cases(), ("rmsprop-centered", torch.float64)]


def make(name, dtype=torch.float32, **options):
    torch.manual_seed(0)
    named = registry.lookup(name)
    params = [torch.randn(s).to(dtype).requires_grad_() for s in ((33, 7), (16_500,), (), (0,))]
    return params, named.cls(params, **{"lr": 0.01, **named.options, **options})


def set_grads(params, seed):
    generator = torch.Generator().manual_seed(seed)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)


def tensors(optimizer, params):
    return [t for p in params for t in (p.detach(), *(v for k, v in sorted(optimizer.state[p].items())))]


RTOL = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-9}


def step_and_compare(one, its_params, other, other_params, dtype):
    """One step of two optimizers that stand alike: their results are equal to rounding.

    Where a formula takes signs or compares elements, a result may flip where the exact value is within the rounding of
    that jump, and nowhere else: every result must be one that the exact evaluation allows, and the two equal wherever
    it decides the jump.

    Returns:
        Whether a result was left undecided, so that the two may stand apart now.
    """
    jump = jumps(one.program())
    expected = [Expected(optimizer) for optimizer in (one, other)] if jump else []
    one.step()
    other.step()
    apart = False
    for p, q in zip(its_params, other_params, strict=True):
        for name in ("param", *sorted(one.state[p])):
            a, b = (t.detach() if name == "param" else o.state[t][name] for o, t in ((one, p), (other, q)))
            close = torch.ones(a.shape, dtype=torch.bool)
            if jump and name != "step":
                for tensor, result, exact in ((p, a, expected[0]), (q, b, expected[1])):
                    possible = exact.of(tensor, name)
                    assert within(result, possible).all()
                    close &= torch.from_numpy(decided(possible, RTOL[dtype])).reshape(a.shape)
                apart |= not close.all()
            torch.testing.assert_close(a[close], b[close], rtol=RTOL[dtype], atol=RTOL[dtype] / 10)
    return apart


#: With momentum and few steps a variance, v - m², is a difference of nearly equal numbers: in single precision its
#: digits are rounding, here as in torch, and only double precision says whether the formula is the same.
CANCELS = {("rmsprop-centered", torch.float32)}


@pytest.mark.parametrize(("name", "dtype"), [case for case in CASES if case not in CANCELS], ids=str)
def test_the_kernel_equals_the_eager_formula(name, dtype):
    """One step from the same state: both compute in float32 or wider and round once."""
    (p1, fused), (p2, eager) = make(name, dtype, fused=True), make(name, dtype, fused=False)
    for step in range(3):
        set_grads(p1, step)
        set_grads(p2, step)
        apart = step_and_compare(fused, p1, eager, p2, dtype)
        if apart or dtype in (torch.bfloat16, torch.float16):
            eager.load_state_dict(fused.state_dict())
            for a, b in zip(p1, p2, strict=True):
                b.data.copy_(a.data)


def lion(param, exp_avg=0.0, *, grad, lr, betas):
    """The sign of an average: by one digit less or more of its argument a step goes the other way."""
    param = param - lr * formula.sign(betas[0] * exp_avg + (1 - betas[0]) * grad)
    return param, betas[1] * exp_avg + (1 - betas[1]) * grad


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("dtype", RTOL, ids=str)
def test_a_sign_may_flip_only_within_the_rounding_of_zero(dtype, wrong):
    """Gradients that cancel the average but for rounding; and one element whose sign is clear, and wrong."""
    torch.manual_seed(0)
    start = torch.randn(20_000).to(dtype)
    params = [start.clone().requires_grad_() for _ in range(2)]
    both = [
        Optimizer([p], [lion], fused=f, lr=0.1, betas=(0.9, 0.99)) for p, f in zip(params, (True, False), strict=True)
    ]
    for p in params:
        p.grad = torch.linspace(-1, 1, 20_000).to(dtype)
    step_and_compare(both[0], params[:1], both[1], params[1:], dtype)
    for p, optimizer in zip(params, both, strict=True):
        p.grad = (-9.0 * optimizer.state[p]["exp_avg"].double()).to(dtype)
        if wrong:
            p.grad[123] = 0.5 if p is params[0] else -0.5
    if wrong:
        with pytest.raises(AssertionError):
            step_and_compare(both[0], params[:1], both[1], params[1:], dtype)
    else:
        assert step_and_compare(both[0], params[:1], both[1], params[1:], dtype)


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
                if key == "step" or key in optimizer.program(ndim=p.ndim).kept:
                    assert value.shape == ()
                    continue
                # of another shape it is computed on by itself, at least in single precision
                wide = key in optimizer.program(ndim=p.ndim).tensors and dtype.itemsize == 2
                assert value.dtype == (torch.float32 if wide else dtype)
                assert value.shape == shape_of(optimizer.program(ndim=p.ndim), key, p)
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
    """Not a proof of anything but signs: two steps lower or raise a bowl's value; ADOPT's first one only looks."""
    for maximize, sign in ((False, -1), (True, 1)):
        # One kernel that goes uphill for each kind; the others go there by torch's operations.
        fused = None if not maximize or name in one_of_each_kind(NAMES) else False
        params, optimizer = make(name, maximize=maximize, lr=1e-3, fused=fused)
        for p in params:
            p.grad = p.detach().clone()
        before = sum(float((p.detach().double() ** 2).sum()) for p in params)
        optimizer.step()
        optimizer.step()
        after = sum(float((p.detach().double() ** 2).sum()) for p in params)
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
def test_every_class_is_documented(cls):
    assert issubclass(cls, Optimizer)
    assert cls.reference
    assert "Args:" in cls.__doc__ or "Arguments as" in cls.__doc__
