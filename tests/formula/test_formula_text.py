"""The printed mathematics: equal to what a person would write, and evaluated it gives the program's numbers."""

import torch

from ravine.formula import global_norm, maximum, minimum, norm, sqrt, trace_formula, where
from ravine.formula._plain_text import formula_lines
from ravine.optim import Optimizer


def descend(param, *, update, lr):
    return param - lr * update


def lines(pieces, **hypers):
    return formula_lines(trace_formula(pieces, {"lr": 0.1, **hypers}))


def test_rmsprop_with_momentum():
    def rms(update, square_avg=0.0, *, alpha, eps):
        square_avg = alpha * square_avg + (1 - alpha) * update**2
        return update / (sqrt(square_avg) + eps), square_avg

    def heavy_ball(update, buffer=0.0, *, momentum):
        buffer = momentum * buffer + update
        return buffer, buffer

    assert lines([rms, heavy_ball, descend], alpha=0.9, eps=1e-8, momentum=0.9) == [
        "square_avgₜ = α · square_avgₜ₋₁ + (1 − α) · g²",
        "u = g / (√square_avgₜ + ε)",
        "bufferₜ = μ · bufferₜ₋₁ + u",
        "θₜ = θₜ₋₁ − lr · bufferₜ",
    ]


def test_an_update_that_a_state_uses_stands_before_it():
    def delta(update, acc=0.0, *, eps):
        update = update * sqrt(acc + eps)
        return update, acc + update**2

    assert lines([delta, descend], eps=1e-6)[:2] == ["u = g · √(accₜ₋₁ + ε)", "accₜ = accₜ₋₁ + u²"]


def test_norms_choices_and_signs():
    def clip(update, *, limit):
        return update * minimum(1.0, limit / global_norm(update))

    def odd(update, *, param, step):
        return where(step == 1, -update, maximum(abs(update), norm(param))) ** 3

    assert lines([clip, odd, descend], limit=1.0)[:2] == [
        "u = g · min(1, limit / ‖g of all tensors‖)",
        "u = where(t = 1, −u, max(|u|, ‖θₜ₋₁‖))³",
    ]


def test_a_parameter_that_two_pieces_change():
    def decay(param, *, lr, weight_decay):
        return param * (1 - lr * weight_decay)

    assert lines([decay, descend], weight_decay=0.1) == ["θ = θₜ₋₁ · (1 − lr · λ)", "θₜ = θ − lr · g"]


def test_parentheses_keep_the_order_of_operations():
    def piece(update, *, a, b):
        return update / (a / b) - (a - (b - update)) * (a / (b * update))

    assert lines([piece, descend], a=1.0, b=2.0)[0] == "u = g / (a / b) − (a − (b − g)) · (a / (b · g))"


def test_an_expression_too_large_to_read_is_printed_in_parts():
    """Twice what it is built of, thirty times: as one line it would have 10^9 operations."""

    def piece(update):
        for _ in range(30):
            update = update + 2 / update
        return update

    printed = lines([piece, descend])
    assert printed[0].startswith("x₁ = g + 2 / g + 2 / (g + 2 / g)")
    assert len(printed) < 20
    assert all(len(line) < 1000 for line in printed)
    assert printed[-1] == "θₜ = θₜ₋₁ − lr · u"
    names = {line.partition(" = ")[0] for line in printed}
    assert all(f"x{'₀₁₂₃₄₅₆₇₈₉'[n]}" in names for n in (1, 2, 3))


def test_a_formula_may_be_deeper_than_pythons_stack():
    def piece(update, *, decay):
        for _ in range(3000):
            update = decay * update + 1
        return update

    program = trace_formula([piece, descend], {"lr": 0.1, "decay": 0.5})
    assert len(formula_lines(program)) > 30
    p = torch.nn.Parameter(torch.zeros(3))
    p.grad = torch.ones(3)
    Optimizer([p], [piece, descend], lr=0.1, decay=0.5, fused=False).step()
    assert torch.allclose(p, torch.full((3,), -0.2))
