"""Formulas on lists of tensors: what is written in place, and when, does not show in what is computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import Parameter

from ravine.backends._foreach import Foreach
from ravine.backends._tensor_lists import PerTensor, TensorList, each, put
from ravine.formula import _functions as functions
from ravine.formula import exp, floor, maximum, minimum, norm, where
from ravine.optim import Optimizer

pytestmark = pytest.mark.usefixtures("lists")


def stepped(
    piece: Callable[..., Any], fused: bool | None, watch: bool, **options: Any
) -> list[dict[str, torch.Tensor]]:
    """The parameters and states after three steps, the second without one of the gradients."""
    generator = torch.Generator().manual_seed(0)
    params = [Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 4), (), (0,), (7,))]
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.5}]
    optimizer = Optimizer(groups, [piece], lr=1.0, fused=fused, watch=watch, **options)
    for step in range(3):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator)
        params[1].grad = None if step == 1 else params[1].grad
        optimizer.step()
    assert optimizer._plan is not None
    assert all(isinstance(entry.batch, Foreach) for entry in optimizer._plan._entries) == (fused is None)
    return [{"param": p.detach(), **optimizer.state[p]} for p in params]


def keep_old(param: Any, old: Any = 0.0, *, grad: Any, lr: Any) -> Any:
    return param - lr * grad, param


def swap(param: Any, a: Any = 1.0, b: Any = 2.0, *, grad: Any, lr: Any) -> Any:
    return param - lr * grad, b, a + param


def turn(param: Any, a: Any = 1.0, b: Any = 2.0, c: Any = 3.0, *, grad: Any, lr: Any) -> Any:
    return a, b, c, param - lr * grad


def alike(param: Any, a: Any = 1.0, b: Any = 2.0, *, grad: Any, lr: Any) -> Any:
    return a, param - lr * grad, param - lr * grad


def times_one(param: Any, a: Any = 1.0, b: Any = 2.0, *, grad: Any, lr: Any) -> Any:
    """In the first group lr is 1, so that torch's operations need not multiply."""
    scaled = lr * a
    return param - scaled * grad, a + grad, scaled * scaled + grad


def one_of_two(param: Any, a: Any = 1.0, b: Any = 2.0, *, grad: Any, lr: Any, step: Any) -> Any:
    chosen = where(step > 1, a, b)
    return param - chosen * grad, a + grad, chosen * chosen + b


def in_one_expression(param: Any, a: Any = 1.0, b: Any = 2.0, *, grad: Any, lr: Any, step: Any) -> Any:
    return param - grad, a * 0.5 + where(step > 1, a, b) * 3.0, b + 1


def of_its_own_norm(param: Any, a: Any = 1.0, b: Any = 2.0, *, grad: Any, lr: Any) -> Any:
    chosen = where(norm(grad) > 2, a, b)  # of some tensors the one, of others the other
    return param - chosen * grad, a * 0.5 + chosen * 3.0, chosen * chosen + b


def chosen_and_changed(param: Any, a: Any = 1.0, b: Any = 2.0, *, grad: Any, lr: Any) -> Any:
    return param - exp(where(norm(grad) > 2, a, b)) * grad, a + grad, b - lr * grad


def truths(param: Any, a: Any = 1.0, *, grad: Any, lr: Any, step: Any) -> Any:
    both = where((lr > 0.7) & (grad > 0), grad, 0.25)
    return where((step > 1) | (grad > 0), param - lr * both, param), where((norm(grad) > 2) & (a > 0), a, grad)


def extremes(param: Any, a: Any = 1.0, *, grad: Any, lr: Any) -> Any:
    return param - lr * (grad + maximum(grad, a)), minimum(a, param) + a


def one_number(param: Any, a: Any = 1.0, b: Any = 2.0, *, grad: Any, lr: Any) -> Any:
    return param - lr * grad, norm(grad), norm(grad) * lr + a * 0


FORMULAS = [
    *(keep_old, swap, turn, alike, times_one, one_of_two, in_one_expression, of_its_own_norm),
    *(chosen_and_changed, truths, extremes, one_number),
]


@pytest.mark.parametrize("options", [{}, {"nonfinite": "skip"}], ids=str)
@pytest.mark.parametrize("watch", [True, False])
@pytest.mark.parametrize("piece", FORMULAS, ids=lambda piece: piece.__name__)
def test_numbers_are_those_of_one_tensor_after_the_other(piece, watch, options):
    for ours, eager in zip(
        stepped(piece, None, watch, **options), stepped(piece, False, watch, **options), strict=True
    ):
        assert ours.keys() == eager.keys()
        for name, value in eager.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-6, atol=1e-6)


def test_a_number_for_each_tensor_is_written_to_all_its_elements():
    tensors = [torch.zeros(2), torch.zeros(()), torch.zeros(1)]
    put(TensorList(tensors, False), PerTensor([1.0, torch.tensor(2.0), 1e300]))
    assert [t.tolist() for t in tensors] == [[1.0, 1.0], 2.0, [math.inf]]


def test_what_is_chosen_for_each_tensor_is_not_written_over():
    a, b = (TensorList([torch.full((2,), value) for _ in range(2)], False) for value in (4.0, 9.0))
    roots = each(functions.where, PerTensor([True, False]), a, b).run("sqrt")
    assert [t.tolist() for t in roots.tensors] == [[2.0, 2.0], [3.0, 3.0]]
    assert [t.tolist() for t in (*a.tensors, *b.tensors)] == [[4.0, 4.0]] * 2 + [[9.0, 9.0]] * 2


def test_what_a_function_raises_is_raised_before_anything_is_written(monkeypatch):
    """After a parameter was written in place, a state could not be computed, and half of a step was made."""

    def rounded_down(param: Any, a: Any = 0.0, *, grad: Any, lr: Any) -> Any:
        return param - lr * grad, floor(a + grad)

    def cannot(x: Any) -> Any:
        raise NotImplementedError("floor")

    monkeypatch.setattr(functions, "floor", cannot)
    p = Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = Optimizer([p], [rounded_down], lr=1.0)
    with pytest.raises(NotImplementedError):
        optimizer.step()
    assert p.tolist() == [1.0] * 3
    assert float(optimizer.state[p]["step"]) == 0
