"""When rounding costs too much: the watch's figure beside what goes wrong, for the thresholds of ``diagnose/_rounding_rules.py``.

    python benchmarks/rounding_cost.py            averages of squares in bfloat16, and parameters; three minutes
    python benchmarks/rounding_cost.py --states   averages of squares only; half a minute

An average of squares of 4,096 gradients in 4,000 steps: the median figure of the last 500, and how far its root, by which steps
divide, is from that of double precision. Parameters: an MLP on the digits, whose passes are in float32 and whose parameters are
kept in bfloat16 or float32; the median figure of the second half, and the mean loss of the last 200 steps.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ravine.optim import SGD, AdamW, Optimizer, RMSprop
from ravine.tasks import find

STEPS, ELEMENTS = 4000, 4096
BETAS = (0.95, 0.98, 0.99, 0.995, 0.999, 0.9999)


def gradients(kind: str) -> Callable[[], Tensor]:
    """Normal ones; whose sizes differ from element to element; with bursts."""
    sizes = (torch.randn(ELEMENTS) * 2).exp() if kind == "sizes" else torch.ones(ELEMENTS)
    bursts = kind == "bursts"
    return lambda: 1e-4 * sizes * torch.randn(ELEMENTS) * (torch.randn(ELEMENTS).exp() if bursts else 1.0)


def state(kind: str, beta: float, rounding: str) -> tuple[float, float]:
    """The figure, and the median error of the root."""
    torch.manual_seed(0)
    weight, give = nn.Parameter(torch.zeros(ELEMENTS)), gradients(kind)
    optimizer = RMSprop([("w", weight)], lr=0.0, alpha=beta, state_dtype="bfloat16", rounding=rounding)
    exact, figures = torch.zeros(ELEMENTS, dtype=torch.float64), []
    for step in range(STEPS):
        weight.grad = give()
        optimizer.step()
        exact = beta * exact + (1 - beta) * weight.grad.double() ** 2
        if step >= STEPS - 500:
            figures.append(optimizer.watch.last["w"].state_rounding)
    error = optimizer.state[weight]["square_avg"].double().sqrt() / exact.sqrt() - 1
    return float(np.median(figures)), float(error.abs().median())


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def trained(dtype: torch.dtype, cls: type[Optimizer], lr: float, steps: int) -> tuple[float, float]:
    """The figure of the weights, and the loss."""
    data = find("digits").train
    inputs, targets = data.inputs.flatten(1), data.targets
    model, generator = network(), torch.Generator().manual_seed(0)
    held = [nn.Parameter(p.detach().to(dtype)) for p in model.parameters()]
    optimizer, losses = cls(held, lr=lr, state_dtype="float32"), []
    for _ in range(steps):
        with torch.no_grad():
            for p, h in zip(model.parameters(), held, strict=True):
                p.copy_(h)
        rows = torch.randint(len(inputs), (64,), generator=generator)
        loss = cross_entropy(model(inputs[rows]), targets[rows])
        for h, g in zip(held, torch.autograd.grad(loss, list(model.parameters())), strict=True):
            h.grad = g.to(dtype)
        optimizer.step()
        losses.append(loss.item())
    history = optimizer.watch.history
    return float(np.median(history.param_rounding[len(history) // 2 :, ::2])), float(np.mean(losses[-200:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| gradients | rounding | beta | figure | error of the root |\n|---|---|--:|--:|--:|")
    for kind in ("normal", "sizes", "bursts"):
        for rounding in ("nearest", "stochastic"):
            for beta in BETAS:
                figure, error = state(kind, beta, rounding)
                print(f"| {kind} | {rounding} | {beta} | {figure:.2f} | {error:.1%} |", flush=True)
    if options.states:
        return
    print("\n| optimizer | rate | steps | figure | loss in bfloat16 | in float32 |\n|---|--:|--:|--:|--:|--:|")
    cases: list[tuple[type[Optimizer], float, int]] = [(AdamW, lr, 150) for lr in (3e-2, 1e-2, 3e-3)]
    cases += [(AdamW, lr, 2000) for lr in (1e-4, 3e-4, 1e-3, 3e-3)] + [(SGD, lr, 2000) for lr in (1e-3, 1e-2, 1e-1)]
    for cls, lr, steps in cases:
        figure, loss = trained(torch.bfloat16, cls, lr, steps)
        _, wide = trained(torch.float32, cls, lr, steps)
        print(f"| {cls.__name__} | {lr:g} | {steps:,} | {figure:.2f} | {loss:.4f} | {wide:.4f} |", flush=True)


if __name__ == "__main__":
    main()
