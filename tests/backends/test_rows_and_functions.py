"""Rows, columns and functions of whole tensors by kernels of the CPU, of a GPU (interpreted), and torch's operations."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch.nn import Parameter

from ravine.errors import BackendError, NonFiniteError
from ravine.formula import mean, norm, reduced, tensor_function, tensor_state, where
from ravine.optim import AdamMini, Optimizer, pieces


def stepped(rule: Any, fused: bool | None, **options: Any) -> tuple[Parameter, Optimizer]:
    generator = torch.Generator().manual_seed(0)
    p = Parameter(torch.randn(6, 4, generator=generator, dtype=torch.float64))
    p.grad = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    optimizer = Optimizer([p], [rule, pieces.descend], lr=0.1, fused=False if fused is False else None, **options)
    return p, optimizer


@tensor_function
def same(x: Any) -> Any:
    return x


@tensor_function(returns=2)
def swapped(a: Any, b: Any) -> Any:
    return b, a


def test_a_truth_value_that_is_a_number_chooses_rows(fused: bool | None) -> None:
    def rule(update: Any, row: Any = reduced(0.0, dim=-1)) -> Any:
        row = where(norm(update) > 1, mean(update, dim=-1), row)
        return update, row

    p, optimizer = stepped(rule, fused)
    optimizer.step()
    torch.testing.assert_close(optimizer.state[p]["row"], p.grad.mean(1, keepdim=True))  # type: ignore[union-attr]


def test_a_choice_of_two_constants_by_rows_is_in_double_precision(fused: bool | None) -> None:
    def rule(update: Any) -> Any:
        return where(mean(update, dim=-1) > 0, 0.1, 0.7) * update

    p, optimizer = stepped(rule, fused)
    before, g = p.detach().clone(), p.grad
    optimizer.step()
    assert g is not None
    chosen = torch.where(g.mean(1, keepdim=True) > 0, *(torch.tensor(x, dtype=torch.float64) for x in (0.1, 0.7)))
    torch.testing.assert_close(p.detach(), before - 0.1 * chosen * g, rtol=1e-13, atol=0)


def test_a_function_that_gives_back_the_parameter_gives_the_old_one(fused: bool | None) -> None:
    def rule(update: Any, old: Any = 0.0, previous: Any = tensor_state(lambda shape: shape), *, param: Any) -> Any:
        return update, same(param), same(param)

    p, optimizer = stepped(rule, fused)
    before = p.detach().clone()
    optimizer.step()
    assert torch.equal(optimizer.state[p]["old"], before)
    assert torch.equal(optimizer.state[p]["previous"], before)


def test_a_function_can_swap_two_states(fused: bool | None) -> None:
    def rule(update: Any, a: Any = tensor_state(lambda s: s), b: Any = tensor_state(lambda s: s)) -> Any:
        a, b = swapped(a, b)
        return update, a, b

    p, optimizer = stepped(rule, fused)
    optimizer.step()
    optimizer.state[p]["a"].fill_(1.0)
    optimizer.state[p]["b"].fill_(2.0)
    optimizer.step()
    assert (float(optimizer.state[p]["a"][0, 0]), float(optimizer.state[p]["b"][0, 0])) == (2.0, 1.0)


def test_a_function_that_gives_back_a_parameter_whose_data_was_replaced_gives_the_old_one(fused: bool | None) -> None:
    def rule(update: Any, previous: Any = tensor_state(lambda shape: shape), *, param: Any) -> Any:
        return update, same(param)

    p, optimizer = stepped(rule, fused)
    optimizer.step()
    p.data = p.detach() + 1
    before = p.detach().clone()
    optimizer.step()
    assert torch.equal(optimizer.state[p]["previous"], before)


@tensor_function(returns=2)
def whitened(grad: Any, left: Any) -> Any:
    """As in docs/formulas.md."""
    left = left + grad @ grad.mT
    values, vectors = torch.linalg.eigh(left)
    return vectors / (values + 1e-6).sqrt() @ vectors.mT @ grad, left


@pytest.mark.filterwarnings("ignore:nonfinite='skip'")
@pytest.mark.parametrize("policy", ["skip", "raise"])
def test_gradients_that_are_not_finite_do_not_reach_functions(policy: Any, fused: bool | None) -> None:
    def rule(update: Any, left: Any = tensor_state(lambda s: (s[0], s[0]))) -> Any:
        return whitened(2 * update, left)

    p, optimizer = stepped(rule, fused, nonfinite=policy)
    before = p.detach().clone()
    assert p.grad is not None
    p.grad[2, 2] = float("nan")
    with pytest.raises(NonFiniteError) if policy == "raise" else contextlib.nullcontext():
        optimizer.step()
    assert torch.equal(p.detach(), before)


@pytest.mark.parametrize("whole", [False, True], ids=["rows", "functions"])
def test_a_first_step_in_inference_mode(whole: bool, fused: bool | None) -> None:
    def rows(update: Any, row: Any = reduced(0.0, dim=-1)) -> Any:
        return update, row + mean(update, dim=-1)

    def functions(update: Any) -> Any:
        return same(2 * update)

    _, optimizer = stepped(functions if whole else rows, fused)
    with torch.inference_mode():
        optimizer.step()
    optimizer.step()


def test_functions_that_are_given_a_number_of_all_are_given_tensors_together(
    request: pytest.FixtureRequest, fused: bool | None
) -> None:
    shapes = []

    @tensor_function(batched=True)
    def scaled(x: Any, n: Any) -> Any:
        shapes.append(tuple(x.shape))
        return x * n

    def rule(update: Any, *, step: Any) -> Any:
        return scaled(2 * update, step)

    params = [Parameter(torch.zeros(3, 2)) for _ in range(4)]
    for p in params:
        p.grad = torch.ones(3, 2)
    optimizer = Optimizer(params, [rule, pieces.descend], lr=0.1, fused=False if fused is False else None)
    for _ in range(2):
        optimizer.step()
    # Without kernels nothing knows that a number on a device is the same for all, and reading it would wait.
    alone = request.node.callspec.params["fused"] == "lists"
    assert shapes[1:] == ([(3, 2)] * 7 if alone else [(4, 3, 2)])


def test_a_number_that_differs_from_tensor_to_tensor_is_its_own(fused: bool | None) -> None:
    @tensor_function(batched=True)
    def scaled(x: Any, n: Any) -> Any:
        return x * n

    def rule(update: Any, *, step: Any) -> Any:
        return scaled(2 * update, step)

    params = [Parameter(torch.zeros(3, 2)) for _ in range(3)]
    optimizer = Optimizer(params, [rule, pieces.descend], lr=1.0, fused=False if fused is False else None)
    for step in range(3):
        for i, p in enumerate(params):
            p.grad = None if (i, step) == (1, 1) else torch.ones(3, 2)
        optimizer.step()
    assert [float(p.detach()[0, 0]) for p in params] == [-12.0, -6.0, -12.0]  # 2 (1 + 2 + 3), and 2 (1 + 2)


def test_bytes_moved_are_those_of_every_kernel() -> None:
    """The gradient for the sums; then the parameter, the gradient and a state are read, and two of them written."""
    p = Parameter(torch.zeros(64, 32))
    p.grad = torch.ones(64, 32)
    optimizer = AdamMini([p], lr=0.1)
    optimizer.step()
    assert optimizer.bytes_moved() == (1 + 3 + 2) * 4 * p.numel()


def test_what_passes_made_for_functions_is_let_go_of_after_the_step(fused: bool | None) -> None:
    """The CPU's kernels keep it: they have its address."""

    def rule(update: Any) -> Any:
        return same(2 * update)

    _, optimizer = stepped(rule, fused)
    optimizer.step()
    batch: Any = optimizer._plan._entries[0].batch  # type: ignore[union-attr]
    if type(batch).__name__ == "Eager":
        assert not any(batch._calls.made)


@pytest.mark.parametrize("gives", [lambda x: x[:1], lambda x: x.sum()], ids=["too few", "none"])
def test_a_function_of_many_that_gives_fewer_is_an_error_and_nothing_is_written(gives: Any, fused: bool | None) -> None:
    fewer = tensor_function(batched=True)(lambda x: gives(x))

    def rule(update: Any) -> Any:
        return fewer(2 * update)

    params = [Parameter(torch.zeros(3, 2)) for _ in range(2)]
    optimizer = Optimizer(params, [rule, pieces.descend], lr=0.1, fused=False if fused is False else None)
    for p in params:
        p.grad = torch.ones(3, 2)
    with pytest.raises(BackendError, match="tensor function"):
        optimizer.step()
    assert not any(p.any() for p in params)


def test_a_function_that_fails_is_named_with_what_it_was_given(fused: bool | None) -> None:
    @tensor_function
    def whitening(x: Any) -> Any:
        return x @ x.mT @ x

    def rule(update: Any) -> Any:
        return whitening(2 * update)

    p = Parameter(torch.zeros(7))
    p.grad = torch.ones(7)
    with pytest.raises(RuntimeError) as caught:
        Optimizer([p], [rule, pieces.descend], lr=0.1, fused=False if fused is False else None).step()
    assert "tensor function whitening, given tensors of shape (7,)" in caught.value.__notes__[0]
    assert not p.any()


def test_many_rows_are_added_in_double_precision() -> None:
    """One sum in single precision stops at 2**24."""

    def rule(update: Any) -> Any:
        return update / mean(mean(update, dim=-1), dim=-2)

    p = Parameter(torch.zeros(1 << 25, 1))
    p.grad = torch.ones_like(p)
    Optimizer([p], [rule, pieces.descend], lr=1.0, watch=False).step()
    assert float(p.detach()[0, 0]) == -1.0
