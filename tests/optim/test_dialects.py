"""RMSProp's dialects against plain NumPy: each row of the table as the few lines that its library runs.

The lines and the defaults stand here as their sources have them, and share nothing with ``ravine.optim``.
v is the average of squares, m that of gradients, b the momentum buffer, wd the weight decay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from ravine.errors import OptionError
from ravine.optim import RMSprop
from ravine.optim._dialects import DIALECTS

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass
class Settings:
    rho: float
    eps: float
    mu: float = 0.0
    wd: float = 0.0
    centered: bool = False
    start: float = 0.0
    switch: bool = False  # eps outside the root for optax, lr outside the momentum for timm


@dataclass
class Kept:
    v: Any
    m: Any = 0.0
    b: Any = 0.0


def torch_(p, g, lr, s, k):
    g = g + s.wd * p
    k.v = s.rho * k.v + (1 - s.rho) * g**2
    k.m = s.rho * k.m + (1 - s.rho) * g
    d = np.sqrt(k.v - k.m**2) + s.eps if s.centered else np.sqrt(k.v) + s.eps
    k.b = s.mu * k.b + g / d
    return p - lr * k.b


def tensorflow(p, g, lr, s, k):
    k.v = s.rho * k.v + (1 - s.rho) * g**2
    k.m = s.rho * k.m + (1 - s.rho) * g
    k.b = s.mu * k.b + lr * g / np.sqrt(k.v - k.m**2 + s.eps if s.centered else k.v + s.eps)
    return p - k.b


def keras(p, g, lr, s, k):
    return tensorflow(p - p * s.wd * lr, g, lr, s, k)


def optax(p, g, lr, s, k):
    k.v = s.rho * k.v + (1 - s.rho) * g**2
    k.m = s.rho * k.m + (1 - s.rho) * g
    v = k.v - k.m**2 if s.centered else k.v
    u = g / (np.sqrt(v) + s.eps) if s.switch else g / np.sqrt(v + s.eps)
    k.b = lr * u + s.mu * k.b
    return p - k.b


def fastai(p, g, lr, s, k):
    p = p * (1 - lr * s.wd)
    k.v = s.rho * k.v + (1 - s.rho) * g**2
    k.b = s.mu * k.b + g
    return p - lr * k.b / (np.sqrt(k.v) + s.eps)


def inside(p, g, lr, s, k):  # Lasagne, the Theano book, the Chinese tutorial
    k.v = s.rho * k.v + (1 - s.rho) * g**2
    return p - lr * g / np.sqrt(k.v + s.eps)


def fastai_book(p, g, lr, s, k):
    k.v = s.rho * k.v + g**2
    return p - lr * g / (np.sqrt(k.v) + s.eps)


def timm(p, g, lr, s, k):
    g = g + s.wd * p
    k.v = k.v + (1 - s.rho) * (g**2 - k.v)
    k.m = k.m + (1 - s.rho) * (g - k.m)
    d = np.sqrt(k.v - k.m**2 + s.eps) if s.centered else np.sqrt(k.v + s.eps)
    if s.switch:
        k.b = s.mu * k.b + g / d
        return p - lr * k.b
    k.b = s.mu * k.b + lr * g / d
    return p - k.b


@dataclass
class Row:
    """A row of the table: the lines, lr (None: no default), rho and eps by default, initial v, and what else it has."""

    lines: Any
    lr: float | None
    rho: float
    eps: float
    start: float = 0.0
    has: set[str] = field(default_factory=set)


ROWS = {
    "torch": Row(torch_, 1e-2, 0.99, 1e-8, has={"momentum", "centered", "weight_decay"}),
    "tensorflow": Row(tensorflow, None, 0.9, 1e-10, start=1.0, has={"momentum", "centered"}),
    "keras": Row(keras, 1e-3, 0.9, 1e-7, has={"momentum", "centered", "weight_decay"}),
    "optax": Row(optax, None, 0.9, 1e-8, has={"momentum", "centered"}),
    "fastai": Row(fastai, None, 0.99, 1e-8, has={"momentum", "weight_decay"}),
    "lasagne": Row(inside, 1.0, 0.9, 1e-6),
    "theano-book": Row(inside, None, 0.9, 1e-6),
    "fastai-book": Row(fastai_book, None, 0.99, 1e-7),
    "pytorch-tutorial": Row(inside, 1e-3, 0.9, 1e-10),
    "timm": Row(timm, 1e-2, 0.9, 1e-10, start=1.0, has={"momentum", "centered", "weight_decay"}),
}

each_path = pytest.mark.parametrize("fused", [False, True], ids=["eager", "fused"])
each_dialect = pytest.mark.parametrize("name", DIALECTS)

OVERRIDES = [
    {},
    {"momentum": 0.7},
    {"centered": True},
    {"momentum": 0.7, "centered": True},
    {"weight_decay": 0.1},
    {"momentum": 0.7, "weight_decay": 0.1},
]


def variants():
    for name in DIALECTS:
        for given in OVERRIDES:
            if set(given) <= ROWS[name].has:
                yield pytest.param(name, given, id="-".join([name, *given]))


def gradients(steps: int = 12):
    # Some of them small, so that eps inside and outside the root are far apart.
    random = np.random.default_rng(0)
    return [random.normal(size=(3, 4)) * 10.0 ** random.integers(-5, 1, size=(3, 4)) for _ in range(steps)]


def by_numpy(lines, settings, rates, grads):
    p = np.random.default_rng(1).normal(size=grads[0].shape)
    kept, path = Kept(np.full(p.shape, settings.start)), []
    for lr, g in zip(rates, grads, strict=True):
        p = lines(p, g, lr, settings, kept)
        path.append(p)
    return np.array(path), kept


def by_ours(make, rates, grads):
    p = torch.from_numpy(np.random.default_rng(1).normal(size=grads[0].shape)).requires_grad_()
    optimizer, path = make([p]), []
    for lr, g in zip(rates, grads, strict=True):
        if lr is not None:
            optimizer.param_groups[0]["lr"] = lr
        p.grad = torch.from_numpy(g.copy())
        optimizer.step()
        path.append(p.detach().numpy().copy())
    return np.array(path), optimizer.state[p]


def assert_same(ours, golden):
    assert np.abs(ours - golden).max() <= 1e-12 * np.abs(golden).max()


def test_every_dialect_has_a_row():
    assert set(DIALECTS) == set(ROWS)


@each_path
@pytest.mark.parametrize(("name", "given"), list(variants()))
def test_numbers(name, given, fused):
    """The preset's own defaults, then other numbers; the learning rate falls in the middle."""
    row, grads = ROWS[name], gradients()
    rates = [0.02] * 5 + [0.005] * 4 + [0.03] * 3
    other = {"alpha": 0.8, "eps": 1e-3}
    for numbers in ({}, other):
        settings = Settings(
            numbers.get("alpha", row.rho),
            numbers.get("eps", row.eps),
            mu=given.get("momentum", 0.0),
            wd=given.get("weight_decay", 0.0),
            centered=given.get("centered", False),
            start=row.start,
        )
        golden, kept = by_numpy(row.lines, settings, rates, grads)
        ours, state = by_ours(
            lambda p, more=numbers: RMSprop.dialect(name, p, lr=rates[0], fused=fused, **given, **more), rates, grads
        )
        assert np.isfinite(golden).all()
        assert_same(ours, golden)
        assert_same(state["square_avg"].numpy(), kept.v)
        assert ("momentum_buffer" in state) == ("momentum" in given)
        if "momentum" in given:
            assert_same(state["momentum_buffer"].numpy(), kept.b)
        if "centered" in given:
            assert_same(state["grad_avg"].numpy(), kept.m)


@each_path
@each_dialect
def test_default_learning_rate(name, fused):
    row, grads = ROWS[name], gradients(3)
    if row.lr is None:
        with pytest.raises(OptionError, match="lr"):
            RMSprop.dialect(name, [torch.nn.Parameter(torch.zeros(1))])
        return
    golden, _ = by_numpy(row.lines, Settings(row.rho, row.eps, start=row.start), [row.lr] * 3, grads)
    ours, _ = by_ours(lambda p: RMSprop.dialect(name, p, fused=fused), [None] * 3, grads)
    assert_same(ours, golden)


@each_path
@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("optax", {"eps_inside_root": False}, {"switch": True}),
        ("optax", {"square_avg_start": 0.5}, {"start": 0.5}),
        ("timm", {"lr_in_momentum": False}, {"switch": True}),
    ],
    ids=["optax-eps-outside", "optax-initial-scale", "timm-lr-outside"],
)
def test_switches_of_the_libraries(name, ours, theirs, fused):
    row, grads, rates = ROWS[name], gradients(), [0.02] * 6 + [0.004] * 6
    settings = Settings(row.rho, row.eps, **{"start": row.start, "mu": 0.7, **theirs})
    golden, _ = by_numpy(row.lines, settings, rates, grads)
    mine, _ = by_ours(lambda p: RMSprop.dialect(name, p, lr=rates[0], momentum=0.7, fused=fused, **ours), rates, grads)
    assert_same(mine, golden)


@each_path
def test_lr_inside_or_outside_the_momentum_differs_only_after_a_change(fused):
    rates, grads = [0.02] * 6 + [0.004] * 6, gradients()
    runs = [
        by_ours(
            lambda p, where=where: RMSprop(p, momentum=0.7, lr_in_momentum=where, fused=fused),
            rates,
            grads,
        )[0]
        for where in (False, True)
    ]
    assert_same(runs[0][:6], runs[1][:6])
    assert (np.abs(runs[0][6:] - runs[1][6:]).max(axis=(1, 2)) > 1e-3).all()


# --- centered --------------------------------------------------------------------------------------------------------


def run_constant(cls, dtype, values, steps, **options):
    p = torch.nn.Parameter(torch.zeros(len(values), dtype=dtype))
    optimizer, path = cls([p], lr=1e-3, centered=True, **options), []
    for _ in range(steps):
        p.grad = torch.tensor(values, dtype=torch.float64).to(dtype)
        optimizer.step()
        path.append(p.detach().clone())
    return torch.stack(path)


# Constant gradients: the variance falls to 0, and its rounding to both sides of it.
CONSTANTS = [1.0, -0.1, 0.3, 1 / 3, 7.7, 1e-3, 123.456, 1e-6, 0.0, 1e4, -2.5e-5, 0.7]


MANY = [*CONSTANTS, *np.random.default_rng(0).normal(size=100)]


#: Steps until the variance is only rounding, alpha**steps, and some more.
STEPS = {(torch.float32, 0.9): 400, (torch.float64, 0.9): 600, (torch.bfloat16, 0.9): 200}
STEPS |= {(torch.float32, 0.99): 2000, (torch.float64, 0.99): 4000, (torch.bfloat16, 0.99): 500}


@each_path
@pytest.mark.parametrize("inside", [False, True], ids=["eps-outside", "eps-inside"])
@pytest.mark.parametrize(("dtype", "alpha"), STEPS, ids=str)
def test_centered_is_never_nan(dtype, alpha, inside, fused):
    if not fused and (dtype, alpha) == (torch.float64, 0.99):
        pytest.skip("4000 steps take seconds by torch's operations, and the variance does the same at an alpha of 0.9")
    path = run_constant(RMSprop, dtype, MANY, STEPS[dtype, alpha], alpha=alpha, fused=fused, eps_inside_root=inside)
    assert torch.isfinite(path).all()


@pytest.mark.parametrize("alpha", [0.9, 0.99])
def test_centered_torch_is_nan_where_ours_is_not(alpha):
    """What the test above is about does happen."""
    assert (
        run_constant(torch.optim.RMSprop, torch.float32, MANY, STEPS[torch.float32, alpha], alpha=alpha).isnan().any()
    )


@each_path
@pytest.mark.parametrize(
    ("dtype", "steps", "relative"), [(torch.float32, 300, 1e-4), (torch.float64, 1500, 1e-7)],
    ids=["float32", "float64"],
)  # fmt: skip
def test_centered_equals_torch_as_long_as_the_variance_is_more_than_rounding(dtype, steps, relative, fused):
    ours = run_constant(RMSprop, dtype, CONSTANTS, steps, fused=fused)
    theirs = run_constant(torch.optim.RMSprop, dtype, CONSTANTS, steps)
    assert theirs.isfinite().all()
    assert ((ours - theirs).abs() <= relative * theirs.abs()).all()


@each_path
def test_centered_with_varying_gradients_equals_torch_for_long(fused):
    generator = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.zeros(200, dtype=torch.float64)) for _ in range(2)]
    pair = [RMSprop(params[:1], centered=True, fused=fused), torch.optim.RMSprop(params[1:], centered=True)]
    for _ in range(1000):
        g = 5 + 0.1 * torch.randn(200, dtype=torch.float64, generator=generator)
        for p, optimizer in zip(params, pair, strict=True):
            p.grad = g.clone()
            optimizer.step()
    assert params[1].isfinite().all()
    assert ((params[0] - params[1]).abs() <= 1e-10 * params[1].abs()).all()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("size", [1e10, 1e20, 1e25, 3e38])
@pytest.mark.parametrize("eps_inside_root", [True, False])
def test_centered_gives_no_nan_where_squares_overflow(fused, size, eps_inside_root):
    p = torch.nn.Parameter(torch.zeros(20))
    optimizer = RMSprop([p], centered=True, fused=fused, eps_inside_root=eps_inside_root)
    for sign in (1, 1, -1):
        p.grad = torch.full((20,), sign * size)
        optimizer.step()
        assert torch.isfinite(p).all()
