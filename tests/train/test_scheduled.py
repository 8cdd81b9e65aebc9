"""A schedule in another loop moves the rate as it does in a fit."""

import pytest
import torch
from schedule_runs import BATCHES, EPOCHS, learner
from torch import nn

from ravine.errors import OptionError
from ravine.train._schedules.by_text import parse
from ravine.train._schedules.scheduled import Scheduled


@pytest.mark.parametrize("text", ["cosine", "linear:0.1", "step:2,0.9", "exponential:0.5"])
def test_the_rates_are_those_of_a_fit(text):
    learn = learner()
    learn.fit(EPOCHS, schedule=text)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    schedule, rates = Scheduled(parse(text), optimizer, model, EPOCHS, BATCHES), []
    for _ in range(EPOCHS):
        for _ in range(BATCHES):
            schedule.before_batch()
            rates.append(optimizer.param_groups[0]["lr"])
            schedule.after_step()
        schedule.after_epoch()
    assert len(set(rates)) > 2
    assert rates == learn.recorder.hyper("lr").tolist()


def test_one_that_waits_for_a_loss_is_refused():
    model = nn.Linear(2, 1)
    with pytest.raises(OptionError, match="valid_loss"):
        Scheduled(parse("plateau"), torch.optim.SGD(model.parameters(), lr=0.1), model, EPOCHS, BATCHES)
