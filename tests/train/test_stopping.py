"""Callbacks that stop a fit or keep its best weights."""

import math

import pytest
import torch
from callback_runs import SGD, Fake, data, model, parameters, trained
from torch.nn.functional import cross_entropy

from ravine._files import checkpoint
from ravine.errors import OptionError
from ravine.train import (
    BestCheckpoint,
    Callback,
    EarlyStopping,
    GradientAccumulation,
    Learner,
    StopOnNaN,
)

nan = math.nan


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([3, 2, 2, 2, 1], {"patience": 2}, 4, "2 in epoch 2"),
        ([3, 2, 2.5, 1, 1, 1, 1], {"patience": 3}, 7, "1 in epoch 4"),
        ([3, 2, 1, 0.5], {"patience": 1}, 4, None),
        ([3, nan, nan, 1], {"patience": 2}, 3, "3 in epoch 1"),
        ([nan, nan, 1], {"patience": 2}, 2, ""),
        ([nan, 1, 1, 0], {"patience": 2}, 4, None),
        ([3, 2.9, 2.8, 2.7], {"patience": 2, "min_delta": 0.5}, 3, "3 in epoch 1"),
        ([3, 2.4, 1.9, 1.0], {"patience": 2, "min_delta": 0.5}, 4, None),
        ([3, 2, 1], {"patience": 1, "mode": "max"}, 2, "3 in epoch 1"),
        ([math.inf, math.inf], {"patience": 2}, 2, ""),
    ],
)
def test_early_stopping_waits_so_many_epochs(values, options, epochs, best):
    learn = Learner(model(), (data(4), data(4)), cross_entropy, SGD, (), quiet=True)
    learn.fit(len(values), callbacks=[Fake(values), EarlyStopping(**options)])
    assert len(learn.recorder.epochs) == epochs
    if best is None:
        assert learn.recorder.notes == []
    else:
        waited = options["patience"]
        is_nan = "is nan and " if math.isnan(values[epochs - 1]) else ""
        expected = (
            f"epoch {epochs}: valid_loss {is_nan}has not improved for {waited} epoch{'s' * (waited > 1)}: stopped"
        )
        assert [text for _, text in learn.recorder.notes] == [expected + (f"; the best was {best}" if best else "")]


def test_early_stopping_on_a_metric_waits_for_it_to_rise():
    learn = Learner(model(), (data(4), data(4)), cross_entropy, SGD, {"f1": lambda o, t: 0.5}, quiet=True)
    stop = EarlyStopping(1, "f1")
    learn.fit(5, callbacks=[Fake([0.1, 0.2, 0.2], "f1"), stop])
    assert learn.state.epoch == 3
    assert (stop.best, stop.best_epoch) == (0.2, 2)
    learn.fit(5, callbacks=[Fake([0.1, 0.1], "f1"), stop])  # a new fit begins anew
    assert learn.state.epoch == 2


@pytest.mark.parametrize("callbacks", [[], [GradientAccumulation(2)]], ids=["plain", "accumulated"])
@pytest.mark.parametrize("bad", [nan, math.inf])
def test_stop_on_nan_comes_before_the_step(bad, callbacks):
    batches = data(4, 4, 4, 4)
    broken = [*batches[:2], (batches[2][0] * bad, batches[2][1]), batches[3]]
    good = trained(batches[:2], SGD, callbacks, 1)
    learn = trained(broken, SGD, [*callbacks, StopOnNaN()], 3)
    assert torch.equal(parameters(learn), parameters(good))
    state, expected = learn.optimizer.state_dict()["state"], good.optimizer.state_dict()["state"]
    assert all(torch.equal(state[i]["momentum_buffer"], expected[i]["momentum_buffer"]) for i in expected)
    (note,) = learn.recorder.notes
    cause = "The data are the reason: this batch has NaN or infinity in its inputs, rows 0, 1, 2, 3 (4 of 4 rows)"
    assert note == (3, f"epoch 1, step 3: the loss is nan: stopped. {cause}")
    assert learn.recorder.losses[:2].tolist() == good.recorder.losses.tolist()
    assert len(learn.recorder.epochs) == 1
    learn.train = batches
    learn.fit(1)
    assert parameters(learn).isfinite().all()


def test_keep_best_gives_the_best_weights_back(tmp_path):
    seen = []

    class Look(Callback):
        def after_epoch(self, fit):
            seen.append(parameters(fit))

    best = BestCheckpoint()
    learn = Learner(model(), (data(8), data(8)), cross_entropy, SGD, (), folder=tmp_path / "run", quiet=True)
    learn.fit(4, callbacks=[Fake([3, 1, nan, 2]), Look(), best])
    assert torch.equal(parameters(learn), seen[1])
    assert not torch.equal(seen[1], seen[3])
    assert (best.best, best.best_epoch) == (1, 2)
    kept = checkpoint.load(tmp_path / "run" / "best.safetensors")
    assert (kept["epoch"], kept["valid_loss"]) == (2, 1)
    assert all(torch.equal(kept["model"][name], value) for name, value in learn.model.state_dict().items())


def test_keep_best_may_leave_the_last_weights():
    learn = Learner(model(), (data(8), data(8)), cross_entropy, SGD, (), quiet=True)
    learn.fit(2, callbacks=[Fake([1, 2]), BestCheckpoint(restore=False)])
    other = trained(data(8), SGD, [], 2)
    assert torch.equal(parameters(learn), parameters(other))


def test_keep_best_by_a_metric_and_by_its_mode():
    for options, epoch in (({"monitor": "score"}, 2), ({"monitor": "score", "mode": "min"}, 3)):
        learn = Learner(model(), (data(8), data(8)), cross_entropy, SGD, {"score": lambda o, t: 0}, quiet=True)
        best = BestCheckpoint(**options)
        learn.fit(3, callbacks=[Fake([0.5, 0.7, 0.3], "score"), best])
        assert best.best_epoch == epoch
        assert torch.equal(parameters(learn), parameters(trained(data(8), SGD, [], epoch)))


def test_a_later_fit_that_fails_does_not_bring_old_weights_back():
    best = BestCheckpoint()
    learn = Learner(model(), (data(8), data(8)), cross_entropy, SGD, (), quiet=True)
    learn.fit(2, callbacks=[best])
    learn.fit(2)
    weights = parameters(learn)
    with pytest.raises(OptionError):
        learn.fit(1, schedule="linear:5", callbacks=[best])
    assert torch.equal(parameters(learn), weights)


def test_all_weights_are_nan_where_no_epoch_was_best():
    learn = Learner(model(), (data(8), data(8)), cross_entropy, SGD, (), quiet=True)
    learn.fit(2, callbacks=[Fake([nan, nan]), BestCheckpoint()])
    assert torch.equal(parameters(learn), parameters(trained(data(8), SGD, [], 2)))
