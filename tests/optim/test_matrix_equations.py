"""Optimizers of matrices against the lines of their papers, in NumPy, float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from ravine.optim import CAME, SOAP, AdamMini, NorMuon, PSGDKron, Shampoo
from ravine.optim._muon import COEFFICIENTS, orthogonalize

pytestmark = pytest.mark.usefixtures("one_thread")
PATHS = pytest.mark.parametrize("fused", [None, False], ids=["kernel", "eager"])
STEPS = 25


def run(make, lines, fused, shape=(6, 4), rtol=1e-9):
    """Steps of an optimizer beside the paper's lines: ``lines(parameter, gradient, t)`` gives the new parameter."""
    generator = torch.Generator().manual_seed(0)
    p = Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
    optimizer = make([p], fused=fused)
    wanted = p.detach().numpy().copy()
    for t in range(1, STEPS + 1):
        p.grad = torch.randn(shape, generator=generator, dtype=torch.float64)
        optimizer.step()
        wanted = lines(wanted, p.grad.numpy(), t)
        np.testing.assert_allclose(p.detach().numpy(), wanted, rtol=rtol, atol=rtol, err_msg=f"step {t}")


@PATHS
def test_adam_mini_has_one_rate_for_a_row(fused):
    m, v = np.zeros((6, 4)), np.zeros((6, 1))

    def lines(p, g, t):
        nonlocal m, v
        m = 0.8 * m + 0.2 * g
        v = 0.9 * v + 0.1 * np.mean(g * g, axis=1, keepdims=True)
        p = p - 0.01 * 0.1 * p
        return p - 0.01 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-8)

    run(lambda ps, **k: AdamMini(ps, lr=0.01, betas=(0.8, 0.9), weight_decay=0.1, **k), lines, fused)


@PATHS
def test_came_divides_by_how_far_updates_were_from_their_average(fused):
    rows, columns, m = np.zeros((6, 1)), np.zeros((1, 4)), np.zeros((6, 4))
    res_rows, res_columns = np.zeros((6, 1)), np.zeros((1, 4))

    def over_root(x, r, c):
        return x / np.sqrt(r * c / r.mean())

    def lines(p, g, t):
        nonlocal rows, columns, m, res_rows, res_columns
        square = g * g + 1e-30
        rows = 0.9 * rows + 0.1 * square.mean(1, keepdims=True)
        columns = 0.9 * columns + 0.1 * square.mean(0, keepdims=True)
        u = over_root(g, rows, columns)
        u = u / max(1.0, np.sqrt(np.mean(u * u)) / 0.7)
        m = 0.8 * m + 0.2 * u
        apart = (u - m) ** 2 + 1e-16
        res_rows = 0.95 * res_rows + 0.05 * apart.mean(1, keepdims=True)
        res_columns = 0.95 * res_columns + 0.05 * apart.mean(0, keepdims=True)
        return p * (1 - 0.01 * 0.1) - 0.01 * over_root(m, res_rows, res_columns)

    def make(ps, **k):
        return CAME(ps, lr=0.01, betas=(0.8, 0.9, 0.95), clip_threshold=0.7, weight_decay=0.1, **k)

    run(make, lines, fused)


@PATHS
def test_normuon_makes_the_rows_of_the_orthogonal_update_even(fused):
    m, v = np.zeros((6, 4)), np.zeros((6, 1))

    def lines(p, g, t):
        nonlocal m, v
        m = 0.9 * m + 0.1 * g
        o = orthogonalize(torch.from_numpy(m), COEFFICIENTS, 5, 1e-7).numpy()
        v = 0.8 * v + 0.2 * np.mean(o * o, axis=1, keepdims=True)
        o = o / (np.sqrt(v) + 1e-8)
        return p * (1 - 0.02 * 0.1) - 0.02 * o * 0.2 * np.sqrt(o.size) / (np.linalg.norm(o) + 1e-8)

    # The iteration rounds to bfloat16, where a last digit can become a third one.
    run(lambda ps, **k: NorMuon(ps, lr=0.02, momentum=0.9, beta2=0.8, nesterov=False, **k), lines, fused, rtol=2e-3)


@PATHS
def test_shampoo_steps_between_the_fourth_roots_of_its_sums(fused):
    left, right, m = np.zeros((6, 6)), np.zeros((4, 4)), np.zeros((6, 4))

    def root(x):
        values, vectors = np.linalg.eigh(x)
        return (vectors * (np.maximum(values, 0) + 1e-4) ** -0.25) @ vectors.T

    def lines(p, g, t):
        nonlocal left, right, m
        left, right = left + g @ g.T, right + g.T @ g
        m = 0.9 * m + root(left) @ g @ root(right)
        return p - 0.05 * m

    run(lambda ps, **k: Shampoo(ps, lr=0.05, momentum=0.9, eps=1e-4, **k), lines, fused, rtol=1e-7)


@PATHS
def test_soap_is_adam_in_the_basis_of_eigenvectors(fused):
    """Signs of eigenvectors change nothing of the step, so NumPy's may be others. Nothing is preconditioned in the first step."""
    left, right, m, v = (np.zeros((4, 4)) for _ in range(4))
    basis: list[np.ndarray] = []

    def lines(p, g, t):
        nonlocal left, right, m, v, basis
        if t > 1:
            m = 0.8 * m + 0.2 * g
            turned = basis[0].T @ g @ basis[1]
            v = 0.9 * v + 0.1 * turned**2
            k = t - 1
            step = (basis[0].T @ m @ basis[1]) * np.sqrt(1 - 0.9**k) / (1 - 0.8**k) / (np.sqrt(v) + 1e-8)
            p = (p - 0.01 * basis[0] @ step @ basis[1].T) * (1 - 0.01 * 0.1)
        left, right = 0.7 * left + 0.3 * g @ g.T, 0.7 * right + 0.3 * g.T @ g
        if t == 1:
            basis = [np.linalg.eigh(x)[1][:, ::-1] for x in (left, right)]
        return p

    def make(ps, **k):
        options = {"shampoo_beta": 0.7, "weight_decay": 0.1, "precondition_frequency": 1000}
        return SOAP(ps, lr=0.01, betas=(0.8, 0.9), **options, **k)

    run(make, lines, fused, shape=(4, 4), rtol=1e-6)


@PATHS
@pytest.mark.parametrize("largest", [6, 5], ids=["triangular", "rows diagonal"])
def test_psgd_steps_its_factors_until_gradients_are_as_white_as_noise(largest, fused):
    """Q -= mu * triu(A A' - B B') / bound(A A' + B B') * Q; of a side with a diagonal factor only the diagonals count."""
    left, right, m = np.eye(6), np.eye(4), np.zeros((6, 4))

    def bound(x):
        longest = x[:, np.argmax((x * x).sum(0))]
        direction = x @ longest / np.linalg.norm(x @ longest)
        return np.linalg.norm(x @ direction)

    def fitted(q, a, b):
        one, other = a @ a.T, b @ b.T
        if len(q) > largest:
            one, other = np.diag(np.diag(one)), np.diag(np.diag(other))
            return q - 0.1 * (one - other) / np.max(one + other) @ q
        return q - 0.1 * np.triu(one - other) / bound(one + other) @ q

    def lines(p, g, t):
        nonlocal left, right, m
        m = 0.6 * m + 0.4 * g
        unbiased = m / (1 - 0.6**t)
        v = torch.randn(6, 4, generator=torch.Generator().manual_seed(t), dtype=torch.float64).numpy()
        a = left @ unbiased @ right.T
        b = np.linalg.inv(left).T @ v @ np.linalg.inv(right)
        left, right = fitted(left, a, b), fitted(right, a.T, b.T)
        step = left.T @ left @ unbiased @ right.T @ right
        size = np.sqrt(np.mean(step * step))
        shortened.append(size > 1.1)
        return p * (1 - 0.05 * 0.1) - 0.05 * step * min(1.0, 1.1 / (size + 1e-6))

    def make(ps, **k):
        return PSGDKron(ps, lr=0.05, momentum=0.6, weight_decay=0.1, max_size_triangular=largest, **k)

    shortened: list[bool] = []
    run(make, lines, fused)
    assert any(shortened)
    assert not all(shortened)


@PATHS
def test_the_factors_of_psgd_whiten_what_is_correlated(fused):
    """Gradients A Z B' with Z white: what is stepped by has nearly white rows and columns after some hundred steps."""
    generator = torch.Generator().manual_seed(0)
    a = torch.diag(torch.tensor([4.0, 1.0, 0.5], dtype=torch.float64))
    a = a @ (torch.eye(3, dtype=torch.float64) + 0.5 * torch.ones(3, 3))
    p = Parameter(torch.zeros(3, 4, dtype=torch.float64))
    optimizer = PSGDKron([p], lr=1.0, momentum=0.0, precondition_lr=0.1, fused=fused)
    updates, raw = [], []
    for t in range(900):
        before = p.detach().clone()
        p.grad = a @ torch.randn(3, 4, generator=generator, dtype=torch.float64)
        optimizer.step()
        if t >= 600:
            updates.append(before - p.detach())
            raw.append(p.grad)

    def condition(xs):
        values = torch.linalg.eigvalsh(sum(x @ x.T for x in xs))
        return float(values[-1] / values[0])

    assert condition(raw) > 50
    assert condition(updates) < condition(raw) / 10


@pytest.mark.parametrize("cls", [Shampoo, SOAP, PSGDKron, NorMuon], ids=lambda c: c.__name__)
def test_a_gradient_that_is_not_finite_raises_nothing_in_the_middle_of_a_step(cls):
    p = Parameter(torch.ones(3, 2))
    optimizer = cls([p], lr=0.01)
    p.grad = torch.full((3, 2), float("nan"))
    optimizer.step()
    optimizer.step()
    assert float(optimizer.state[p]["step"]) == 2
    assert not torch.isfinite(p).all()
