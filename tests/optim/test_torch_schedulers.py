"""torch's learning rate schedulers drive ours as they drive torch's."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch.optim import lr_scheduler
from torch_pairs import CLASSES, assert_close, each_path, fit, make_params, theirs_of, twins

pytestmark = pytest.mark.usefixtures("one_thread", "numbers_in_double")

STEPS = 24
#: A loss that stops falling twice: ReduceLROnPlateau lowers the rate both times.
LOSSES = [5.0, 4.0, 3.0, *[3.1] * 8, 2.0, 1.0, *[1.5] * 11]
SCHEDULERS = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, step_size=5, gamma=0.3),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, [lambda e: 1 / (1 + e), lambda e: 0.8**e]),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(
        o, max_lr=[0.05, 0.02], total_steps=STEPS, cycle_momentum=bool({"momentum", "betas"} & o.defaults.keys())
    ),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=2),
}


def groups(cls, params):
    options = {"momentum": 0.9} if "momentum" in inspect.signature(cls).parameters else {}
    return [{"params": params[:1], "lr": 0.03, **options}, {"params": params[1:], "lr": 0.01, **options}]


@each_path
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_same_trajectory(cls, scheduler, fused):
    params = make_params(fit(cls, [(4, 3), (5,)]), torch.float64)
    others = twins(params)
    momentum = {"momentum": 0.9} if "momentum" in inspect.signature(cls).parameters else {}
    pair = [
        cls(groups(cls, params), **momentum, fused=fused),
        theirs_of(cls)(groups(cls, others), **momentum),
    ]
    schedulers = [SCHEDULERS[scheduler](o) for o in pair]
    targets = make_params(fit(cls, [(4, 3), (5,)]), torch.float64, seed=7)
    rates = []
    for step in range(STEPS - 1):
        for optimizer, mine, schedule in zip(pair, (params, others), schedulers, strict=True):
            optimizer.zero_grad()
            sum(
                ((p - t.detach()) ** 2 * (1 + t.detach() ** 2)).sum() for p, t in zip(mine, targets, strict=True)
            ).backward()
            optimizer.step()
            schedule.step(*([LOSSES[step]] if scheduler == "ReduceLROnPlateau" else []))
        assert schedulers[0].get_last_lr() == schedulers[1].get_last_lr()
        for a, b in zip(pair[0].param_groups, pair[1].param_groups, strict=True):
            assert all(a.get(k) == b.get(k) for k in ("lr", "momentum", "betas"))
        # Both start from the same numbers and follow their own gradients, which may carry an error on.
        assert_close(*pair, params, others, relative=1e-11, where=f", step {step + 1}")
        rates.append(pair[0].param_groups[0]["lr"])
    assert len(set(rates)) > 2, "the schedule did nothing"
