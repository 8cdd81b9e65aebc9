"""Stats and steppers of fastai's kind, as their readers type them, and the loop that calls them."""

import inspect
import math
from functools import partial
from math import sqrt

import torch


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


layer_rate.defaults = {"wd": 0.1, "trust_coeff": 0.5}


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


def pythons_root(p, lr, **kwargs):
    p.data.sub_(lr * p.grad.data / math.sqrt(p.grad.norm()))


def radam_step(p, lr, mom, step, sqr_mom, grad_avg, sqr_avg, eps, **kwargs):
    length = 2 / (1 - sqr_mom) - 1
    rho = length - 2 * step * sqr_mom**step / (1 - sqr_mom**step)
    move = grad_avg
    if rho > 5:
        factor = math.sqrt((rho - 4) * (rho - 2) * length / ((length - 4) * (length - 2) * rho))
        move = factor * grad_avg / ((sqr_avg / (1 - sqr_mom**step)).sqrt() + eps)
    p.data.add_(move, alpha=-lr / (1 - mom**step))


def begins_with_the_gradient(p, mom, grad_avg=None, **kwargs):
    if grad_avg is None:
        return {"grad_avg": p.grad.data}
    return {"grad_avg": mom * grad_avg + p.grad.data}


def begins_with_a_gradient_beside_zeros(p, grad_avg=None, **kwargs):
    zeros = torch.zeros_like(p.grad)
    if grad_avg is None:
        grad_avg = p.grad
    return {"grad_avg": 0.5 * grad_avg + zeros}


def of_many_decays(p, lr, step, decay=0.1, **kwargs):
    size = math.exp(-decay * step) / sqrt(step) + math.log(step + 1, 2) + math.pow(step, 1.5) + math.floor(step / 2)
    p.data.add_(torch.nn.functional.normalize(p.grad, dim=-1), alpha=-lr * size)


def slow_after_the_step(p, step, k=3, pull=0.5, slow=None, **kwargs):
    if slow is None:
        slow = p.data.clone()
    if step % k == 0:
        slow.add_(p.data - slow, alpha=pull)
        p.data.copy_(slow)
    return {"slow": slow}


def two_averages(p, mom, grad_avg=None, sqr=None, **kwargs):
    if grad_avg is None:
        grad_avg, sqr = torch.zeros_like(p.grad), torch.ones_like(p.grad)
    return {"grad_avg": grad_avg * mom + p.grad, "sqr": sqr * mom + p.grad**2}


def by_two_averages(p, lr, grad_avg, sqr, **kwargs):
    p.data.addcdiv_(grad_avg, sqr.sqrt() + 1e-8, value=-lr)


def masked(p, lr, grad_avg, **kwargs):
    g = p.grad.data.masked_fill(p.grad.abs() < 0.1, 0.0)
    g[g > 1] = 1
    mask = (grad_avg * p.grad > 0).to(p.grad.dtype)
    p.data.add_(g * mask / mask.mean().clamp(min=1e-3) * torch.tensor(0.5), alpha=-lr)


class Momentum:
    def __init__(self, mom):
        self.mom = mom

    def __call__(self, p, grad_avg=None, **kwargs):
        grad_avg = torch.zeros_like(p) if grad_avg is None else grad_avg
        return {"grad_avg": grad_avg * math.sqrt(self.mom) + p.grad}


def without_more(param, lr, scale=0.5):
    if param.grad.is_sparse or not param.requires_grad:
        raise ValueError
    param.data.sub_(lr * scale * param.grad)


def similar(p, lr, grad_avg, **kwargs):
    angle = (p.grad * grad_avg).sum() / (p.grad.norm() * grad_avg.norm() + 1e-8)
    p.data.add_(p.grad, alpha=-lr * (1 + angle))


def count_own(p, t=0, **kwargs):
    t += 1
    return {"t": t}


def by_own_count(p, lr, t, **kwargs):
    p.data.add_(p.grad, alpha=-lr / t)


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
            given = {**hypers, **state}
            own = getattr(
                function, "keywords", {}
            )  # a partial's numbers win over an optimizer that does not know of them
            named = inspect.signature(function).parameters
            if not any(a.kind is a.VAR_KEYWORD for a in named.values()):
                given = {name: value for name, value in given.items() if name in named}
            result = function(p, **{name: value for name, value in given.items() if name not in own})
            if isinstance(result, dict):
                state = {**state, **result}
        points.append(p.data.clone())
    return torch.stack(points)


ADAM = [step_stat, partial(damped_grad, dampening=True), damped_sqr_grad]
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
    "radam": ([*ADAM, radam_step], {"lr": 0.1, "mom": 0.9, "sqr_mom": 0.99, "eps": 1e-6}),
    "the root of python": ([pythons_root], {"lr": 0.1}),
    "functions of math": ([step_stat, of_many_decays], {"lr": 0.1}),
    "the first gradient": ([begins_with_the_gradient, momentum_step], {"lr": 0.1, "mom": 0.9}),
    "the first gradient beside zeros": ([begins_with_a_gradient_beside_zeros, momentum_step], {"lr": 0.1}),
    "a copy after the step": ([step_stat, sgd_step, slow_after_the_step], {"lr": 0.1}),
    "a copy after the step, other numbers": (
        [step_stat, sgd_step, slow_after_the_step],
        {"lr": 0.1, "k": 2, "pull": 0.5},
    ),
    "two states at once": ([two_averages, by_two_averages], {"lr": 0.1, "mom": 0.9}),
    "masks": ([average_grad, masked], {"lr": 0.1, "mom": 0.9}),
    "an object": ([Momentum(0.8), momentum_step], {"lr": 0.1}),
    "without **kwargs": ([without_more], {"lr": 0.1}),
    "other numbers of a partial": (
        [average_grad, partial(layer_rate, trust_coeff=2.0, wd=0.3), layer_step],
        {"lr": 0.1, "mom": 0.9},
    ),
    "switched off": ([partial(weight_decay, do_wd=False), sgd_step], {"lr": 0.1, "wd": 0.3}),
    "an angle": ([average_grad, similar], {"lr": 0.1, "mom": 0.9}),
    "a count of one's own": ([count_own, by_own_count], {"lr": 0.1}),
    "a copy of the parameter": ([slow_weights, toward_slow], {"lr": 0.1, "pull": 0.3}),
}
