"""What a step makes of NaN, infinity, zero and negative numbers: the same in the kernel and in torch's operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ravine.formula import exp, global_norm, isfinite, isnan, log, maximum, minimum, norm, sign, sqrt, where
from ravine.optim import Optimizer

INF, NAN = math.inf, math.nan


def step(
    piece: Callable[..., Any],
    fused: bool | None,
    grad: list[float],
    param: list[float] | None = None,
    dtype: torch.dtype = torch.float32,
    **hypers: Any,
) -> list[float]:
    """The parameter after one step; it starts at 0 unless said."""
    p = torch.nn.Parameter(torch.tensor(param or [0.0] * len(grad), dtype=dtype))
    p.grad = torch.tensor(grad, dtype=dtype)
    Optimizer([p], [piece], fused=fused, watch=False, **hypers).step()
    return [float(x) for x in p.detach()]


def same(result: list[float], wanted: list[float]) -> bool:
    """Whether the numbers are equal; NaN equals NaN."""
    return result == pytest.approx(wanted, rel=1e-6, abs=0, nan_ok=True)


def test_whether_a_computed_value_is_finite_is_seen(fused: bool | None) -> None:
    def guard(param: Any, *, grad: Any, a: Any) -> Any:
        update = grad * a + grad
        return where(isfinite(update), update, -1.0)

    def is_nan(param: Any, *, grad: Any, a: Any) -> Any:
        return where(isnan(grad - a * grad), -1.0, grad)

    grads = [1.0, INF, -INF, NAN, 3e38]
    assert same(step(guard, fused, grads, a=2.0), [3.0, -1.0, -1.0, -1.0, -1.0])
    assert same(step(is_nan, fused, grads, a=0.0), [1.0, -1.0, -1.0, -1.0, 3e38])


def over_norm(param: Any, *, grad: Any) -> Any:
    return param + (1 / global_norm(grad)) * 0.5 + 0 * grad


def over_tensor_norm(param: Any, *, grad: Any, a: Any) -> Any:
    return param + sqrt(a / norm(grad)) + 0 * grad


def over_root_of_zero(param: Any, *, grad: Any, a: Any) -> Any:
    return param + 1 / sqrt(a) + grad


def over_difference(param: Any, *, grad: Any, a: Any, step: Any) -> Any:
    return param + a / (1 - step) + 0 / (1 - step) * where(a > 5, 1, 0) + grad


def test_a_number_divided_by_zero_has_the_value_of_ieee_arithmetic(fused: bool | None) -> None:
    assert same(step(over_norm, fused, [0.0, 0.0]), [INF, INF])
    assert same(step(over_tensor_norm, fused, [0.0], a=2.0), [INF])
    assert same(step(over_tensor_norm, fused, [0.0], a=-2.0), [NAN])
    assert same(step(over_root_of_zero, fused, [1.0], a=0.0), [INF])  # not undone by math.sqrt
    assert same(step(over_root_of_zero, fused, [1.0], a=-1.0), [NAN])
    assert same(step(over_difference, fused, [1.0], a=-3.0), [NAN])


def test_a_step_that_divides_by_zero_is_counted_once_and_writes(fused: bool | None) -> None:
    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.zeros(2)
    optimizer = Optimizer([p], [over_norm], fused=fused)
    optimizer.step()
    assert float(optimizer.state[p]["step"]) == 1
    assert torch.isinf(p).all()


def test_a_division_by_the_constant_zero(fused: bool | None) -> None:
    def over_zero(param: Any, *, grad: Any) -> Any:
        return grad / 0

    assert same(step(over_zero, fused, [2.0, -2.0, 0.0]), [INF, -INF, NAN])


def test_numbers_too_large_for_a_power_are_infinite(fused: bool | None) -> None:
    def power(param: Any, *, grad: Any, a: Any, b: Any) -> Any:
        return grad * a**b

    assert same(step(power, fused, [1.0], a=10.0, b=400.0), [INF])
    assert same(step(power, fused, [1.0], a=-10.0, b=401.0), [-INF])
    assert same(step(power, fused, [1.0], a=1e200, b=-2.0), [0.0])
    assert same(step(power, fused, [1.0], a=0.0, b=-1.0), [INF])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_the_sign_of_infinity_is_one(fused: bool | None, dtype: torch.dtype) -> None:
    def signs(param: Any, *, grad: Any) -> Any:
        return sign(grad)

    grads = [INF, -INF, NAN, 0.0, -0.0, 3.0, -1e-7]
    assert same(step(signs, fused, grads, dtype=dtype), [1.0, -1.0, NAN, 0.0, 0.0, 1.0, -1.0])

    def inverse(param: Any, *, grad: Any) -> Any:
        return 1 / sign(grad)

    assert same(step(inverse, fused, [0.0, -0.0]), [INF, INF])  # a zero without a sign


def test_a_choice_between_two_numbers_has_all_their_digits(fused: bool | None) -> None:
    def choose(param: Any, *, grad: Any, a: Any, b: Any) -> Any:
        return where(grad > 0, 0.1, 0.2) + where(grad > 0, a, 1e-9) + where(grad > 0, where(grad > 2, b, 0.3), -b)

    result = step(choose, fused, [1.0, 3.0, -1.0], dtype=torch.float64, a=1 / 3, b=1 / 7)
    wanted = [0.1 + 1 / 3 + 0.3, 0.1 + 1 / 3 + 1 / 7, 0.2 + 1e-9 - 1 / 7]
    assert result == pytest.approx(wanted, rel=1e-15)
    result = step(choose, fused, [1.0], a=1e300, b=1.0)
    assert result == [INF]


def test_a_number_larger_than_a_tensors_largest_is_infinite(fused: bool | None) -> None:
    def bounded(param: Any, *, grad: Any, a: Any) -> Any:
        return where(grad > 2, maximum(grad, a), minimum(grad, a)) + where(grad > 3, grad, -a)

    assert same(step(bounded, fused, [1.0, 3.0, 4.0], a=1e300), [-INF, NAN, INF])


def test_a_choice_of_a_number_that_is_infinite(fused: bool | None) -> None:
    def choose(param: Any, *, grad: Any, a: Any) -> Any:
        return where(grad > 0, where(1 / a > 2, 1 / a, 2.0), grad) + where(1 / a > 2, grad, 0.0)

    assert same(step(choose, fused, [1.0, -1.0], a=0.0), [INF, -2.0])


def test_infinity_and_nan_can_be_written_in_a_formula(fused: bool | None) -> None:
    def guard(param: Any, *, grad: Any, a: Any) -> Any:
        bounded = where(isfinite(grad), grad, math.nan)
        return minimum(bounded, where(grad < a, -math.inf, math.inf)) + minimum(a, math.inf)  # in number stage, too

    assert same(step(guard, fused, [1.0, -1.0, INF], a=0.5), [1.5, -INF, NAN])


def test_a_negative_number_to_a_fractional_power_is_nan(fused: bool | None) -> None:
    def of_numbers(param: Any, *, grad: Any, a: Any, b: Any) -> Any:
        return param + grad * a**b

    assert same(step(of_numbers, fused, [1.0], a=-0.5, b=0.5), [NAN])
    assert same(step(of_numbers, fused, [1.0], a=-0.5, b=3.0), [-0.125])

    def of_elements(param: Any, *, grad: Any, a: Any) -> Any:
        return where(param > 0, grad**a, a**grad) + 0 * (grad**2.5 + abs(grad) ** a)

    result = step(of_elements, fused, [-8.0, 4.0, 0.5], [1.0, 1.0, -1.0], a=-0.5)
    assert same(result, [NAN, 0.5, NAN])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_cube_root_is_a_power(fused: bool | None, dtype: torch.dtype) -> None:
    """Kernels of GPUs have a function for it: of -0 it gives -0, and of negative numbers something."""

    def root(param: Any, *, grad: Any) -> Any:
        return grad ** (1 / 3)

    def inverse(param: Any, *, grad: Any) -> Any:
        return 1 / grad ** (1 / 3)

    assert same(step(root, fused, [8.0, 27.0, INF, -INF, -8.0, NAN], dtype=dtype), [2.0, 3.0, INF, INF, NAN, NAN])
    assert same(step(inverse, fused, [0.125, 0.0, -0.0], dtype=dtype), [2.0, INF, INF])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_nothing_is_folded_that_has_another_value(fused: bool | None, dtype: torch.dtype) -> None:
    """Of real numbers these are x**3, 0, x and x; of floats they are not."""

    def root_and_square(param: Any, *, grad: Any) -> Any:
        return (grad**1.5) ** 2 + (grad**0.5) ** 2

    assert same(step(root_and_square, fused, [-1.0, 4.0], dtype=dtype), [NAN, 68.0])

    def difference(param: Any, *, grad: Any, a: Any) -> Any:
        return (grad + a) - (a + grad * 1.0)

    assert same(step(difference, fused, [INF, 1.0, NAN], dtype=dtype, a=2.0), [NAN, 0.0, NAN])

    def there_and_back(param: Any, *, grad: Any) -> Any:
        return where(param > 0, log(exp(grad)), exp(log(grad)))

    result = step(there_and_back, fused, [1000.0, -1000.0, -1.0, 0.0], [1.0, 1.0, -1.0, -1.0], dtype=dtype)
    assert same(result, [INF, -INF, NAN, 0.0])


@pytest.mark.parametrize("watch", [True, False])
def test_a_compensated_sum_can_be_written(fused: bool | None, watch: bool) -> None:
    """Kahan's sum: steps too small for float32 that arrive all the same."""

    def kahan(param: Any, lost: Any = 0.0, *, grad: Any) -> Any:
        small = grad + lost
        new = param + small
        return new, small - (new - param)

    p = torch.nn.Parameter(torch.ones(40))
    p.grad = torch.full((40,), 1e-8)
    optimizer = Optimizer([p], [kahan], fused=fused, watch=watch)
    for _ in range(50):
        optimizer.step()
    total = p.detach().double() + optimizer.state[p]["lost"].double()
    assert total.tolist() == pytest.approx([1 + 5e-7] * 40, rel=1e-9)


@pytest.mark.parametrize("size", [1e-40, 1e-36, 1e-25, 1e-12, 1.0, 1e15, 1e25])
def test_norms_of_very_small_and_very_large_elements(fused: bool | None, size: float) -> None:
    def size_of(param: Any, *, grad: Any) -> Any:
        return norm(grad) + where(global_norm(grad * 3) > 14 * size, 0 * grad, NAN)

    grads = [3 * size, -4 * size] + [0.0] * 100
    assert step(size_of, fused, grads)[0] == pytest.approx(5 * size, rel=1e-6, abs=1e-44)

    def unit(param: Any, *, grad: Any) -> Any:
        return grad / norm(grad) + 0 * param

    if size > 1e-38:  # of a smaller one, 1 / norm is no number of float32
        assert same(step(unit, fused, grads)[:2], [0.6, -0.8])


def test_norms_of_nan_infinity_and_nothing(fused: bool | None) -> None:
    def size_of(param: Any, *, grad: Any) -> Any:
        return norm(grad) + 0 * param

    assert same(step(size_of, fused, [1.0, NAN, INF]), [NAN] * 3)
    assert same(step(size_of, fused, [1.0, -INF, 0.0]), [INF] * 3)
    assert same(step(size_of, fused, [0.0, -0.0]), [0.0] * 2)


def test_a_power_of_one_half_that_is_a_hyperparameter(fused: bool | None) -> None:
    def power(param: Any, *, grad: Any, a: Any) -> Any:
        return grad**a + 0 * param

    assert same(step(power, fused, [-INF, 4.0, -4.0], a=0.5), [INF, 2.0, NAN])
    assert same(step(power, fused, [-INF, 4.0, -4.0], a=-0.5), [0.0, 0.5, NAN])


def test_a_number_over_a_tensor_is_one_division(fused: bool | None) -> None:
    """torch's operator takes the reciprocal first, which is infinite here."""

    def over(param: Any, *, grad: Any, a: Any) -> Any:
        return a / grad + 0 / grad

    assert same(step(over, fused, [1e-39, -1e-39, INF, 0.0], a=1e-30), [1e9, -1e9, 0.0, NAN])


@pytest.mark.parametrize(("dtype", "wanted"), [(torch.float32, 65505.0), (torch.float16, 65504.0)], ids=str)
def test_a_tensor_can_be_set_to_a_number(fused: bool | None, dtype: torch.dtype, wanted: float) -> None:
    def reset(param: Any, *, grad: Any, a: Any) -> Any:
        return a + 1

    assert step(reset, fused, [1.0, NAN], dtype=dtype, a=65504.0) == [wanted, wanted]
    assert step(reset, fused, [1.0, NAN], dtype=dtype, a=1e300) == [INF, INF]
