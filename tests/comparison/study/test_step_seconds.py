"""StepSeconds of a step: of slow and quick steps, and where a task fails."""

import pytest
import torch
from slow_model import Slow
from torch import nn

from ravine.comparison._study.step_seconds import measure_seconds
from ravine.optim._spec import parse
from ravine.tasks import Data, Task


def task(model, loss=nn.functional.mse_loss):
    rows = Data(torch.linspace(-1, 1, 20)[:, None], torch.linspace(-1, 1, 20)[:, None])
    return Task("mine", model, rows, rows, loss, batch_size=2)


OPTIMIZERS = {label: parse(label) for label in ("sgd", "torch-adam")}
POINTS = {"sgd": {"lr": 0.1}, "torch-adam": {"lr": 0.01}}


@pytest.mark.slow  # measures
def test_a_step_takes_what_its_parts_take():
    slow = measure_seconds(task(Slow), OPTIMIZERS, POINTS)
    assert list(slow) == ["sgd", "torch-adam"]
    for seconds in slow.values():
        assert 0.01 <= seconds.step < 1
        assert 0 < seconds.optimizer_fraction < 0.5, "the most of it is the forward pass"


def test_what_fails_is_not_measured():
    def broken(outputs, targets):
        raise ArithmeticError

    assert measure_seconds(task(lambda: nn.Linear(1, 1), broken), OPTIMIZERS, POINTS) == {}


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_left_as_they_were(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        measure_seconds(task(lambda: nn.Linear(1, 1)), OPTIMIZERS, POINTS)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
