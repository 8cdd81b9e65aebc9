"""Every named optimizer on a CUDA device: one launch against torch's operations on the same device."""

from __future__ import annotations

import pytest
import torch
from on_cuda import MATRICES, RTOL, SHAPES, close, give, kernels_step, make, no_waiting, parameters, same
from torch.nn import Parameter

from ravine.backends.triton._text_compiler import compiled_on_devices
from ravine.optim import SGD, Adam, AdamW, RMSprop
from ravine.optim import _registry as registry

NAMES = [n for n in registry.names() if n not in MATRICES]
CASES = [(n, d) for n in NAMES for d in (torch.float32, torch.float64)]
CASES += [(n, d) for n in NAMES if "-" not in n for d in (torch.bfloat16, torch.float16)]


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
def test_a_kernel_steps_as_torchs_operations(name, dtype):
    (a, b) = (parameters(dtype), parameters(dtype))
    ours, eager = make(name, a), make(name, b, fused=False)
    signs = "lion" in name or "sign" in name
    # A variance, v - m², is a difference of nearly equal numbers: in single precision its digits are rounding.
    cancels = "centered" in name and dtype is torch.float32
    for step in range(4):
        missing = (1, 4) if step == 2 else ()
        give(a, step, missing)
        give(b, step, missing)
        ours.step()
        eager.step()
        assert kernels_step(ours)
        if not cancels:
            same(ours, eager, dtype, 0.002 if signs else 0.0)
        else:  # the averages that it is made of; what comes after it has its rounding
            for p, q in zip(a, b, strict=True):
                for state in ("square_avg", "grad_avg", "step"):
                    close(ours.state[p][state], eager.state[q][state], dtype)
        if signs or dtype in (torch.bfloat16, torch.float16):
            eager.load_state_dict(ours.state_dict())
            for p, q in zip(a, b, strict=True):
                q.data.copy_(p.data)


@pytest.mark.parametrize("dtype", RTOL, ids=str)
def test_addresses_that_are_no_multiple_of_sixteen(dtype):
    """Parameters and gradients in flat buffers at any place: the numbers are those of aligned ones, to rounding."""
    sizes = [1, 5, 1000, 33, 20_000]

    def flat(values):
        buffer = torch.empty(sum(sizes) + len(sizes) * 3, device="cuda", dtype=dtype)
        views, at = [], 1
        for value in values:
            views.append(buffer[at : at + value.numel()].copy_(value.detach()))
            at += value.numel() + 3
        return views

    aligned = parameters(dtype, [(s,) for s in sizes])
    both = [Parameter(v) for v in flat(aligned)]
    only_grads = [Parameter(p.detach().clone()) for p in aligned]
    sets = [aligned, both, only_grads]
    optimizers = [AdamW(params, lr=0.01, clip_norm=1.0) for params in sets]
    for step in range(3):
        give(aligned, step)
        for params in (both, only_grads):
            for p, view in zip(params, flat([q.grad for q in aligned]), strict=True):
                p.grad = view
        for optimizer in optimizers:
            optimizer.step()
            assert kernels_step(optimizer)
    for p, q, r in zip(*sets, strict=True):
        # Sums of unaligned tensors are added in another order.
        close(p, q, dtype)
        close(p, r, dtype)


@pytest.mark.parametrize("name", ["rmsprop", "adam", "adamw", "sgd"])
def test_the_numbers_are_torchs(name):
    a, b = parameters(torch.float32), parameters(torch.float32)
    ours = make(name, a)
    theirs = getattr(torch.optim, type(ours).__name__)(b, lr=0.01)
    for step in range(5):
        give(a, step)
        give(b, step)
        ours.step()
        theirs.step()
    for p, q in zip(a, b, strict=True):
        close(p, q, torch.float32)


def test_mixed_dtypes_of_parameters_gradients_and_states():
    params = [Parameter(torch.randn(1000, device="cuda").to(d)) for d in (torch.float32, torch.bfloat16, torch.float16)]
    others = [Parameter(p.detach().clone()) for p in params]
    pairs = [(Adam(ps, lr=0.01, fused=f), ps) for ps, f in ((params, True), (others, False))]
    for step in range(3):
        for optimizer, ps in pairs:
            give(ps, step)
            optimizer.step()
            if step == 0:
                for p in ps:
                    optimizer.state[p]["exp_avg"] = optimizer.state[p]["exp_avg"].to(torch.bfloat16)
    same(pairs[0][0], pairs[1][0], torch.bfloat16)


def test_complex_parameters_and_other_layouts():
    def made():
        torch.manual_seed(0)
        p = Parameter(torch.randn(9, 5, dtype=torch.complex64, device="cuda"))
        q = Parameter(torch.randn(2, 3, 4, 5, device="cuda").to(memory_format=torch.channels_last))
        r = Parameter(torch.randn(6, 8, device="cuda").t())
        return [p, q, r]

    a, b = made(), made()
    ours, eager = Adam(a, lr=0.1), Adam(b, lr=0.1, fused=False)
    for step in range(3):
        torch.manual_seed(step)
        for p, q in zip(a, b, strict=True):
            p.grad = torch.randn(p.shape, dtype=p.dtype, device="cuda")  # row-major
            q.grad = p.grad.clone()
        ours.step()
        eager.step()
    assert kernels_step(ours)
    for p, q in zip(a, b, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_more_elements_than_32_bits_count():
    n = 2**31 + 1003
    if torch.cuda.mem_get_info()[0] < 6 * n:
        pytest.skip("the device has too little memory")
    p = Parameter(torch.zeros(n, dtype=torch.bfloat16, device="cuda"))
    p.grad = torch.ones_like(p)
    optimizer = SGD([p], lr=1.0, clip_norm=1e9)
    optimizer.step()
    assert kernels_step(optimizer)
    for piece in (p[:5000], p[2**31 - 5000 : 2**31 + 900], p[-5000:]):
        assert bool((piece == -1).all())
    assert optimizer.watch.last["0"].grad_norm == pytest.approx(n**0.5, rel=1e-6)


def test_neither_rates_nor_sizes_nor_numbers_of_tensors_compile_anew():
    def run(shapes):
        params = parameters(torch.float32, shapes)
        optimizer = AdamW(params, lr=0.1, clip_norm=1.0)
        for step in range(3):
            optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
            give(params, step)
            optimizer.step()

    run(SHAPES)
    before = compiled_on_devices()
    run([(1,)])
    run([(s,) for s in range(200)])
    assert compiled_on_devices() == before


def test_watch_figures_are_those_of_torchs_operations():
    a, b = parameters(torch.float32), parameters(torch.float32)
    ours, eager = RMSprop(a, lr=0.01), RMSprop(b, lr=0.01, fused=False)
    for step in range(70):  # more than are kept before they are combined
        give(a, step, (3,) if step == 5 else ())
        give(b, step, (3,) if step == 5 else ())
        if step == 67:
            for params in (a, b):
                params[5].grad[7] = float("nan")
                params[4].grad.mul_(1e-22)
                params[0].grad.mul_(1e20)
        with no_waiting():
            ours.step()
        eager.step()
    for name in map(str, range(len(a))):
        one, other = ours.watch.last[name], eager.watch.last[name]
        for field in ("grad_norm", "param_norm", "update_norm", "grad_max", "param_max", "update_max", "nonfinite"):
            wanted = getattr(other, field)
            assert getattr(one, field) == pytest.approx(wanted, rel=2e-5, nan_ok=True), (name, field)
    assert ours.watch.history.steps.tolist() == eager.watch.history.steps.tolist()
