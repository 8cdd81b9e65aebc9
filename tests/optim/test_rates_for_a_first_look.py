"""Learning rates for a first look: every optimizer has them, and they train."""

import pytest
import torch

from ravine import tasks
from ravine.optim import _registry as registry

#: Some special cases say their rate by their name.
NAMES = [name for name in registry.names() if "lr" not in registry.lookup(name).options]


@pytest.mark.parametrize("name", NAMES)
def test_at_the_rate_for_a_first_look_the_floor_of_the_ravine_is_near(name):
    named = registry.lookup(name)
    assert {"digits", "breast-cancer", "rosenbrock", "beale", "ravine"} <= named.rates.keys()
    task = tasks.find("ravine")
    point = task.start().point
    optimizer = named.cls([point], lr=named.rate("ravine"), fused=False, watch=False, **named.options)
    for _ in range(task.epochs * task.steps_per_epoch):
        optimizer.zero_grad()
        task.surface.value(point).backward()
        optimizer.step()
    start, end = (float(task.surface.value(p)) for p in (torch.tensor(task.surface.start), point.detach()))
    assert end < start / 10
