"""Lion against the lines of the paper (Chen et al., 2023, algorithm 2) in NumPy."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from ravine.optim import Lion


@pytest.mark.parametrize("fused", [None, False])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_steps_are_those_of_the_paper(fused, weight_decay):
    random = np.random.default_rng(0)
    theta, m = random.standard_normal((7, 5)), np.zeros((7, 5))
    p = torch.nn.Parameter(torch.from_numpy(theta.copy()))
    optimizer = Lion([p], lr=0.01, betas=(0.8, 0.95), weight_decay=weight_decay, fused=fused)
    for _ in range(30):
        g = random.standard_normal((7, 5))
        c = 0.8 * m + 0.2 * g
        theta = theta - 0.01 * (np.sign(c) + weight_decay * theta)
        m = 0.95 * m + 0.05 * g
        p.grad = torch.from_numpy(g)
        optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), theta, rtol=1e-12)
    np.testing.assert_allclose(optimizer.state[p]["exp_avg"].numpy(), m, rtol=1e-12)


def test_an_optimizer_is_one_short_file():
    """What CONTRIBUTING shows to those who add one: formula, options, ranges, search, rates and documentation."""
    assert len(inspect.getsource(inspect.getmodule(Lion)).splitlines()) < 60
