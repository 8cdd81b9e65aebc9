"""Parameters of every kind: each is stepped correctly or refused by name, whatever path it takes."""

import contextlib
import ctypes
import mmap
import os
import sys
import warnings

import pytest
import torch
from torch.nn import Parameter

from ravine.errors import BackendError, ParameterError
from ravine.optim import SGD, Adam, Optimizer, RMSprop

PATHS = pytest.mark.parametrize("fused", [None, True, False])
MAKERS = {
    "sgd": lambda params, **kw: SGD(params, lr=0.1, momentum=0.9, **kw),
    "rmsprop": lambda params, **kw: RMSprop(params, lr=0.1, centered=True, **kw),
    "adam": lambda params, **kw: Adam(params, lr=0.1, weight_decay=0.1, **kw),
}
OPTIMIZERS = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def randn(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def run(make, start, gradients, fused, **kw):
    """Step a parameter that is laid out as ``start``; give its values after each step, contiguous."""
    p = torch.empty_strided(start.shape, start.stride(), dtype=start.dtype).copy_(start).requires_grad_()
    optimizer, seen = make([p], fused=fused, **kw), []
    for g in gradients:
        p.grad = g
        optimizer.step()
        seen.append(p.detach().clone(memory_format=torch.contiguous_format))
    return seen


@OPTIMIZERS
@PATHS
@pytest.mark.parametrize("where", [0, 1, 2])
def test_an_empty_tensor_is_a_no_op_and_the_others_update(make, fused, where):
    """torch#100701: torch's foreach path skipped the tensors after an empty one."""
    shapes = [(5,), (2, 3)]
    shapes.insert(where, (0, 4))
    params = [Parameter(randn(*s, seed=i)) for i, s in enumerate(shapes)]
    alone = [Parameter(p.detach().clone()) for p in params if p.numel()]
    both = make(params, fused=fused), make(alone, fused=fused)
    for k in range(3):
        for p in [*params, *alone]:
            p.grad = torch.cos(p.detach() * (k + 1))
        for optimizer in both:
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip([p for p in params if p.numel()], alone, strict=True))
    assert params[where].shape == (0, 4)


@PATHS
def test_nothing_but_empty_tensors(fused):
    p = Parameter(torch.zeros(0))
    optimizer = Adam([p], fused=fused)
    p.grad = torch.zeros(0)
    optimizer.step()
    assert optimizer.state[p]["step"] == 1


@OPTIMIZERS
@PATHS
def test_a_tensor_of_no_dimension(make, fused):
    gradients = [torch.tensor(1.0), torch.tensor(-0.3)]
    zero = run(make, torch.tensor(0.7), gradients, fused)
    one = run(make, torch.tensor([0.7]), [g.reshape(1) for g in gradients], fused)
    assert [z.item() for z in zero] == [o.item() for o in one]
    assert zero[0].shape == ()


LAYOUTS = {
    "transposed": lambda t: t.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
    "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "every second": lambda t: torch.stack([t, t], -1)[..., 0],
    "cut out": lambda t: torch.cat([t, t], -1)[..., : t.shape[-1]],
    "contiguous": lambda t: t,
}


@OPTIMIZERS
@pytest.mark.parametrize("fused", [None, False])
@pytest.mark.parametrize("grads", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_numbers_of_a_contiguous_one(make, fused, layout, grads):
    start, gradients = randn(3, 4, 2, 5), [randn(3, 4, 2, 5, seed=s) for s in (1, 2)]
    expected = run(make, start, gradients, fused)
    got = run(make, LAYOUTS[layout](start), [LAYOUTS[grads](g) for g in gradients], fused)
    exact = fused is False or layout in ("transposed", "channels_last", "contiguous")  # else kernel and torch mix
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b) if exact else torch.allclose(a, b, rtol=1e-5, atol=1e-6)


@PATHS
def test_sizes_of_one_may_have_any_stride(fused):
    cut = torch.zeros(4, 10)[:1, :5]
    p = torch.empty_strided((1, 5), cut.stride()).copy_(randn(1, 5)).requires_grad_()
    expected = p.detach() - 0.1 * torch.ones(1, 5)
    p.grad = torch.ones(1, 5)
    SGD([p], lr=0.1, momentum=0.9, fused=fused).step()
    assert torch.equal(p.detach(), expected)


@PATHS
def test_the_kernel_insisted_on_where_it_cannot_be_had(fused):
    good = Parameter(torch.ones(3))
    bad = torch.zeros(4, 8)[:, ::2].requires_grad_()
    optimizer = SGD([("good", good), ("bad.weight", bad)], lr=0.1, momentum=0.9, fused=fused)
    good.grad, bad.grad = torch.ones(3), torch.ones(4, 4)
    if fused:
        with pytest.raises(BackendError, match=r"bad\.weight.*fused=None"):
            optimizer.step()
        assert torch.equal(good.detach(), torch.ones(3))
        assert not any(optimizer.state.values())
    else:
        optimizer.step()
        assert torch.allclose(good.detach(), torch.full((3,), 0.9))
        assert torch.equal(bad.detach(), torch.full((4, 4), -0.1))


def test_an_expanded_parameter_is_refused_by_name():
    p = torch.zeros(1, 3).expand(4, 3).requires_grad_()
    with pytest.raises(ParameterError, match=r"'head'.*clone"):
        SGD([("head", p)])
    optimizer = SGD([Parameter(torch.zeros(2))])
    with pytest.raises(ParameterError, match="clone"):
        optimizer.add_param_group({"params": [p]})
    assert len(optimizer.param_groups) == 1


@OPTIMIZERS
@PATHS
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("turned", [False, True])
def test_complex_is_two_real_numbers(make, fused, dtype, turned):
    start = torch.view_as_complex(randn(4, 3, 2, dtype=dtype.to_real()))
    gradients = [torch.view_as_complex(randn(4, 3, 2, dtype=dtype.to_real(), seed=s)) for s in (1, 2, 3)]
    expected = run(make, torch.view_as_real(start), [torch.view_as_real(g) for g in gradients], fused)
    if turned:
        start, gradients = start.t().contiguous().t(), [g.conj().resolve_conj().conj() for g in gradients]
    got = run(make, start, gradients, fused)
    assert all(torch.equal(torch.view_as_real(a), b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool])
def test_an_integer_parameter_is_a_type_error(dtype):
    with pytest.raises(TypeError, match="'index'"):
        SGD([("index", torch.zeros(3, dtype=dtype))])


def test_twice_in_one_group_is_torchs_warning_and_one_update():
    p = Parameter(torch.ones(3))
    with pytest.warns(UserWarning, match="duplicate") as expected:
        torch.optim.SGD([p, p])
    with pytest.warns(UserWarning, match="duplicate") as got:
        optimizer = SGD([p, p], lr=0.1)
    assert str(got[0].message) == str(expected[0].message)
    p.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(p.detach(), torch.ones(3) - 0.1 * torch.ones(3))
    assert optimizer.state[p]["step"] == 1


REFUSED = {
    "two groups": lambda p: [{"params": [p]}, {"params": [p]}],
    "not a leaf": lambda p: [p * 2],
    "nothing": lambda p: [],
    "a tensor": lambda p: p,
    "a set": lambda p: [{"params": {p}}],
    "no tensor": lambda p: ["weight"],
    "names for some": lambda p: [("p", p), Parameter(torch.ones(1))],
}


@pytest.mark.parametrize("params", REFUSED.values(), ids=REFUSED)
def test_what_torch_refuses_is_refused_in_its_words(params):
    with pytest.raises((ValueError, TypeError)) as expected:
        torch.optim.SGD(params(Parameter(torch.ones(3))), lr=0.1)
    with pytest.raises(expected.type) as got:
        SGD(params(Parameter(torch.ones(3))), lr=0.1)
    assert str(got.value) == str(expected.value)


@PATHS
def test_tied_weights_get_one_update(fused):
    first, last = torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False)
    last.weight = first.weight
    model = torch.nn.Sequential(first, last)
    optimizer = SGD(model.parameters(), lr=0.1, fused=fused)
    model(torch.ones(2, 4)).sum().backward()
    expected = first.weight.detach() - 0.1 * first.weight.grad
    optimizer.step()
    assert torch.allclose(last.weight.detach(), expected)
    assert len(optimizer.state) == 1


@PATHS
def test_a_parameter_without_data_is_an_error_and_works_once_it_has_some(fused):
    model = torch.nn.Linear(3, 2, device="meta")
    early = SGD(model.named_parameters(), lr=0.1, fused=fused)
    for p in model.parameters():
        p.grad = torch.empty_like(p)
    with pytest.raises(RuntimeError, match=r"'weight'.*meta.*to_empty"):
        early.step()
    model.to_empty(device="cpu")
    for p in model.parameters():
        p.data.fill_(1.0)
        p.grad = torch.ones_like(p)
    SGD(model.named_parameters(), lr=0.1, fused=fused).step()
    assert all(torch.allclose(p.detach(), torch.full_like(p, 0.9)) for p in model.parameters())


@PATHS
def test_a_lazy_module_may_be_initialised_after_its_optimizer(fused):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls lazy modules experimental
        model = torch.nn.LazyLinear(3)
    optimizer = SGD(model.parameters(), lr=0.1, fused=fused)
    model(torch.ones(2, 4)).sum().backward()
    before = model.weight.detach().clone()
    optimizer.step()
    assert torch.allclose(model.weight.detach(), before - 0.2)


@OPTIMIZERS
@PATHS
def test_dtypes_mixed_in_one_group_are_each_as_if_alone(make, fused):
    dtypes = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.float32]
    starts = [randn(7, 3, dtype=d.to_real() if d.is_complex else d, seed=i) for i, d in enumerate(dtypes)]
    starts[4] = torch.complex(starts[4], starts[5])
    params = [Parameter(s.clone()) for s in starts]
    optimizer = make(params, fused=fused)
    gradients = [[torch.cos(s * (k + 1)) for s in starts] for k in range(3)]
    for row in gradients:
        for p, g in zip(params, row, strict=True):
            p.grad = g
        optimizer.step()
    for i, p in enumerate(params):
        assert p.dtype == dtypes[i]
        assert all(v.dtype == dtypes[i] for n, v in optimizer.state[p].items() if n != "step")
        assert torch.equal(p.detach(), run(make, starts[i], [row[i] for row in gradients], fused)[-1])


class Tagged(torch.Tensor):
    """A tensor subclass that changes nothing."""


@OPTIMIZERS
def test_a_tensor_subclass_is_stepped_by_its_own_operations(make):
    p = randn(5).as_subclass(Tagged).requires_grad_()
    q = Parameter(randn(5))
    ours, plain = make([p]), make([q], fused=False)
    for _ in range(3):
        p.grad, q.grad = torch.ones(5).as_subclass(Tagged), torch.ones(5)
        ours.step()
        plain.step()
    assert type(p) is Tagged
    assert torch.equal(p.detach().as_subclass(torch.Tensor), q.detach())
    with pytest.raises(BackendError, match="Tagged"):
        make([p], fused=True).step()


@PATHS
def test_parameters_that_are_views_of_one_tensor_are_stepped_each(fused):
    flat = torch.ones(12)
    parts = [flat[:5].requires_grad_(), flat[5:].view(7, 1).requires_grad_()]
    optimizer = SGD(parts, lr=0.1, momentum=0.9, fused=fused)
    for p in parts:
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert torch.equal(flat, torch.ones(12) - 0.1 * torch.ones(12))


@pytest.mark.parametrize("fused", [None, False])
def test_the_default_dtype_and_device_are_of_no_concern(fused):
    expected = run(MAKERS["adam"], randn(5), [torch.ones(5)] * 3, fused)[-1]
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            got = run(MAKERS["adam"], randn(5, dtype=torch.float32), [torch.ones(5, dtype=torch.float32)] * 3, fused)
        finally:
            torch.set_default_dtype(torch.float32)
        assert torch.equal(got[-1], expected)
    p = Parameter(randn(5))
    optimizer = MAKERS["adam"]([p], fused=fused)
    p.grad = torch.ones(5)
    with torch.device("meta"):
        for _ in range(3):
            optimizer.step()
    assert torch.equal(p.detach(), expected)


def test_steps_are_counted_exactly_with_a_coarse_default_dtype():
    torch.set_default_dtype(torch.float16)
    try:
        p = Parameter(torch.ones(1))
        optimizer = SGD([p], lr=0.0)
        p.grad = torch.ones(1)
        for _ in range(2100):
            optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.step()
    finally:
        torch.set_default_dtype(torch.float32)
    assert optimizer.state[p]["step"] == 2101


@contextlib.contextmanager
def _repeating_zeros(n):
    """float16: the same 32 MB again and again, and a page of their own for what follows 4 GB.

    The system takes ten seconds to hand out gigabytes.
    """
    piece, whole = 2**25, 2 * n
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_ssize_t]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

    def mapped(address, size, flags, file):
        got = library.mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, file, 0)
        if got == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")
        return got

    unreserved, fixed = 0x4000, 0x10  # of Linux's <sys/mman.h>
    start = mapped(None, whole, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | unreserved, -1)
    file = os.memfd_create("repeating")
    try:
        os.ftruncate(file, piece)
        for at in range(0, 2**32, piece):
            mapped(start + at, piece, mmap.MAP_SHARED | fixed, file)
        yield torch.frombuffer((ctypes.c_char * whole).from_address(start), dtype=torch.float16)
    finally:
        os.close(file)
        library.munmap(start, whole)


def one_more(param, *, grad, lr):
    return param - lr * (grad + 1)


@pytest.mark.skipif(sys.platform != "linux", reason="maps memory as Linux does")
def test_more_elements_than_a_32_bit_index(one_thread):
    n = 2**31 + 5
    with _repeating_zeros(n) as values, _repeating_zeros(n) as gradients:
        p = values.requires_grad_()
        p.grad = gradients
        p.grad[-3:] = 1
        Optimizer([p], [one_more], lr=1.0, fused=True).step()
        q = p.detach()
        assert q[-5:].tolist() == [-1, -1, -2, -2, -2]
        assert q[: 2**24].eq(-128).all()  # stepped once at each of its 128 places
