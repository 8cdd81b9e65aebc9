"""Random formulas as JavaScript, run in node, give the numbers of torch's operations in double precision, to 1e-12.

Each program computes ten formulas at once, on ordinary values and on NaN, infinities, zeros and very small and large numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from javascript_steps import Case, numpy, stepped, values_of
from random_formula_steps import HYPERS, STATES, fill, formulas, piece
from random_formulas import text

from ravine.optim import Optimizer

SEEDS = range(200, 250)
SIZE, STEPS = 40, 3


def steps_of(seed: int) -> tuple[Case, list[dict[str, np.ndarray]]]:
    """The steps that JavaScript is to make, and what torch's operations made of each."""
    p = torch.nn.Parameter(torch.zeros(SIZE, dtype=torch.float64))
    hypers = HYPERS[seed % 2]
    optimizer = Optimizer([p], [piece(formulas(seed))], fused=False, watch=False, **hypers)
    program, random = optimizer.program(), np.random.default_rng(seed)
    grads, filled, left = [], [], []
    for step in range(1, STEPS + 1):
        p.grad = torch.empty_like(p)
        states = [optimizer.state[p][name] for name in program.states if optimizer.state[p]]
        with torch.no_grad():
            fill([p, p.grad, *states], random, special=step == STEPS)
        grads.append(numpy(p.grad))
        starts = [np.full(SIZE, 0.25) for _ in program.states] if not states else map(numpy, states)
        filled.append([numpy(p), *starts])
        optimizer.step()
        left.append({"param": numpy(p), **{name: numpy(optimizer.state[p][name]) for name in program.states}})
    return Case(program, filled[0][0], values_of(optimizer.param_groups[0], program), grads, filled), left


def test_five_hundred_random_formulas() -> None:
    cases = {seed: steps_of(seed) for seed in SEEDS}
    compared, wrong = 0, []
    for (seed, (_, left)), steps in zip(cases.items(), stepped([case for case, _ in cases.values()]), strict=True):
        trees = formulas(seed)
        assert len(trees) == len(STATES) + 1 == 10
        for step, (made, torchs) in enumerate(zip(steps, left, strict=True), 1):
            for name, wanted in torchs.items():
                ours = made.param if name == "param" else made.states[name]
                apart = ~np.isclose(ours, wanted, rtol=1e-12, atol=0, equal_nan=True)
                compared += ours.size
                wrong += [
                    f"seed {seed}, step {step}: {name} = {text(trees[name])} is {ours[i]}, not {wanted[i]}"
                    for i in np.flatnonzero(apart)[:1]
                ]
    assert not wrong, "\n".join(wrong)
    assert compared == 500 * STEPS * SIZE
