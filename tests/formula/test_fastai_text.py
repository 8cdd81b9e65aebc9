"""What is written for stats and steppers of fastai's kind: pieces that step as they do, and the line that cannot be read."""

import math
import re
from functools import partial

import pytest
import torch
from steppers_of_fastai import CASES, average_grad, by_hand, layer_rate, momentum_step, sgd_step, weight_decay

from ravine.errors import FormulaError
from ravine.formula import stats_and_steppers
from ravine.optim import Optimizer


def pasted(error):
    """The pieces that an error prints, in order, from the text as a reader pastes it."""
    code = str(error).split("write it so:\n\n")[1]
    scope = {}
    exec(code, scope)
    return [scope[name] for name in re.findall(r"^def (\w+)", code, re.MULTILINE)]


@pytest.mark.parametrize("case", CASES)
def test_functions_given_as_pieces_are_answered_with_pieces_that_step_as_they_do(case):
    functions, hypers = CASES[case]
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    gradients = [torch.randn(3, 5, generator=generator, dtype=torch.float64) for _ in range(8)]
    p = torch.nn.Parameter(start.clone())
    with pytest.raises(FormulaError, match="this is a fastai stepper, not a piece") as raised:
        Optimizer([p], list(functions), **hypers)
    optimizer = Optimizer([p], pasted(raised.value), fused=False, **hypers)
    for gradient, point in zip(gradients, by_hand(functions, hypers, gradients, start), strict=True):
        p.grad = gradient.clone()
        optimizer.step()
        torch.testing.assert_close(p.data, point, rtol=1e-10, atol=1e-12)


def turned(p, lr, step, period=8, **kwargs):
    size = 1.0
    size = size * math.cos(step / period)
    p.data.sub_(lr * size * p.grad.data)


turned.defaults = {"period": 6}


def helped(p, lr, **kwargs):
    p.data.sub_(lr * smallest_of(p.grad))


def smallest_of(x):
    return x.min()


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (turned, "size = size * math.cos(step / period)"),
        (partial(turned, period=3), "size = size * math.cos(step / period)"),
        (helped, "return x.min()"),
    ],
)
def test_the_line_that_cannot_be_read_is_named(function, line):
    with open(__file__) as file:
        number = 1 + [text.strip() for text in file].index(line)
    with pytest.raises(FormulaError) as raised:
        stats_and_steppers(function)
    assert f"in line {number} of test_fastai_text.py, {line}, it " in str(raised.value)


@pytest.mark.parametrize(("function", "period"), [(turned, 6), (partial(turned, period=3), 3)])
def test_numbers_with_a_default_keep_it_in_what_is_to_be_written(function, period):
    with pytest.raises(FormulaError, match=rf"def turned\(param, \*, grad, lr, step, period={period}\):"):
        stats_and_steppers(function)


def test_a_partials_number_is_the_default_and_a_given_one_wins():
    pieces = stats_and_steppers(average_grad, partial(layer_rate, trust_coeff=2.0), momentum_step)
    make = partial(Optimizer, [torch.zeros(2, requires_grad=True)], pieces, lr=0.1, mom=0.9)
    assert (make().param_groups[0]["trust_coeff"], make().param_groups[0]["wd"]) == (2.0, 0.1)
    assert make(trust_coeff=3.0).param_groups[0]["trust_coeff"] == 3.0


def test_what_is_switched_off_leaves_its_number_possible():
    pieces = stats_and_steppers(partial(weight_decay, do_wd=False), sgd_step)
    assert Optimizer([torch.zeros(2, requires_grad=True)], pieces, lr=0.1, wd=0.3).param_groups[0]["wd"] == 0.3


def test_the_modules_own_math_stays_as_it_is():
    stats_and_steppers(*CASES["radam"][0])
    assert math.sqrt(4) == 2
    assert turned.__globals__["math"] is math


def test_what_a_partial_gives_stands_in_the_call_to_write():
    functions = [partial(average_grad, dampening=0.5), partial(layer_rate, clip=False), momentum_step]
    given = "partial(average_grad, dampening=0.5), partial(layer_rate, clip=False), momentum_step"
    params = [torch.zeros(2, requires_grad=True)]
    with pytest.raises(FormulaError, match=re.escape(f"stats_and_steppers({given}) makes")):
        Optimizer(params, functions, lr=0.1)
    with pytest.raises(FormulaError, match=re.escape(f"stats_and_steppers({given}), lr=0.1, mom=0.9)")):
        Optimizer(params, cbs=functions, lr=0.1, mom=0.9)


def test_a_switch_that_fastais_optimizer_takes_goes_to_the_adapter():
    with pytest.raises(FormulaError) as raised:
        Optimizer([torch.zeros(2, requires_grad=True)], cbs=[layer_rate, momentum_step], clip=False, lr=0.1, mom=0.9)
    assert "Optimizer(params, stats_and_steppers(layer_rate, momentum_step, clip=False), lr=0.1, mom=0.9)" in str(
        raised.value
    )
