"""``lr_find`` leaves everything as it was, ends well on every kind of data, and its suggestion trains."""

import copy
import functools
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset

from ravine import optim
from ravine.errors import DataError, OptionError, TrainingError
from ravine.tasks import find
from ravine.train import Batches, Callback, GradientAccumulation, GradientClipping, HyperSchedule, Learner, StopOnNaN

FEW = {"steps": 12, "orders": 2, "end": 1.0, "start": 1e-4}


def rows(count=60):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 4, generator=generator)
    return inputs, (inputs[:, 0] > 0).long()


def network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
    net[2].eval()  # off on purpose; the mode is part of what must not change
    return net


class Flow(IterableDataset):
    def __iter__(self):
        yield from zip(*rows(20), strict=True)


def loader(seed=3):
    return DataLoader(TensorDataset(*rows()), 8, shuffle=True, generator=torch.Generator().manual_seed(seed))


def sampled():
    data = TensorDataset(*rows())
    return DataLoader(data, 8, sampler=RandomSampler(data, generator=torch.Generator().manual_seed(4)))


DATA = {
    "batches": lambda: Batches(*rows(), 8, seed=3),
    "loader": loader,
    "global": lambda: DataLoader(TensorDataset(*rows()), 8, shuffle=True),
    "sampler": sampled,
    "list": lambda: [tuple(part) for part in zip(*(t.split(8) for t in rows()), strict=True)],
    "flow": lambda: DataLoader(Flow(), 8),
}
OPTIMIZERS = {
    "ours": functools.partial(optim.RMSprop, alpha=0.9),
    "torch": functools.partial(torch.optim.Adam, lr=3e-3),
    "groups": lambda p: torch.optim.SGD([{"params": list(p)[:2]}, {"params": []}], lr=0.1, momentum=0.9),
}

#: For optimizers of some of the parameters.
LEFT_OUT = pytest.mark.filterwarnings("ignore:.* are trainable, but in no parameter group")


def learner(data="batches", opt="ours", **options):
    make = OPTIMIZERS[opt] if isinstance(opt, str) else opt
    train = DATA[data]() if isinstance(data, str) else data
    return Learner(network(), (train, None), cross_entropy, make, (), quiet=True, **options)


def everything(learn):
    """All that must be as before, as plain values."""
    loaders = [learn.train, getattr(learn.train, "sampler", None)]
    generators = [g for g in (getattr(one, "generator", None) for one in loaders) if g is not None]
    optimizer = learn.optimizer
    recorder = learn.recorder
    return copy.deepcopy(
        {
            "model": dict(learn.model.state_dict()),
            "modes": [module.training for module in learn.model.modules()],
            "grads": [p.grad for p in learn.model.parameters()],
            "state": list(optimizer.state.values()),
            "groups": [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups],
            "random": [torch.get_rng_state(), random.getstate(), *np.random.get_state()[1:]],
            "generators": [g.get_state() for g in generators],
            "turn": getattr(learn.train, "_passes", None),
            "recorder": [recorder.losses, recorder.epochs, recorder.notes, len(recorder)],
            "hypers": {name: recorder.hyper(name) for name in recorder.hyper_names},
            "place": {**learn.state.state_dict(), "seconds": 0.0},
            "order": learn.order.epochs,
            "skipped": learn.loop and learn.loop.fit.step_skipped,
        }
    )


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def seed():
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)


def noisy(learn):
    """Draws from every generator, as augmentation would."""

    class Noise(Callback):
        def before_batch(self, fit):
            fit.inputs = fit.inputs + random.random() + np.random.rand() + torch.rand(())

    learn.callbacks.append(Noise())
    return learn


@LEFT_OUT
@pytest.mark.parametrize(
    ("data", "opt"), [*((data, "ours") for data in DATA), ("batches", "torch"), ("loader", "groups")]
)
def test_everything_is_as_before_and_training_goes_on_as_without(data, opt):
    learn, other = noisy(learner(data, opt)), noisy(learner(data, opt))
    seed()
    assert learn.optimizer
    before = everything(learn)
    learn.lr_find(**FEW)
    assert same(everything(learn), before)
    learn.fit(2, 1e-2)
    before = everything(learn)
    learn.lr_find(**FEW)
    after = everything(learn)
    assert {name for name in after if not same(after[name], before[name])} == set()
    learn.fit(1)
    seed()
    other.fit(2, 1e-2)
    other.fit(1)
    a, b = everything(learn), everything(other)
    assert {name for name in a if name != "recorder" and not same(a[name], b[name])} == set()
    assert learn.recorder.losses.tolist() == other.recorder.losses.tolist()


@pytest.mark.parametrize("data", ["batches", "loader", "sampler", "global"])
def test_in_the_middle_of_a_training(data):
    class Search(Callback):
        def after_batch(self, fit):
            if fit.state.batch == 3:
                before = everything(learn)
                learn.lr_find(**FEW)
                assert same(everything(learn), before)

    seed()
    learn = learner(data)
    learn.fit(2, 1e-2, callbacks=[Search()])
    seed()
    other = learner(data)
    other.fit(2, 1e-2)
    assert learn.recorder.losses.tolist() == other.recorder.losses.tolist()
    assert same(dict(learn.model.state_dict()), dict(other.model.state_dict()))


def test_the_first_sweep_is_a_loop_with_a_rising_rate():
    inputs, targets = rows()
    model = nn.Linear(4, 2).double()
    hand = copy.deepcopy(model)
    batches = [(x.double(), y) for x, y in zip(inputs.split(8), targets.split(8), strict=True)]
    found = Learner(model, (batches, None), cross_entropy, torch.optim.SGD, (), quiet=True).lr_find(1e-3, 1.0, 20, 1)
    optimizer, losses = torch.optim.SGD(hand.parameters()), []
    for step, rate in enumerate(1e-3 * 1000 ** (np.arange(20) / 19)):
        x, y = batches[step % len(batches)]
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.zero_grad()
        loss = cross_entropy(hand(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(found.losses[0], losses, rtol=1e-10)


def test_a_search_goes_on_from_the_optimizers_state():
    """After training, the first steps of a sweep use the momentum that there is."""
    learn = learner("list", functools.partial(torch.optim.SGD, momentum=0.9))
    learn.model[2].p = 0.0
    learn.fit(3, 0.1)
    model, optimizer = copy.deepcopy((learn.model, learn.optimizer))
    model.train()
    losses = []
    for rate, (x, y) in zip(np.geomspace(0.1, 1.0, 10)[:8], learn.train, strict=True):
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(learn.lr_find(0.1, 1.0, 10, 1).losses[0, :8], losses, rtol=1e-6)


@pytest.mark.parametrize("data", DATA)
def test_the_same_result_twice_and_orders_that_differ(data):
    learn = learner(data)
    learn.model[2].p = 0.0  # sweeps differ by nothing but the order
    first, second = learn.lr_find(**FEW), learn.lr_find(**FEW)
    np.testing.assert_array_equal(first.losses, second.losses)
    assert learn.recorder.lr_find is second
    assert first.rates == pytest.approx(1e-4 ** (1 - np.arange(12) / 11))
    assert first.losses.shape == (2, 12)
    if data in ("batches", "loader", "sampler", "global"):
        assert not np.array_equal(*first.losses[:, :3])


@LEFT_OUT
def test_an_optimizer_of_chosen_parameters_trains_those_of_the_copy():
    """opt_func may take parameters from the model itself and not from its argument."""
    model = network()

    def make(parameters):
        return torch.optim.SGD(
            [{"params": model[3].parameters()}, {"params": model[0].parameters(), "lr": 0.5}], lr=0.1
        )

    learn = Learner(model, (DATA["list"](), None), cross_entropy, make, (), quiet=True)
    learn.fit(1)
    before = everything(learn)
    found = learn.lr_find(1e-3, 1e3, 30, 1)
    assert same(everything(learn), before)
    assert np.nanmax(found.losses) > 2  # the copy was really trained, and in the end diverged


def test_a_loss_with_state_is_copied_too():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, outputs, targets):
            self.calls += 1
            return cross_entropy(outputs, targets)

    loss = Counting()
    learn = Learner(network(), (DATA["list"](), None), loss, torch.optim.SGD, (), quiet=True)
    learn.lr_find(**FEW)
    assert loss.calls == 0


def test_callbacks_that_shape_a_step_take_part():
    clip, spy = GradientClipping(1e-9), []

    class Spy(Callback):
        def after_batch(self, fit):
            spy.append(fit)

    learn = learner("list", torch.optim.SGD, callbacks=[clip, GradientAccumulation(2), Spy()])
    found = learn.lr_find(1e-3, 100.0, 20, 1)
    assert np.nanmax(np.abs(np.diff(found.losses[0]))) < 1  # clipped to nothing, it cannot diverge
    assert clip.norms == []
    assert spy == []


def test_schedules_of_the_learner_do_not_take_the_rate():
    plain = learner("list", torch.optim.SGD).lr_find(1e-3, 100.0, 20, 1)
    scheduled = learner("list", torch.optim.SGD, callbacks=[HyperSchedule(lr=lambda p: 1e-9)]).lr_find(
        1e-3, 100.0, 20, 1
    )
    np.testing.assert_array_equal(scheduled.losses, plain.losses)


def test_fewer_batches_than_rates():
    found = learner([DATA["list"]()[0]]).lr_find(1e-4, 1.0, 25, 1)
    assert np.isfinite(found.losses[0, :10]).all()


def test_divergence_at_once_and_nan():
    learn = learner("list", torch.optim.SGD)
    with torch.no_grad():
        learn.model[3].weight.mul_(1e4)
    found = learn.lr_find(1e3, 1e6, 10, 1)
    assert not found.answered
    with pytest.raises(OptionError, match="no learning rate to suggest. The loss diverged after"):
        _ = found.lr
    nan = [(x * math.nan, y) for x, y in DATA["list"]()]
    for callbacks in ([], [StopOnNaN()]):
        with pytest.raises(DataError, match="The loss is nan because the training data have NaN or infinity"):
            learner(nan, callbacks=callbacks).lr_find(**FEW)
    lost = Learner(network(), (DATA["list"](), None), lambda o, t: o.sum() * math.nan, quiet=True)
    found = lost.lr_find(**FEW)
    assert np.isnan(found.losses).all()
    with pytest.raises(OptionError, match="The loss of sweep 1 of 2 was nan at the first rate"):
        _ = found.lr


def test_what_cannot_be_copied_is_said():
    learn = learner("list")
    learn.model.lock = (_ for _ in ())
    before = everything(learn)
    with pytest.raises(
        TrainingError, match="lr_find trains a copy of model.*cannot be copied: cannot pickle 'generator'"
    ):
        learn.lr_find(**FEW)
    after = everything(learn)
    assert all(same(after[name], before[name]) for name in ("model", "modes", "random", "recorder"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 0}, "start 0: a learning rate to try is a finite number above 0"),
        ({"start": 1.0, "end": 0.1}, "end 0.1 is not above start 1.0"),
        ({"steps": 5}, "steps 5: at least 10"),
        ({"orders": 0}, "orders 0: sweep over a whole number of orders of the data, at least 1"),
        ({"orders": 1.5}, "orders 1.5"),
    ],
)
def test_impossible_searches(options, message):
    with pytest.raises(OptionError, match=message):
        learner().lr_find(**options)


def test_data_and_models_that_cannot_be_searched():
    class Empty(IterableDataset):
        def __iter__(self):
            return iter(())

    with pytest.raises(OptionError, match="The training data gave no batch"):
        learner(DataLoader(Empty(), 4)).lr_find()
    frozen = learner()
    frozen.model.requires_grad_(False)
    with pytest.raises(OptionError, match="all are frozen"):
        frozen.lr_find()
    scalars = learner("list")
    scalars.loss_func = lambda o, t: cross_entropy(o, t).item()
    with pytest.raises(TrainingError, match="The loss is a float"):
        scalars.lr_find()


def test_an_optimizer_without_a_rate():
    class Fixed(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {})

    with pytest.raises(OptionError, match="Fixed has no learning rate"):
        learner("list", Fixed).lr_find()


def test_the_suggestion_trains_digits():
    task = find("digits")
    learn = task.learner(functools.partial(optim.RMSprop, alpha=0.9), quiet=True)
    found = learn.lr_find()
    assert 2e-4 < found.lr < 3e-2
    learn.fit(5, found.lr)
    assert learn.validate()["accuracy"] > 0.93
