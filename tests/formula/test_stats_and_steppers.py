"""Stats and steppers of fastai's kind: their pieces step as they themselves do on torch's tensors."""

import copy
import math
import pickle
import re
from functools import partial

import pytest
import torch
from steppers_of_fastai import (
    CASES,
    adam_step,
    average_sqr_grad,
    by_hand,
    damped_grad,
    damped_sqr_grad,
    rms_prop_step,
    step_stat,
)

from ravine.errors import FormulaError
from ravine.formula import stats_and_steppers
from ravine.optim import Adam, Optimizer, RMSprop


@pytest.mark.parametrize("fused", [False, True], ids=["eager", "fused"])
@pytest.mark.parametrize("case", CASES)
def test_the_steps_are_those_of_the_functions_themselves(case, fused):
    functions, hypers = CASES[case]
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    gradients = [torch.randn(3, 5, generator=generator, dtype=torch.float64) for _ in range(8)]
    expected = by_hand(functions, hypers, gradients, start)
    p = torch.nn.Parameter(start.clone())
    optimizer = Optimizer([p], stats_and_steppers(*functions), fused=fused, **hypers)
    for gradient, point in zip(gradients, expected, strict=True):
        p.grad = gradient.clone()
        optimizer.step()
        torch.testing.assert_close(p.data, point, rtol=1e-12, atol=1e-14)


def test_the_books_adam_and_rmsprop_are_ours_too():
    """With damped averages they are torch's forms, so ours must agree with the adapted ones as well."""
    start, gradients = torch.randn(4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    pairs = [
        (
            Optimizer,
            {"pieces": stats_and_steppers(step_stat, damped_grad, damped_sqr_grad, adam_step, dampening=True)},
            {"mom": 0.9, "sqr_mom": 0.999, "eps": 1e-8},
            partial(Adam, betas=(0.9, 0.999)),
        ),
        (
            Optimizer,
            {"pieces": stats_and_steppers(damped_sqr_grad, rms_prop_step)},
            {"sqr_mom": 0.99, "eps": 1e-8},
            partial(RMSprop, alpha=0.99),
        ),
    ]
    for cls, pieces, hypers, named in pairs:
        p, q = (torch.nn.Parameter(start.clone()) for _ in range(2))
        theirs, ours = cls([p], **pieces, **hypers, lr=0.1), named([q], lr=0.1)
        for gradient in gradients:
            for parameter, optimizer in ((p, theirs), (q, ours)):
                parameter.grad = gradient.clone()
                optimizer.step()
        torch.testing.assert_close(p.data, q.data, rtol=1e-9, atol=1e-12)


def test_defaults_are_those_of_the_functions():
    pieces = stats_and_steppers(step_stat, damped_grad, damped_sqr_grad, adam_step)
    optimizer = Optimizer([torch.zeros(2, requires_grad=True)], pieces, lr=0.1, sqr_mom=0.9)
    group = optimizer.param_groups[0]
    assert (group["mom"], group["eps"]) == (0.9, 1e-8)
    assert [piece.title for piece in pieces] == ["damped_grad", "damped_sqr_grad", "adam_step"]


def test_the_same_functions_are_one_formula_and_can_be_kept():
    first, second = (stats_and_steppers(average_sqr_grad, rms_prop_step) for _ in range(2))
    assert first == second
    assert pickle.loads(pickle.dumps(first)) == first
    assert copy.deepcopy(first) == first


# --- what cannot be read ------------------------------------------------------------------------------------------


def smallest(p, lr, **kwargs):
    p.data.sub_(lr * p.grad.data / p.grad.data.min())


def along_rows(p, lr, **kwargs):
    p.data.sub_(lr * torch.max(p.grad.data, 0)[0])


def mean_of_rows(p, lr, **kwargs):
    p.data.sub_(lr * p.grad.data.mean(dim=1, keepdim=True))


def rows_as_a_vector(p, lr, **kwargs):
    p.data.sub_(lr * (p.grad.data / p.grad.data.norm(dim=-1)))


def largest_with_its_sign(p, lr, **kwargs):
    p.data.sub_(lr * p.grad.data.amax(-1, keepdim=True))


def norm_of_matrices(p, lr, **kwargs):
    p.data.sub_(lr * p.grad.data / torch.linalg.norm(p.grad.data, ord=1))


def of_each_element(p, lr, **kwargs):
    if p.grad > 0:
        p.data.sub_(lr)


def clip_by_median(p, lr, **kwargs):
    p.data.sub_(lr * p.grad.data / p.grad.data.median())


def nothing(p, lr, **kwargs):
    return lr


def draws(p, lr, **kwargs):
    p.data.sub_(lr * torch.randn_like(p.data))


def by_shape(p, lr, **kwargs):
    if p.grad.dim() > 1:
        p.data.sub_(lr * p.grad.data)


def of_kwargs(p, lr, **kwargs):
    p.data.sub_(lr * kwargs["scale"] * p.grad.data)


def keeps_a_list(p, past=None, **kwargs):
    past = [] if past is None else past
    return {"past": [*past, p.grad.data.clone()]}


def prints(p, lr, step, **kwargs):
    print(f"{p.grad.norm():.3f}")
    p.data.sub_(lr * p.grad.data)


def turns(p, lr, step, period=8, **kwargs):
    p.data.sub_(lr * math.cos(step / period) * p.grad.data)


def as_floats(p, lr, step, **kwargs):
    p.data.sub_(float(lr) * int(step) * p.grad.data)


def wants_a_tensor(p, lr, step, **kwargs):
    p.data = torch.where(torch.as_tensor(step > 2), p.data - lr, p.data)


@pytest.mark.parametrize(
    ("function", "reason", "piece"),
    [
        (
            smallest,
            r"uses .min of the elements of a tensor; of these a formula has amax\(x\)",
            "def smallest(param, *, grad, lr)",
        ),
        (
            along_rows,
            r"uses .max of the elements of a tensor; of these a formula has amax\(x\)",
            "def along_rows(param, *, grad, lr)",
        ),
        (
            mean_of_rows,
            "uses .mean along dimension 1, .* does not know how many a tensor has: dim=-1 gives one value for each row",
            "def mean_of_rows(param, *, grad, lr)",
        ),
        (
            rows_as_a_vector,
            r"uses .norm\(dim=-1\) without keepdim=True; .* keeps the dimension, as norm\(x, dim=-1\)",
            "def rows_as_a_vector(param, *, grad, lr)",
        ),
        (
            largest_with_its_sign,
            "uses .amax of elements with their signs",
            "def largest_with_its_sign(param, *, grad, lr)",
        ),
        (
            norm_of_matrices,
            "uses torch.linalg.norm of order 1, .*vector_norm",
            "def norm_of_matrices(param, *, grad, lr)",
        ),
        (of_each_element, r"a value of each element", "def of_each_element(param, *, grad, lr)"),
        (clip_by_median, r"it uses .median", "def clip_by_median(param, *, grad, lr):\n    return param - "),
        (draws, r"torch.randn_like; a formula has no random numbers", "def draws(param, *, grad, lr)"),
        (by_shape, r"uses .dim; .* def formula\(ndim\)", "def by_shape(param, *, grad, lr)"),
        (of_kwargs, "reads 'scale', which is not among its arguments", "def of_kwargs(param, *, grad, lr)"),
        (keeps_a_list, "keeps 'past', a list", "def keeps_a_list(past=0.0, *, grad)"),
        (prints, "it prints a value", "def prints(param, *, grad, lr, step)"),
        (turns, "as float, int and math.cos do", "def turns(param, *, grad, lr, step, period=8)"),
        (as_floats, "leave float and int out", "def as_floats(param, *, grad, lr, step)"),
        (wants_a_tensor, "needs the values of a tensor or number", "def wants_a_tensor(param, *, grad, lr, step)"),
        (nothing, "changes nothing", "def nothing(param, *, grad, lr)"),
    ],
)
def test_the_error_has_the_piece_to_write(function, reason, piece):
    with pytest.raises(FormulaError, match=reason) as raised:
        stats_and_steppers(function)
    assert "is a fastai stepper" in str(raised.value)
    assert "write it so:" in str(raised.value)
    assert piece in str(raised.value)


def test_cbs_is_answered_with_the_call_to_write():
    params = [torch.zeros(2, requires_grad=True)]
    make = partial(Optimizer, cbs=[average_sqr_grad, rms_prop_step], sqr_mom=0.99, eps=1e-7)
    with pytest.raises(FormulaError) as raised:
        make(params)
    text = str(raised.value)
    call = "stats_and_steppers(average_sqr_grad, rms_prop_step), sqr_mom=0.99, eps=1e-07)"
    assert f"Optimizer(params, {call}" in text
    assert f"partial(Optimizer, pieces={call}" in text
    scope = {**globals(), "Optimizer": partial(Optimizer, lr=0.1), "params": params}
    assert eval(f"Optimizer(params, {call}", scope).param_groups[0]["sqr_mom"] == 0.99


def test_a_piece_with_other_keywords_is_told_what_it_was_told_before():
    def piece(param, *, grad, lr, **more):
        return param - lr * grad

    with pytest.raises(FormulaError, match=r"\*more is not possible"):
        Optimizer([torch.zeros(2, requires_grad=True)], [piece], lr=0.1)


def test_cbs_with_pieces_is_answered_with_pieces():
    def descend(param, *, grad, lr):
        return param - lr * grad

    with pytest.raises(FormulaError) as raised:
        Optimizer([torch.zeros(2, requires_grad=True)], cbs=[descend], lr=0.1)
    assert "partial(Optimizer, pieces=[descend], lr=0.1)" in str(raised.value)
    assert "stats_and_steppers" not in str(raised.value)


def test_a_list_of_stats_and_steppers_is_answered_with_the_call():
    for given in ([average_sqr_grad, rms_prop_step], (average_sqr_grad, rms_prop_step)):
        with pytest.raises(FormulaError, match="takes functions, not a") as raised:
            stats_and_steppers(given)
        call = str(raised.value).partition(": ")[2]
        assert [piece.title for piece in eval(call)] == ["average_sqr_grad", "rms_prop_step"]


@pytest.mark.parametrize("wrong", [3, None, dict, max])
def test_what_has_no_signature_is_no_stepper(wrong):
    shown = re.escape(repr(wrong))
    with pytest.raises(FormulaError, match=f"a stat or stepper is a Python function .*; got {shown}"):
        stats_and_steppers(wrong, step_stat)
