"""Optimizers of torch that Ravine does not have, written as formulas: the same numbers, and their state dicts are loaded."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch_pairs import Gradients, assert_close, make_params, twins

from ravine.errors import StateError
from ravine.formula import maximum, sqrt
from ravine.optim import Adam, Hyper, Optimizer


def adamax(param, exp_avg=0.0, exp_inf=0.0, *, grad, lr, betas, eps, step):
    beta1, beta2 = betas
    exp_avg = beta1 * exp_avg + (1 - beta1) * grad
    exp_inf = maximum(beta2 * exp_inf, abs(grad) + eps)
    return param - lr / (1 - beta1**step) * exp_avg / exp_inf, exp_avg, exp_inf


def nadam(param, exp_avg=0.0, exp_avg_sq=0.0, mu_product=1.0, *, grad, lr, betas, eps, momentum_decay, step):
    beta1, beta2 = betas
    mu = beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
    mu_product = mu_product * mu
    exp_avg = beta1 * exp_avg + (1 - beta1) * grad
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * grad**2
    denominator = sqrt(exp_avg_sq / (1 - beta2**step)) + eps
    param = param - lr * (1 - mu) / (1 - mu_product) * grad / denominator
    param = param - lr * mu_next / (1 - mu_product * mu_next) * exp_avg / denominator
    return param, exp_avg, exp_avg_sq, mu_product


def asgd(param, ax=0.0, *, grad, lr, lambd, alpha, t0, step):
    eta = lr / (1 + lambd * lr * (step - 1)) ** alpha
    param = param * (1 - lambd * eta) - eta * grad
    return param, ax + (param - ax) / maximum(1.0, step - 1 - t0)


FORMULAS = {
    "Adamax": (adamax, {"lr": 0.02, "betas": (0.9, 0.99), "eps": 1e-8}),
    "NAdam": (nadam, {"lr": 0.02, "betas": (0.9, 0.99), "eps": 1e-8, "momentum_decay": 4e-3}),
    "ASGD": (asgd, {"lr": 0.02, "lambd": 1e-2, "alpha": 0.75, "t0": 2.0}),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_training_goes_on_from_torchs_state_dict(name):
    piece, options = FORMULAS[name]

    class Written(Optimizer):
        hypers: ClassVar = {"betas": Hyper(low=0, high=1, length=2)}

        def __init__(self, params, **given):
            super().__init__(params, [piece], **given)

    others = make_params([(3, 2), (4,)], torch.float64)
    theirs = getattr(torch.optim, name)(others, **options)
    gradients = Gradients()
    for _ in range(4):
        gradients(others)
        theirs.step()
    params = twins(others)
    ours = Written(params, **{**options, "lr": 0.5})
    ours.load_state_dict(theirs.state_dict())
    assert ours.param_groups[0]["lr"] == 0.02
    for _ in range(4):
        gradients(params, others)
        ours.step()
        theirs.step()
    if name == "Adamax":
        assert_close(ours, theirs, params, others)
    # torch keeps mu_product and eta in float32
    assert all(torch.allclose(p, q, rtol=1e-6, atol=1e-8) for p, q in zip(params, others, strict=True))
    again = Written(params, **options)
    again.load_state_dict(ours.state_dict())


def test_a_state_dict_of_another_optimizer_is_still_refused():
    (p,) = make_params([(3, 2)], torch.float64)
    theirs = torch.optim.Adam([p])
    Gradients()([p])
    theirs.step()
    with pytest.raises(StateError, match="exp_avg_sq"):
        Optimizer([p], [adamax], lr=0.1, betas=(0.9, 0.99), eps=1e-8).load_state_dict(theirs.state_dict())
    with pytest.raises(StateError, match="another optimizer"):
        Adam([p]).load_state_dict(torch.optim.SGD([p]).state_dict())
    theirs = torch.optim.NAdam([p])
    theirs.step()
    with pytest.raises(StateError, match="another optimizer"):
        Adam([p]).load_state_dict(theirs.state_dict())
