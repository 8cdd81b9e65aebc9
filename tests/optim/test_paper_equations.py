"""Optimizers that torch has not, against the equations of their papers, written in NumPy from the papers.

Where a paper leaves something open or its authors' code does otherwise, the class's docstring says which is computed; so do
these lines.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ravine.optim

SHAPES = [(7, 5), (11,), ()]
STEPS = 30


def signum(x, gs, lr, momentum=0.9, weight_decay=0.0):
    m = np.zeros_like(x)
    for g in gs:
        m = momentum * m + (1 - momentum) * g
        x = x - lr * (np.sign(m) + weight_decay * x)
    return x, {"momentum_buffer": m}


def sgdw(x, gs, lr, momentum=0.9, weight_decay=1e-2, nesterov=False):
    m = np.zeros_like(x)
    for g in gs:
        m = momentum * m + lr * g  # the paper's m has the learning rate in it
        x = x - (momentum * m + lr * g if nesterov else m) - lr * weight_decay * x
    return x, {"momentum_buffer": m / lr}


def adabelief(x, gs, lr, betas=(0.9, 0.999), eps=1e-16, weight_decay=0.0):
    m, s = np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gs, 1):
        m = betas[0] * m + (1 - betas[0]) * g
        s = betas[1] * s + (1 - betas[1]) * (g - m) ** 2 + eps
        step = m / (1 - betas[0] ** t) / (np.sqrt(s / (1 - betas[1] ** t)) + eps)
        x = x - lr * (step + weight_decay * x)
    return x, {"exp_avg": m, "exp_avg_var": s}


def yogi(x, gs, lr, betas=(0.9, 0.999), eps=1e-3, weight_decay=0.0, initial_accumulator_value=1e-6):
    m, v = np.zeros_like(x), np.full_like(x, initial_accumulator_value)
    for g in gs:
        m = betas[0] * m + (1 - betas[0]) * g
        v = v - (1 - betas[1]) * np.sign(v - g * g) * g * g
        x = x - lr * (m / (np.sqrt(v) + eps) + weight_decay * x)
    return x, {"exp_avg": m, "exp_avg_sq": v}


def adan(x, gs, lr, betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=0.0):
    b1, b2, b3 = (1 - b for b in betas)  # the paper's
    m, v, n, before = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x), gs[0]
    for t, g in enumerate(gs, 1):
        m = (1 - b1) * m + b1 * g
        v = (1 - b2) * v + b2 * (g - before)
        n = (1 - b3) * n + b3 * (g + (1 - b2) * (g - before)) ** 2
        unbiased = [a / (1 - (1 - b) ** t) for a, b in ((m, b1), (v, b2), (n, b3))]
        x = x - lr / (np.sqrt(unbiased[2]) + eps) * (unbiased[0] + (1 - b2) * unbiased[1])
        x = x / (1 + weight_decay * lr)
        before = g
    return x, {"exp_avg": m, "exp_avg_diff": v, "exp_avg_sq": n, "previous_grad": before}


def adopt(x, gs, lr, betas=(0.9, 0.9999), eps=1e-6, weight_decay=0.0):
    m, v = np.zeros_like(x), gs[0] ** 2
    for t, g in enumerate(gs[1:], 1):
        m = betas[0] * m + (1 - betas[0]) * np.clip(g / np.maximum(np.sqrt(v), eps), -(t**0.25), t**0.25)
        x = x - lr * (m + weight_decay * x)
        v = betas[1] * v + (1 - betas[1]) * g * g
    return x, {"exp_avg": m, "exp_avg_sq": v}


def stableadamw(x, gs, lr, betas=(0.9, 0.99), eps=1e-8, weight_decay=1e-2):
    v, u = np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gs, 1):
        b1, b2 = (b * (1 - b ** (t - 1)) / (1 - b**t) for b in betas)
        v = b1 * v + (1 - b1) * g
        u = b2 * u + (1 - b2) * g * g
        rate = lr / max(1.0, np.sqrt((g * g / np.maximum(u, eps * eps)).mean()))
        x = x - rate * weight_decay * x - rate * v / (np.sqrt(u) + eps)
    return x, {"exp_avg": v, "exp_avg_sq": u}


def novograd(x, gs, lr, betas=(0.95, 0.98), eps=1e-8, weight_decay=0.0):
    v = (gs[0] ** 2).sum()
    m = gs[0] / (np.sqrt(v) + eps) + weight_decay * x
    x = x - lr * m
    for g in gs[1:]:
        v = betas[1] * v + (1 - betas[1]) * (g * g).sum()
        m = betas[0] * m + (g / (np.sqrt(v) + eps) + weight_decay * x)
        x = x - lr * m
    return x, {"exp_avg": m, "exp_avg_sq": v}


def ademamix(x, gs, lr, betas=(0.9, 0.999, 0.9999), alpha=5.0, eps=1e-8, weight_decay=0.0, warmup=None):
    b1, b2, b3 = betas
    m1, m2, v = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gs, 1):
        a, b = alpha, b3
        if warmup:
            a = min(t / warmup * alpha, alpha)
            share = t / warmup
            b = min(np.exp(np.log(b1) * np.log(b3) / ((1 - share) * np.log(b3) + share * np.log(b1))), b3)
            b = b if t < warmup else b3  # beyond the warm-up the formula has a pole
        m1 = b1 * m1 + (1 - b1) * g
        m2 = b * m2 + (1 - b) * g
        v = b2 * v + (1 - b2) * g * g
        step = (m1 / (1 - b1**t) + a * m2) / (np.sqrt(v / (1 - b2**t)) + eps)
        x = x - lr * (step + weight_decay * x)
    return x, {"exp_avg": m1, "exp_avg_slow": m2, "exp_avg_sq": v}


def laprop(x, gs, lr, betas=(0.9, 0.999), eps=1e-15, weight_decay=0.0):
    m, n = np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gs, 1):
        n = betas[1] * n + (1 - betas[1]) * g * g
        m = betas[0] * m + (1 - betas[0]) * g / (np.sqrt(n / (1 - betas[1] ** t)) + eps)
        x = x - lr * (m / (1 - betas[0] ** t) + weight_decay * x)
    return x, {"exp_avg": m, "exp_avg_sq": n}


def qhadam(x, gs, lr, betas=(0.995, 0.999), nus=(0.7, 1.0), eps=1e-8, weight_decay=0.0):
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gs, 1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        above = (1 - nus[0]) * g + nus[0] * m / (1 - betas[0] ** t)
        below = np.sqrt((1 - nus[1]) * g * g + nus[1] * v / (1 - betas[1] ** t)) + eps
        x = x - lr * (above / below + weight_decay * x)
    return x, {"exp_avg": m, "exp_avg_sq": v}


def madgrad(x, gs, lr, momentum=0.9, weight_decay=0.0, eps=1e-6):
    start, s, v = x, np.zeros_like(x), np.zeros_like(x)
    for k, g in enumerate(gs):
        g = g + weight_decay * x
        s = s + lr * np.sqrt(k + 1) * g
        v = v + lr * np.sqrt(k + 1) * g * g
        x = momentum * x + (1 - momentum) * (start - s / (np.cbrt(v) + eps))
    return x, {"x0": start, "s": s, "grad_sum_sq": v}


def mars(x, gs, lr, betas=(0.95, 0.99), eps=1e-8, weight_decay=0.0, gamma=0.025):
    m, v, before = np.zeros_like(x), np.zeros_like(x), gs[0]
    for t, g in enumerate(gs, 1):
        c = g + gamma * betas[0] / (1 - betas[0]) * (g - before)
        length = np.sqrt((c * c).sum())
        c = c / length if length > 1 else c
        m = betas[0] * m + (1 - betas[0]) * c
        v = betas[1] * v + (1 - betas[1]) * c * c
        x = x - lr * (m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps) + weight_decay * x)
        before = g
    return x, {"last_grad": before, "exp_avg": m, "exp_avg_sq": v}


def lars(x, gs, lr, momentum=0.9, weight_decay=0.0, trust_coefficient=1e-3, adapt=True):
    v = np.zeros_like(x)
    for g in gs:
        of_x, of_g = np.sqrt((x * x).sum()), np.sqrt((g * g).sum())
        local = trust_coefficient * of_x / (of_g + weight_decay * of_x) if adapt and of_x and of_g else 1.0
        v = momentum * v + lr * local * (g + weight_decay * x)
        x = x - v
    return x, {"momentum_buffer": v} if momentum else {}


def lamb(x, gs, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=1e-2, adapt=True):
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gs, 1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        r = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps) + weight_decay * x
        of_x, of_r = np.sqrt((x * x).sum()), np.sqrt((r * r).sum())
        x = x - lr * (of_x / of_r if adapt and of_x and of_r else 1.0) * r
    return x, {"exp_avg": m, "exp_avg_sq": v}


CASES = [
    ("Signum", signum, {"lr": 0.01}),
    ("Signum", signum, {"lr": 0.01, "momentum": 0.7, "weight_decay": 0.3}),
    ("SGDW", sgdw, {"lr": 0.01}),
    ("SGDW", sgdw, {"lr": 0.01, "momentum": 0.7, "weight_decay": 0.3, "nesterov": True}),
    ("AdaBelief", adabelief, {"lr": 0.01}),
    ("AdaBelief", adabelief, {"lr": 0.01, "betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.3}),
    ("Yogi", yogi, {"lr": 0.01}),
    ("Yogi", yogi, {"lr": 0.01, "betas": (0.7, 0.9), "weight_decay": 0.3, "initial_accumulator_value": 0.5}),
    ("Adan", adan, {"lr": 0.01}),
    ("Adan", adan, {"lr": 0.01, "betas": (0.9, 0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3}),
    ("ADOPT", adopt, {"lr": 0.01}),
    ("ADOPT", adopt, {"lr": 0.01, "betas": (0.7, 0.95), "eps": 0.5, "weight_decay": 0.3}),
    ("StableAdamW", stableadamw, {"lr": 0.01}),
    ("StableAdamW", stableadamw, {"lr": 0.01, "betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.3}),
    ("NovoGrad", novograd, {"lr": 0.01}),
    ("NovoGrad", novograd, {"lr": 0.01, "betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.3}),
    ("AdEMAMix", ademamix, {"lr": 0.01}),
    ("AdEMAMix", ademamix, {"lr": 0.01, "betas": (0.8, 0.95, 0.99), "alpha": 3.0, "weight_decay": 0.3, "warmup": 20}),
    ("LaProp", laprop, {"lr": 0.01}),
    ("LaProp", laprop, {"lr": 0.01, "betas": (0.95, 0.7), "eps": 1e-3, "weight_decay": 0.3}),
    ("QHAdam", qhadam, {"lr": 0.01}),
    ("QHAdam", qhadam, {"lr": 0.01, "betas": (0.9, 0.95), "nus": (0.4, 0.8), "eps": 1e-3, "weight_decay": 0.3}),
    ("MADGRAD", madgrad, {"lr": 0.01}),
    ("MADGRAD", madgrad, {"lr": 0.01, "momentum": 0.0, "weight_decay": 0.3, "eps": 1e-3}),
    ("MARS", mars, {"lr": 0.01}),
    ("MARS", mars, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3, "gamma": 0.1}),
    ("LARS", lars, {"lr": 1.0}),
    ("LARS", lars, {"lr": 2.0, "momentum": 0.7, "weight_decay": 0.3, "trust_coefficient": 0.01}),
    ("LARS", lars, {"lr": 0.01, "momentum": 0.0, "weight_decay": 0.3, "adapt": False}),
    ("LAMB", lamb, {"lr": 0.01}),
    ("LAMB", lamb, {"lr": 0.01, "betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.3}),
    ("LAMB", lamb, {"lr": 0.01, "adapt": False}),
]


def compare(cls, equations, options, starts, gradients, fused):
    params = [torch.nn.Parameter(torch.tensor(x)) for x in starts]
    optimizer = cls(params, **options, fused=fused)
    for gs in gradients:
        for p, g in zip(params, gs, strict=True):
            p.grad = torch.tensor(g)
        optimizer.step()
    for i, p in enumerate(params):
        expected, states = equations(starts[i], [gs[i] for gs in gradients], **options)
        found = dict(optimizer.state[p])
        assert found.pop("step") == len(gradients)
        assert found.keys() == states.keys()
        for name, a, b in [("param", p.detach(), expected), *((n, found[n], states[n]) for n in states)]:
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-11, atol=1e-12 * np.abs(b).max(), err_msg=name)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "eager"])
@pytest.mark.parametrize(("name", "equations", "options"), CASES, ids=[f"{n}-{','.join(o)}" for n, _, o in CASES])
def test_steps_and_states_are_those_of_the_paper(name, equations, options, fused):
    random = np.random.default_rng(0)
    starts = [random.standard_normal(s) for s in SHAPES]
    # Large and small ones: what is clipped is clipped in some steps and tensors, and in others not.
    gradients = [[random.standard_normal(s) * 10 ** random.uniform(-2, 1) for s in SHAPES] for _ in range(STEPS)]
    compare(getattr(ravine.optim, name), equations, options, starts, gradients, fused)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "eager"])
@pytest.mark.parametrize(("name", "equations"), [("LARS", lars), ("LAMB", lamb)], ids=["LARS", "LAMB"])
def test_a_norm_of_0_leaves_the_step_unscaled(name, equations, fused):
    starts = [np.zeros(3), np.ones(3)]
    gradients = [[np.arange(1.0, 4.0), np.zeros(3)]] * 2
    compare(getattr(ravine.optim, name), equations, {"lr": 0.1, "weight_decay": 0.0}, starts, gradients, fused)
