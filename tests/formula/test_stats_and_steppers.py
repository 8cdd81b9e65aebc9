"""Stats and steppers of fastai's kind: their pieces step as they themselves do on torch's tensors."""

import copy
import math
import pickle
import re
from functools import partial

import pytest
import torch

from ravine.errors import FormulaError
from ravine.formula import stats_and_steppers
from ravine.optim import Adam, Optimizer, RMSprop

# --- as their readers type them ---------------------------------------------------------------------------------


def average_grad(p, mom, grad_avg=None, **kwargs):
    if grad_avg is None:
        grad_avg = torch.zeros_like(p.grad.data)
    return {"grad_avg": grad_avg * mom + p.grad.data}


def momentum_step(p, lr, grad_avg, **kwargs):
    p.data.add_(grad_avg, alpha=-lr)


def average_sqr_grad(p, sqr_mom, sqr_avg=None, **kwargs):
    if sqr_avg is None:
        sqr_avg = torch.zeros_like(p.grad.data)
    return {"sqr_avg": sqr_avg * sqr_mom + p.grad.data**2}


def rms_prop_step(p, lr, sqr_avg, eps, grad_avg=None, **kwargs):
    denom = sqr_avg.sqrt().add_(eps)
    p.data.addcdiv_(p.grad, denom, value=-lr)


def sgd_step(p, lr, **kwargs):
    p.data.add_(p.grad.data, alpha=-lr)


def damped_grad(p, mom, dampening=False, grad_avg=None, **kwargs):
    if grad_avg is None:
        grad_avg = torch.zeros_like(p.grad.data)
    damp = 1 - mom if dampening else 1.0
    grad_avg.mul_(mom).add_(p.grad.data, alpha=damp)
    return {"grad_avg": grad_avg}


damped_grad.defaults = {"mom": 0.9}


def damped_sqr_grad(p, sqr_mom, dampening=True, sqr_avg=None, **kwargs):
    if sqr_avg is None:
        sqr_avg = torch.zeros_like(p.grad.data)
    damp = 1 - sqr_mom if dampening else 1.0
    sqr_avg.mul_(sqr_mom).addcmul_(p.grad.data, p.grad.data, value=damp)
    return {"sqr_avg": sqr_avg}


def step_stat(p, step=0, **kwargs):
    step += 1
    return {"step": step}


def debias(mom, damp, step):
    return damp * (1 - mom**step) / (1 - mom)


def adam_step(p, lr, mom, step, sqr_mom, grad_avg, sqr_avg, eps=1e-8, **kwargs):
    debias1 = debias(mom, 1 - mom, step)
    debias2 = debias(sqr_mom, 1 - sqr_mom, step)
    p.data.addcdiv_(grad_avg, (sqr_avg / debias2).sqrt() + eps, value=-lr / debias1)
    return p


def l2_reg(p, wd, **kwargs):
    p.grad.data.add_(p.data, alpha=wd)


def slow_weights(p, pull, slow=None, **kwargs):
    if slow is None:
        slow = p.data.clone()
    slow = torch.lerp(slow, p.data, pull)
    return {"slow": slow}


def toward_slow(p, lr, slow, **kwargs):
    p.data = p.data - (lr * (p.data - slow) + lr * torch.sign(p.grad))


def trust_step(p, lr, grad_avg, eps, **kwargs):
    size = p.data.pow(2).mean().sqrt()
    move = grad_avg / (torch.std(grad_avg) + eps)
    ratio = 1 if size == 0 or torch.norm(move, p=1) == 0 else min(size / move.norm(), 0.5)
    p.data.add_(move, alpha=-lr * ratio)


def layer_rate(p, lr, wd, trust_coeff, clip=True, **kwargs):
    local = lr * trust_coeff * torch.norm(p.data) / (p.grad.data.norm(2) + wd * p.data.norm())
    return {"local_lr": min(lr, local) if clip else local}


def layer_step(p, local_lr, grad_avg=None, **kwargs):
    p.data.add_(p.grad.data if grad_avg is None else grad_avg, alpha=-local_lr)


def centred(p, **kwargs):
    p.grad.data = p.grad.data - p.grad.data.mean()


def by_the_count(p, lr, step, **kwargs):
    if step > 3:
        if step % 2 == 0:
            p.data.sub_(lr * p.grad.data.sum() / p.grad.numel())
        else:
            p.data.mul_(0.9)
    elif lr:
        p.data.add_(torch.nn.functional.softplus(p.grad, beta=2).sigmoid(), alpha=-lr)


def weight_decay(p, lr, wd, do_wd=True, **kwargs):
    if do_wd and wd != 0:
        p.data.mul_(1 - lr * wd)


def of_rows(p, lr, **kwargs):
    g = p.grad.data
    rows, columns = g.norm(dim=-1, keepdim=True), torch.linalg.vector_norm(g, ord=1, dim=-2, keepdim=True)
    spread = g.std(-1, keepdim=True) + g.var(dim=(-2,), keepdim=True, unbiased=False)
    move = g * columns / (rows + g.mean(-1, True).abs() + g.pow(2).sum(dim=-2, keepdim=True) + spread)
    p.data.sub_(lr * move / (g.abs().amax(-1, keepdim=True) + p.data.abs().max() + torch.linalg.norm(g)))


def of_other_norms(p, lr, **kwargs):
    g = p.grad.data
    size = torch.linalg.vector_norm(g, ord=1) + torch.linalg.vector_norm(g, 1) + g.norm(math.inf) + g.var(False)
    p.data.sub_(lr * g / (size + torch.linalg.norm(g, ord=1, dim=-1, keepdim=True)))


def half(p, grad_avg=None, **kwargs):
    one = torch.ones_like(p.grad)  # made, but not what the state starts as
    if grad_avg is None:
        grad_avg = torch.full_like(p.grad, 2.0)
    return {"grad_avg": 0.5 * grad_avg + p.grad * one}


def by_hand(functions, hypers, gradients, start):
    """The parameter after each step, by a loop that calls the functions as fastai does."""
    p = torch.nn.Parameter(start.clone())
    state, points = {}, []
    for gradient in gradients:
        p.grad = gradient.clone()
        for function in functions:
            result = function(p, **{**hypers, **state})
            if isinstance(result, dict):
                state = {**state, **result}
        points.append(p.data.clone())
    return torch.stack(points)


CASES = {
    "sgd": ([sgd_step], {"lr": 0.1}),
    "momentum": ([average_grad, momentum_step], {"lr": 0.1, "mom": 0.9}),
    "rmsprop": ([average_sqr_grad, rms_prop_step], {"lr": 0.1, "sqr_mom": 0.99, "eps": 1e-7}),
    "momentum and rmsprop": (
        [average_grad, average_sqr_grad, rms_prop_step],
        {"lr": 0.1, "mom": 0.9, "sqr_mom": 0.99, "eps": 1e-7},
    ),
    "adam": (
        [step_stat, partial(damped_grad, dampening=True), damped_sqr_grad, adam_step],
        {"lr": 0.1, "mom": 0.9, "sqr_mom": 0.99, "eps": 1e-6},
    ),
    "l2 and partial": ([partial(l2_reg, wd=0.1), average_grad, momentum_step], {"lr": 0.1, "mom": 0.9}),
    "a start that is not made first": ([half, momentum_step], {"lr": 0.1}),
    "a trust ratio": ([average_grad, trust_step], {"lr": 0.1, "mom": 0.9, "eps": 1e-3}),
    "a rate of each layer": (
        [average_grad, layer_rate, layer_step],
        {"lr": 0.1, "mom": 0.9, "wd": 0.1, "trust_coeff": 2.0},
    ),
    "means and weight decay": ([centred, weight_decay, sgd_step], {"lr": 0.1, "wd": 0.3}),
    "no weight decay": ([weight_decay, sgd_step], {"lr": 0.1, "wd": 0.0}),
    "by the count": ([step_stat, by_the_count], {"lr": 0.1}),
    "rows and columns": ([of_rows], {"lr": 0.1}),
    "norms of other orders": ([of_other_norms], {"lr": 0.1}),
    "a copy of the parameter": ([slow_weights, toward_slow], {"lr": 0.1, "pull": 0.3}),
}


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


def pythons_root(p, lr, **kwargs):
    p.data.sub_(lr * p.grad.data / math.sqrt(p.grad.norm()))


def of_each_element(p, lr, **kwargs):
    if p.grad > 0:
        p.data.sub_(lr)


def radam_step(p, lr, mom, step, sqr_mom, grad_avg, sqr_avg, eps, **kwargs):
    length = 2 / (1 - sqr_mom) - 1
    rho = length - 2 * step * sqr_mom**step / (1 - sqr_mom**step)
    move = grad_avg
    if rho > 5:
        factor = math.sqrt((rho - 4) * (rho - 2) * length / ((length - 4) * (length - 2) * rho))
        move = factor * grad_avg / ((sqr_avg / (1 - sqr_mom**step)).sqrt() + eps)
    p.data.add_(move, alpha=-lr / (1 - mom**step))


def clip_by_median(p, lr, **kwargs):
    p.data.sub_(lr * p.grad.data / p.grad.data.median())


def begins_with_the_gradient(p, mom, grad_avg=None, **kwargs):
    if grad_avg is None:
        return {"grad_avg": p.grad.data}
    return {"grad_avg": mom * grad_avg + p.grad.data}


def begins_with_a_gradient_beside_zeros(p, grad_avg=None, **kwargs):
    zeros = torch.zeros_like(p.grad)
    if grad_avg is None:
        grad_avg = p.grad
    return {"grad_avg": 0.5 * grad_avg + zeros}


def nothing(p, lr, **kwargs):
    return lr


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
        (pythons_root, r"as math.sqrt and float do; a formula has sqrt", "def pythons_root(param, *, grad, lr)"),
        (of_each_element, r"a value of each element", "def of_each_element(param, *, grad, lr)"),
        (clip_by_median, r"it uses .median", "def clip_by_median(param, *, grad, lr):\n    return param - "),
        (
            begins_with_the_gradient,
            "does not start as a number",
            "def begins_with_the_gradient(grad_avg=0.0, *, grad, mom)",
        ),
        (begins_with_a_gradient_beside_zeros, "does not start as a number", "def begins_with_a_gradient_beside_zeros("),
        (nothing, "changes nothing", "def nothing(param, *, grad, lr)"),
    ],
)
def test_the_error_has_the_piece_to_write(function, reason, piece):
    with pytest.raises(FormulaError, match=reason) as raised:
        stats_and_steppers(function)
    assert "is a fastai stepper" in str(raised.value)
    assert "write it so:" in str(raised.value)
    assert piece in str(raised.value)


def written(error):
    """The pieces that an error prints, by name."""
    code = re.split(r"write it so:\n\n", str(error))[1]
    scope = {}
    exec("from ravine.formula import *\n" + code, scope)
    return scope


def test_functions_given_as_pieces_are_answered_with_pieces_that_work():
    start, gradients = torch.randn(4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    functions, hypers = CASES["adam"]
    expected = by_hand(functions, hypers, gradients, start)[-1]
    p = torch.nn.Parameter(start.clone())
    with pytest.raises(FormulaError, match="this is a fastai stepper, not a piece") as raised:
        Optimizer([p], list(functions), **hypers)
    pieces = written(raised.value)
    order = [pieces[name] for name in ("damped_grad", "damped_sqr_grad", "adam_step")]
    optimizer = Optimizer([p], order, **hypers)
    for gradient in gradients:
        p.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(p.data, expected, rtol=1e-12, atol=1e-14)


def test_the_piece_printed_for_radam_steps_as_it_does():
    start, gradients = torch.randn(4, dtype=torch.float64), torch.randn(9, 4, dtype=torch.float64)
    stats = [step_stat, partial(damped_grad, dampening=True), damped_sqr_grad]
    hypers = {"lr": 0.1, "mom": 0.9, "sqr_mom": 0.99, "eps": 1e-6}
    expected = by_hand([*stats, radam_step], hypers, gradients, start)[-1]
    with pytest.raises(FormulaError, match="as math.sqrt and float do") as raised:
        stats_and_steppers(*stats, radam_step)
    p = torch.nn.Parameter(start.clone())
    optimizer = Optimizer([p], [*stats_and_steppers(*stats), written(raised.value)["radam_step"]], **hypers)
    for gradient in gradients:
        p.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(p.data, expected, rtol=1e-12, atol=1e-14)


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
