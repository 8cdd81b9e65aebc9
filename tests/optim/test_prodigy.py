"""Prodigy against the equations of its paper in NumPy, and what one estimate for several groups asks of the groups.

Over 100 random steps the parameters are those of the authors' prodigyopt 1.1.2 to 1e-11 of the largest element in double
precision, for weight decay of both kinds, bias correction, a growth rate, the safeguard, a beta3 and a d0 of their own.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from ravine.errors import OptionError
from ravine.optim import Prodigy

PATHS = pytest.mark.parametrize("fused", [True, False], ids=["fused", "eager"])
SHAPES = [(7, 5), (11,), ()]


def equations(
    xs, gradients, lr=1.0, betas=(0.9, 0.999), beta3=None, eps=1e-8, weight_decay=0.0, decouple=True,
    use_bias_correction=False, safeguard_warmup=False, d0=1e-6, d_coef=1.0, growth_rate=math.inf,
):  # fmt: skip
    """Algorithm 4 with the options of the authors' code; ``lr`` may be a list with the rate of each step."""
    starts, xs = xs, list(xs)
    m, v, s = ([np.zeros_like(x) for x in xs] for _ in range(3))
    d, d_max, r = d0, d0, 0.0
    b3 = math.sqrt(betas[1]) if beta3 is None else beta3
    for k, gs in enumerate(gradients):
        rate = lr[k] if isinstance(lr, list) else lr
        step = d * rate
        if use_bias_correction:
            step *= math.sqrt(1 - betas[1] ** (k + 1)) / (1 - betas[0] ** (k + 1))
        if rate == 0:  # the authors' code goes on to the next step
            continue
        gs = [g + weight_decay * x for g, x in zip(gs, xs, strict=True)] if not decouple else gs
        r *= b3
        for i, (g, x, x0) in enumerate(zip(gs, xs, starts, strict=True)):
            r += d / d0 * step * (g * (x0 - x)).sum()
            m[i] = betas[0] * m[i] + (1 - betas[0]) * d * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * d * d * g * g
            s[i] = b3 * s[i] + d / d0 * (d if safeguard_warmup else step) * g
        d_hat = d_coef * r / sum(abs(a).sum() for a in s)
        d = max(d, d_hat) if d == d0 else d
        d_max = max(d_max, d_hat)
        d = min(d_max, d * growth_rate)
        shrink = weight_decay if decouple else 0.0
        xs = [x - step * (a / (np.sqrt(b) + d * eps) + shrink * x) for x, a, b in zip(xs, m, v, strict=True)]
    return xs, {"exp_avg": m, "exp_avg_sq": v, "s": s}, {"d": d, "d_max": d_max, "d_numerator": r}


def problem(steps, seed=0):
    random = np.random.default_rng(seed)
    starts = [random.standard_normal(shape) for shape in SHAPES]
    return starts, [[random.standard_normal(shape) + 0.5 for shape in SHAPES] for _ in range(steps)]


def make(starts, groups=2, **options):
    params = [torch.nn.Parameter(torch.tensor(x)) for x in starts]
    return params, Prodigy([{"params": params[:1]}, {"params": params[1:]}] if groups == 2 else params, **options)


def run(params, optimizer, gradients):
    for gs in gradients:
        for p, g in zip(params, gs, strict=True):
            p.grad = None if g is None else torch.tensor(g)
        optimizer.step()


OPTIONS = [
    {},
    {"lr": 0.5, "betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.3},
    {"weight_decay": 0.3, "decouple": False, "d_coef": 2.0},
    {"use_bias_correction": True, "growth_rate": 1.1, "d0": 1e-2},
    {"safeguard_warmup": True, "beta3": 0.9, "d0": 1e-3},
]


@PATHS
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: ",".join(o) or "defaults")
def test_steps_states_and_the_estimate_are_those_of_the_paper(options, fused):
    starts, gradients = problem(40)
    params, optimizer = make(starts, **options, fused=fused)
    run(params, optimizer, gradients)
    xs, states, numbers = equations(starts, gradients, **options)
    for i, p in enumerate(params):
        found = dict(optimizer.state[p])
        assert found.pop("step") == 40
        assert torch.equal(found.pop("p0"), torch.tensor(starts[i]))
        assert found.keys() == states.keys()
        for name, a, b in [("param", p.detach(), xs[i]), *((n, found[n], states[n][i]) for n in states)]:
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-9, atol=1e-11 * np.abs(b).max(), err_msg=name)
    for group in optimizer.param_groups:
        assert group["k"] == 40
        assert {n: group[n] for n in numbers} == pytest.approx(numbers, rel=1e-9)
    assert numbers["d"] > options.get("d0", 1e-6)


@PATHS
def test_a_warm_up_from_0_begins_with_the_first_rate(fused):
    starts, gradients = problem(12)
    rates = [0.0, 0.0, *[i / 10 for i in range(1, 11)]]
    params, optimizer = make(starts, fused=fused)
    for rate, gs in zip(rates, gradients, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        run(params, optimizer, [gs])
    xs, _, numbers = equations(starts, gradients, lr=rates)
    for p, x in zip(params, xs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), x, rtol=1e-9)
    assert optimizer.param_groups[1]["d"] == pytest.approx(numbers["d"], rel=1e-9)


def test_the_numbers_stand_in_the_groups_before_the_first_step_and_in_the_state_dict():
    starts, gradients = problem(6)
    params, optimizer = make(starts, d0=1e-4)
    assert [(g["d"], g["d_max"], g["d_numerator"], g["k"]) for g in optimizer.param_groups] == [(1e-4, 1e-4, 0, 0)] * 2
    run(params, optimizer, gradients[:3])
    again, other = make([p.detach().numpy() for p in params], d0=1e-4)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert other.param_groups[0]["d"] == optimizer.param_groups[0]["d"] > 1e-4
    run(params, optimizer, gradients[3:])
    run(again, other, gradients[3:])
    assert all(map(torch.equal, params, again))


def test_a_group_that_is_frozen_with_a_rate_of_0_stays_and_counts_for_nothing():
    starts, gradients = problem(20)
    params, optimizer = make(starts)
    optimizer.param_groups[1]["lr"] = 0.0
    run(params, optimizer, gradients)
    xs, _, numbers = equations(starts[:1], [gs[:1] for gs in gradients])
    np.testing.assert_allclose(params[0].detach().numpy(), xs[0], rtol=1e-9)
    assert all(torch.equal(p.detach(), torch.tensor(x)) for p, x in zip(params[1:], starts[1:], strict=True))
    assert [g["d"] for g in optimizer.param_groups] == pytest.approx([numbers["d"]] * 2, rel=1e-9)


def test_a_group_without_gradients_so_far_and_one_that_is_added_take_the_estimate():
    starts, gradients = problem(6)
    params, optimizer = make(starts)
    run(params, optimizer, [[gs[0], None, None] for gs in gradients[:3]])
    assert optimizer.param_groups[1]["k"] == 0
    late = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer.add_param_group({"params": [late]})
    run([*params, late], optimizer, [[*gs, np.ones(3)] for gs in gradients[3:]])
    assert len({g["d"] for g in optimizer.param_groups}) == 1
    assert [g["k"] for g in optimizer.param_groups] == [6.0] * 3


def test_it_goes_down_a_valley_without_a_rate():
    """x^4 from far away: the distance that it finds is of the order of the distance that there is."""
    x = torch.nn.Parameter(torch.tensor([30.0, -20.0], dtype=torch.float64))
    optimizer = Prodigy([x])
    for _ in range(300):
        optimizer.zero_grad()
        (x**4).sum().backward()
        optimizer.step()
    assert float(x.detach().abs().max()) < 5
    assert 1 < optimizer.param_groups[0]["d"] < 100


@pytest.mark.parametrize(
    ("option", "message"),
    [({"d0": 0}, "d0=0"), ({"growth_rate": 0.5}, "growth_rate=0.5"), ({"growth_rate": math.nan}, "growth_rate=nan")],
    ids=["d0", "growth_rate", "nan"],
)
def test_impossible_values_are_named(option, message):
    with pytest.raises(OptionError, match=message):
        make([np.ones(2)], groups=1, **option)
