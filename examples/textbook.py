"""Optimizers as textbooks print them, written as pieces.

A piece is a plain function: before the star stand the tensors it changes, and it returns their new values in that
order; after the star stands what it only reads. A name before the star that is neither ``param``, ``grad`` nor
``update`` is a state, which starts at 0 and is kept for every parameter. Nothing else is needed: the same few lines
are the definition, the fused kernel and the formula that is printed.

The first six are those of the book *Deep Learning with Theano* (Bourez, 2017), in which each returns the new values
of parameter and accumulators, as pieces do. They differ from what ``torch.optim`` has under the same names:

- momentum and Nesterov keep a velocity with the learning rate in it, so a changed rate leaves old steps as they were;
- Adagrad and RMSProp add 1e-6 inside the root, not outside it;
- Adam lowers beta1 by a factor of 1 - 1e-8 at every step, as the first version of the paper had it (Kingma and Ba,
  arXiv:1412.6980v1, algorithm 1, written here with the names that later versions gave the two betas). The
  corrections for the averages' start at 0 divide by 1 - beta1^t and 1 - beta2^t with the betas as they are given.

The last is fastai's style: *stats* keep averages, *steppers* change the parameter, and names join them.

    python examples/textbook.py

runs them all down a small ravine, a quadratic that is thirty times as steep across as along.
"""

from __future__ import annotations

import torch

from ravine.formula import sqrt
from ravine.optim import Optimizer

# --- Deep Learning with Theano -----------------------------------------------------------------------------------


def momentum(param, velocity=0.0, *, grad, lr, momentum):
    """Keep going: the velocity forgets slowly, and each gradient pushes it a little."""
    velocity = momentum * velocity - lr * grad
    return param + velocity, velocity


def nesterov(param, velocity=0.0, *, grad, lr, momentum):
    """The same velocity, and a step that looks ahead along it."""
    velocity = momentum * velocity - lr * grad
    return param + momentum * velocity - lr * grad, velocity


def adagrad(param, acc=0.0, *, grad, lr, eps):
    """Each element's own rate, which falls with all the squares it has seen."""
    acc = acc + grad**2
    return param - lr / sqrt(acc + eps) * grad, acc


def adadelta(param, acc=0.0, acc_delta=0.0, *, grad, lr, rho, eps):
    """Steps as large as recent steps were; eps inside both roots."""
    acc = rho * acc + (1 - rho) * grad**2
    delta = grad * sqrt(acc_delta + eps) / sqrt(acc + eps)
    acc_delta = rho * acc_delta + (1 - rho) * delta**2
    return param - lr * delta, acc, acc_delta


def rmsprop(param, acc=0.0, *, grad, lr, rho, eps):
    """Adagrad that forgets: an average of squares in place of their sum."""
    acc = rho * acc + (1 - rho) * grad**2
    return param - lr * grad / sqrt(acc + eps), acc


def adam(param, m=0.0, v=0.0, *, grad, lr, beta1, beta2, eps, beta1_decay, step):
    """Averages of the gradient and of its square, both corrected for starting at 0; beta1 falls step by step."""
    beta1_now = beta1 * beta1_decay ** (step - 1)
    m = beta1_now * m + (1 - beta1_now) * grad
    v = beta2 * v + (1 - beta2) * grad**2
    m_hat = m / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    return param - lr * m_hat / (sqrt(v_hat) + eps), m, v


# --- fastai: a stat and a stepper --------------------------------------------------------------------------------


def average_sqr_grad(sqr_avg, *, grad, sqr_mom):
    """The stat: a decaying average of the squared gradients."""
    return sqr_mom * sqr_avg + (1 - sqr_mom) * grad**2


def rms_prop_step(param, *, grad, sqr_avg, lr, eps):
    """The stepper: reads the stat by its name."""
    return param - lr * grad / (sqrt(sqr_avg) + eps)


#: The formula and the numbers of each. ``Optimizer(params, pieces, **numbers)`` is the optimizer.
TEXTBOOK = {
    "momentum": ([momentum], {"lr": 0.01, "momentum": 0.9}),
    "nesterov": ([nesterov], {"lr": 0.01, "momentum": 0.9}),
    "adagrad": ([adagrad], {"lr": 0.5, "eps": 1e-6}),
    "adadelta": ([adadelta], {"lr": 1.0, "rho": 0.95, "eps": 1e-6}),
    "rmsprop": ([rmsprop], {"lr": 0.05, "rho": 0.9, "eps": 1e-6}),
    "adam": ([adam], {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "beta1_decay": 1 - 1e-8}),
    "fastai rmsprop": ([average_sqr_grad, rms_prop_step], {"lr": 0.05, "sqr_mom": 0.99, "eps": 1e-8}),
}


def make(name, params, **changes):
    """The optimizer of that name in ``TEXTBOOK``; ``changes`` are other numbers, or options of ``Optimizer``."""
    pieces, numbers = TEXTBOOK[name]
    return Optimizer(params, pieces, **{**numbers, **changes})


def ravine(point):
    """A quadratic that is steep across (the second coordinate) and shallow along; its minimum is 0 at the origin."""
    return (point[0] ** 2 + 30 * point[1] ** 2) / 2


def descend(name, steps=200, **changes):
    """The losses on the way down from (-4, 1): one before every step, and one after the last."""
    point = torch.nn.Parameter(torch.tensor([-4.0, 1.0]))
    optimizer = make(name, [point], **changes)
    losses = []
    for _ in range(steps):
        loss = ravine(point)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return [*losses, ravine(point).item()]


def main():
    """Print the loss of each after some steps."""
    shown = (0, 10, 50, 200)
    print(f"{'loss after steps':<16}" + "".join(f"{n:>12}" for n in shown))
    for name in TEXTBOOK:
        losses = descend(name, max(shown))
        print(f"{name:<16}" + "".join(f"{losses[n]:>12.3g}" for n in shown))


if __name__ == "__main__":
    main()
