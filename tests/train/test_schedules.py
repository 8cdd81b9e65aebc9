"""Schedules: the rates that are really used are those of torch's schedulers in a plain loop, and fastai's one-cycle."""

import functools
import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import mse_loss
from torch.optim import lr_scheduler

from ravine import optim
from ravine.errors import OptionError
from ravine.train import (
    Callback,
    GradientAccumulation,
    HyperSchedule,
    Learner,
    OneCycle,
    ReduceOnPlateau,
    TorchScheduler,
)
from ravine.train._schedules.by_text import parse, usage

EPOCHS, BATCHES = 4, 3
STEPS = EPOCHS * BATCHES

SCHEDULERS = {
    name: found
    for name, found in vars(lr_scheduler).items()
    if inspect.isclass(found)
    and issubclass(found, lr_scheduler.LRScheduler)
    and not name.startswith("_")
    and found not in (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau)
}

ARGUMENTS = {
    "LambdaLR": {"lr_lambda": lambda epoch: 0.9**epoch},
    "MultiplicativeLR": {"lr_lambda": lambda epoch: 0.9 + epoch / 100},
    "StepLR": {"step_size": 2, "gamma": 0.5},
    "MultiStepLR": {"milestones": [1, 3, 7]},
    "ConstantLR": {"factor": 0.5, "total_iters": 3},
    "LinearLR": {"total_iters": 3},
    "ExponentialLR": {"gamma": 0.8},
    "PolynomialLR": {"total_iters": 3, "power": 2},
    "CosineAnnealingLR": {"T_max": 5, "eta_min": 1e-3},
    "CyclicLR": {"base_lr": 1e-3, "max_lr": 1e-2, "step_size_up": 2},
    "CosineAnnealingWarmRestarts": {"T_0": 2, "T_mult": 2},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": STEPS},
}


def sequential(optimizer):
    first, then = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2), lr_scheduler.ExponentialLR(optimizer, 0.5)
    return lr_scheduler.SequentialLR(optimizer, [first, then], milestones=[2])


def chained(optimizer):
    return lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(optimizer, 0.5, 3), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    )


MADE_BY = {"SequentialLR": sequential, "ChainedScheduler": chained}


def data(batches=BATCHES, size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(batches * size, 2, generator=generator)
    return list(zip(inputs.split(size), inputs.sum(1, keepdim=True).split(size), strict=True))


def learner(opt_func=None, valid=None, train=None, **options):
    torch.manual_seed(0)
    make = opt_func or functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9)
    return Learner(nn.Linear(2, 1), (train or data(), valid), mse_loss, make, metrics=(), quiet=True, **options)


def plain_loop(make, per_step, opt_func, epochs=EPOCHS):
    """The hyperparameters of every step of a loop that is written by hand."""
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = opt_func(model.parameters())
    scheduler, used = make(optimizer), []
    for _ in range(epochs):
        for inputs, targets in data():
            optimizer.zero_grad()
            mse_loss(model(inputs), targets).backward()
            used.append([(group["lr"], group.get("momentum")) for group in optimizer.param_groups])
            optimizer.step()
            if per_step:
                scheduler.step()
        if not per_step:
            scheduler.step()
    return used, model


@pytest.mark.parametrize("per_step", [True, False], ids=["step", "epoch"])
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("library", [torch.optim, optim], ids=["torch", "ours"])
def test_every_scheduler_of_torch(name, per_step, library):
    def opt_func(parameters):
        weight, bias = parameters
        return library.SGD([{"params": [weight]}, {"params": [bias], "lr": 0.05}], lr=0.02, momentum=0.9)

    make = MADE_BY.get(name) or functools.partial(SCHEDULERS[name], **ARGUMENTS[name])
    expected, model = plain_loop(make, per_step, opt_func)
    learn = learner(opt_func)
    learn.fit(EPOCHS, schedule=TorchScheduler(make, every="step" if per_step else "epoch"))
    for number, group in enumerate(("", "/1")):
        lrs, momenta = zip(*(step[number] for step in expected), strict=True)
        assert learn.recorder.hyper("lr" + group).tolist() == list(lrs)
        assert learn.recorder.hyper("momentum" + group).tolist() == list(momenta)
    assert len({step[0] for step in expected}) > 1
    assert torch.equal(learn.model.weight, model.weight)


def test_arguments_may_be_given_to_the_schedule():
    make = functools.partial(torch.optim.SGD, lr=0.02)
    expected, _ = plain_loop(lambda o: lr_scheduler.StepLR(o, 2, gamma=0.5), True, make)
    for schedule in (
        TorchScheduler(lr_scheduler.StepLR, 2, gamma=0.5),
        TorchScheduler(lr_scheduler.StepLR, step_size=2, gamma=0.5),
    ):
        learn = learner(make)
        learn.fit(EPOCHS, schedule=schedule)
        assert learn.recorder.hyper("lr").tolist() == [step[0][0] for step in expected]


@pytest.mark.parametrize(("every", "steps"), [("step", STEPS), ("epoch", EPOCHS)])
def test_the_length_of_the_run_is_filled_in(every, steps):
    learn = learner()
    learn.fit(EPOCHS, 0.1, TorchScheduler(lr_scheduler.CosineAnnealingLR, every=every, length="T_max"))
    expected = [0.05 * (1 + math.cos(math.pi * i / steps)) for i in range(steps)]
    assert learn.recorder.hyper("lr") == pytest.approx(np.repeat(expected, STEPS // steps))
    assert learn.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("batches", [2, 3, 5])
def test_with_accumulation_the_length_counts_steps_and_not_batches(batches):
    learn = learner()
    learn.fit(
        2,
        0.1,
        TorchScheduler(lr_scheduler.CosineAnnealingLR, length="T_max"),
        callbacks=[GradientAccumulation(batches)],
    )
    steps = 2 * math.ceil(BATCHES / batches)
    assert learn.state.step == steps
    assert learn.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    assert len(set(learn.recorder.hyper("lr"))) == steps


def test_a_second_fit_begins_its_schedule_anew():
    learn = learner()
    halved = TorchScheduler(lr_scheduler.ExponentialLR, gamma=0.5, every="epoch")
    learn.fit(2, 0.1, halved)
    learn.fit(2, 0.4, halved)
    learn.fit(2, schedule=halved)
    learn.fit(1)
    expected = [0.1, 0.05, 0.4, 0.2, 0.1, 0.05, 0.025]
    assert learn.recorder.hyper("lr")[::BATCHES] == pytest.approx(expected)
    learn.fit(2, 0.8, TorchScheduler(lr_scheduler.LambdaLR, lambda epoch: 0.5**epoch, every="epoch"))
    assert learn.recorder.hyper("lr")[7 * BATCHES :: BATCHES] == pytest.approx([0.8, 0.4])


# --- plateau ---------------------------------------------------------------------------------------------------------


class Fake(Callback):
    """Puts losses into the table in place of those that were measured."""

    order = -100

    def __init__(self, values, column="valid_loss"):
        self.values, self.column = values, column

    def after_epoch(self, fit):
        fit.row[self.column] = self.values[fit.state.epoch - 1]


def of_torch(values, lr=0.01, **options):
    """The rate after each epoch, by torch's own scheduler."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler, rates = lr_scheduler.ReduceLROnPlateau(optimizer, **options), []
    for value in values:
        scheduler.step(value)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


losses = st.lists(st.floats(0, 2) | st.sampled_from([1.0, math.nan, math.inf]), min_size=2, max_size=12)


@settings(max_examples=30, deadline=None)
@given(losses, st.integers(0, 3), st.integers(0, 2), st.sampled_from(["min", "max"]))
def test_on_plateau_equals_torchs_and_counts_as_it_does(values, patience, cooldown, mode):
    options = {"patience": patience, "factor": 0.7, "cooldown": cooldown, "mode": mode}
    learn = learner(valid=data(1), train=data(1))
    learn.fit(len(values), 0.01, ReduceOnPlateau(**options), callbacks=[Fake(values)])
    expected = of_torch(values, **options)
    assert learn.recorder.hyper("lr").tolist() == [0.01, *expected[:-1]]
    before, said = 0.01, []
    for epoch, rate in enumerate(expected, 1):
        if rate != before:
            epochs = "1 epoch" if patience == 0 else f"{patience + 1} epochs"
            said.append(f"epoch {epoch}: valid_loss has not improved for {epochs}: lr {before:.4g} -> {rate:.4g}")
        before = rate
    assert [sentence for _, sentence in learn.recorder.notes] == said


def test_a_plateau_has_one_default_that_of_torch():
    theirs = inspect.signature(lr_scheduler.ReduceLROnPlateau).parameters
    for made in (ReduceOnPlateau(), parse("plateau")):
        assert {name: made.kwargs[name] for name in ("patience", "factor")} == {
            name: theirs[name].default for name in ("patience", "factor")
        }


def test_the_sentence_of_a_plateau(capsys):
    values = [3, 2, 2, 2, 2, 2, 2]
    learn = learner(valid=data(1))
    learn.quiet = False
    learn.fit(7, 0.01, ReduceOnPlateau(patience=4, factor=0.7), callbacks=[Fake(values)])
    sentence = "epoch 7: valid_loss has not improved for 5 epochs: lr 0.01 -> 0.007"
    assert learn.recorder.notes == [(7 * BATCHES, sentence)]
    assert capsys.readouterr().out.splitlines()[-1] == sentence


def test_a_plateau_goes_by_the_real_validation_losses():
    learn = learner(valid=data(2, seed=1))
    learn.fit(12, 0.5, ReduceOnPlateau(1, 0.5, threshold=0.0))
    expected = of_torch(learn.recorder.column("valid_loss"), 0.5, patience=1, factor=0.5, threshold=0.0)
    assert learn.recorder.hyper("lr")[BATCHES::BATCHES].tolist() == expected[:-1]
    assert expected[-1] < 0.5


def test_a_plateau_of_a_metric_is_one_that_does_not_rise():
    values = [0.5, 0.6, 0.7, 0.7, 0.6]
    learn = learner(valid=data(1))
    learn.metrics = {"share": lambda outputs, targets: 0.5}
    learn.fit(5, 0.01, ReduceOnPlateau(0, 0.1, monitor="share"), callbacks=[Fake(values, "share")])
    assert learn.recorder.hyper("lr")[::BATCHES] == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.001])
    assert [n for _, n in learn.recorder.notes] == [
        "epoch 4: share has not improved for 1 epoch: lr 0.01 -> 0.001",
        "epoch 5: share has not improved for 1 epoch: lr 0.001 -> 0.0001",
    ]


def test_a_plateau_lowers_every_group_and_says_each_change_once():
    def make(parameters):
        weight, bias = parameters
        return torch.optim.SGD([{"params": [weight]}, {"params": [bias], "lr": 0.5}], lr=0.25)

    learn = learner(make, valid=data(1))
    learn.fit(2, schedule=ReduceOnPlateau(0, 0.5), callbacks=[Fake([1, 1])])
    assert learn.recorder.notes[0][1].endswith("for 1 epoch: lr 0.25 -> 0.125, 0.5 -> 0.25")


# --- one cycle -------------------------------------------------------------------------------------------------------


def fastai(pct, start, middle, end, steps):
    """combined_cos of fastai's documentation: SchedCos twice, at (epoch + batch / batches) / epochs."""

    def cos(a, b, pos):
        return a + (1 + np.cos(np.pi * (1 - pos))) * (b - a) / 2

    pos = np.arange(steps) / steps
    return np.where(pos >= pct, cos(middle, end, (pos - pct) / (1 - pct)), cos(start, middle, pos / pct))


ADAM = functools.partial(optim.Adam, betas=(0.7, 0.999))
CYCLED = {
    "SGD": (functools.partial(optim.SGD, momentum=0.5, lr=0.1), "momentum", {}),
    "torch SGD": (functools.partial(torch.optim.SGD, momentum=0.5), "momentum", {"dampening": 0}),
    "Adam": (ADAM, "betas", {"eps": 1e-8}),
    "torch AdamW": (torch.optim.AdamW, "betas", {"weight_decay": 0.01}),
    "RMSprop": (optim.RMSprop, "alpha", {"momentum": 0}),
    "torch RMSprop": (torch.optim.RMSprop, "alpha", {"momentum": 0}),
    "RMSprop momentum": (functools.partial(optim.RMSprop, momentum=0.9), "momentum", {"alpha": 0.99}),
    "Adadelta": (optim.Adadelta, "rho", {"eps": 1e-6}),
    "SGD without": (torch.optim.SGD, None, {"momentum": 0}),
    "Adagrad": (torch.optim.Adagrad, None, {"lr_decay": 0}),
}


@pytest.mark.parametrize("name", CYCLED)
def test_one_cycle_is_fastais(name):
    make, momentum, constant = CYCLED[name]
    learn = learner(make)
    learn.fit_one_cycle(EPOCHS, 0.1)
    recorder = learn.recorder
    np.testing.assert_allclose(recorder.hyper("lr"), fastai(0.25, 0.1 / 25, 0.1, 0.1 / 1e5, STEPS), rtol=1e-12)
    moms = fastai(0.25, 0.95, 0.85, 0.95, STEPS)
    if momentum == "betas":
        np.testing.assert_allclose(recorder.hyper("betas")[:, 0], moms, rtol=1e-12)
        assert set(recorder.hyper("betas")[:, 1]) == {0.999}
    elif momentum:
        np.testing.assert_allclose(recorder.hyper(momentum), moms, rtol=1e-12)
    for other in set(recorder.hyper_names) - {"lr", momentum}:
        assert len(set(recorder.hyper(other).ravel())) == 1
    for other, value in constant.items():
        assert set(recorder.hyper(other)) == {value}


def test_one_cycle_really_trains_with_its_values():
    learn = learner(functools.partial(optim.SGD, momentum=0.5))
    learn.fit_one_cycle(EPOCHS, 0.05, div=10, div_final=100, pct_start=0.4, moms=(0.9, 0.7, 0.8))
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.5)
    lrs, moms = fastai(0.4, 0.005, 0.05, 0.0005, STEPS), fastai(0.4, 0.9, 0.7, 0.8, STEPS)
    for (inputs, targets), lr, momentum in zip(data() * EPOCHS, lrs, moms, strict=True):
        optimizer.param_groups[0] |= {"lr": float(lr), "momentum": float(momentum)}
        optimizer.zero_grad()
        mse_loss(model(inputs), targets).backward()
        optimizer.step()
    torch.testing.assert_close(learn.model.weight, model.weight)


def test_the_highest_rate_has_the_name_that_fit_uses():
    named, placed = learner(), learner()
    named.fit_one_cycle(2, lr=0.1)
    placed.fit_one_cycle(2, 0.1)
    assert named.recorder.hyper("lr").tolist() == placed.recorder.hyper("lr").tolist()
    with pytest.raises(OptionError, match=r"fit_one_cycle has no lr_max; the highest rate is lr"):
        learner().fit_one_cycle(2, lr_max=0.1)
    with pytest.raises(OptionError, match="lr None: a learning rate is a finite number above 0"):
        learner().fit_one_cycle(2)


def test_momentum_may_be_left_alone():
    learn = learner()
    learn.fit_one_cycle(1, 0.1, moms=None)
    assert set(learn.recorder.hyper("momentum")) == {0.9}


def test_fits_after_a_cycle():
    learn = learner()
    learn.fit_one_cycle(EPOCHS, 0.1)
    learn.fit_one_cycle(2, 0.2)
    learn.fit(1, 0.3)
    expected = [fastai(0.25, 0.1 / 25, 0.1, 1e-6, STEPS), fastai(0.25, 0.2 / 25, 0.2, 2e-6, 6), [0.3] * 3]
    np.testing.assert_allclose(learn.recorder.hyper("lr"), np.concatenate(expected), rtol=1e-12)
    expected = [fastai(0.25, 0.95, 0.85, 0.95, STEPS), fastai(0.25, 0.95, 0.85, 0.95, 6)]
    np.testing.assert_allclose(learn.recorder.hyper("momentum")[:-3], np.concatenate(expected), rtol=1e-12)


def test_a_cycle_may_be_used_for_another_optimizer():
    cycle = OneCycle(0.1)
    learner().fit(1, schedule=cycle)
    learn = learner(optim.RMSprop)
    learn.fit(1, schedule=cycle)
    assert set(learn.recorder.hyper("momentum")) == {0.0}
    assert learn.recorder.hyper("alpha")[0] == 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0}, "lr 0: a learning rate is a finite number above 0"),
        ({"lr": "big"}, "lr 'big'"),
        ({"div": 0}, "div 0: .* give a number above 0"),
        ({"div_final": math.nan}, "div_final nan"),
        ({"div": "25"}, "div '25'"),
        ({"pct_start": 1}, "pct_start 1: it is a share of the run"),
        ({"pct_start": None}, "pct_start None"),
        ({"moms": (0.9, 0.8)}, "give three numbers"),
        ({"moms": 0.9}, "moms 0.9: give three numbers"),
        ({"moms": (0.9, 0.8, 1.0)}, "moms .* give three numbers from 0 up to 1"),
        ({"moms": ("a", 0.8, 0.9)}, "give three numbers"),
    ],
)
def test_impossible_cycles(options, message):
    with pytest.raises(OptionError, match=message):
        OneCycle(**{"lr": 0.1, **options})


# --- functions of progress -------------------------------------------------------------------------------------------


def test_any_hyperparameter_over_the_run():
    learn = learner(functools.partial(optim.Adam, weight_decay=0.1))
    learn.fit(
        2,
        schedule=HyperSchedule(
            {"betas[0]": lambda p: 0.5 + p / 4, "betas[1]": lambda p: 0.9}, lr=lambda p: 0.1 * (1 - p), weight_decay=abs
        ),
    )
    progress = np.arange(6) / 6
    np.testing.assert_allclose(learn.recorder.hyper("lr"), 0.1 * (1 - progress))
    np.testing.assert_allclose(learn.recorder.hyper("weight_decay"), progress)
    np.testing.assert_allclose(learn.recorder.hyper("betas"), np.stack([0.5 + progress / 4, np.full(6, 0.9)], axis=1))


def test_a_rate_in_a_tensor_is_changed_in_place():
    rate = torch.tensor(0.5, dtype=torch.float64)
    learn = learner(functools.partial(torch.optim.SGD, lr=rate, foreach=False))
    learn.fit(1, schedule=HyperSchedule(lr=lambda p: 0.25))
    assert learn.optimizer.param_groups[0]["lr"] is rate
    assert learn.recorder.hyper("lr").tolist() == [0.25] * BATCHES


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"momentun": abs}, "no hyperparameter 'momentun'. Did you mean 'momentum'"),
        ({"params": abs}, "no hyperparameter 'params'"),
        ({"betas[0]": abs}, "no hyperparameter 'betas'"),
        ({"lr[0]": abs}, r"no 'lr\[0\]': its lr is 0.02"),
        ({"lr[": abs}, r"'lr\[' is not a name; write"),
        ({"lr[x]": abs}, "is not a name"),
        ({"lr": 0.1}, "lr is 0.1; it must be a function of progress"),
        ({}, "HyperSchedule needs a function"),
    ],
)
def test_what_cannot_be_scheduled(functions, message):
    learn = learner()
    with pytest.raises(OptionError, match=message):
        learn.fit(1, schedule=HyperSchedule(functions))
    assert len(learn.recorder) == 0


def test_a_place_that_a_tuple_does_not_have():
    learn = learner(optim.Adam)
    with pytest.raises(OptionError, match=r"no 'betas\[2\]': its betas is \(0.9, 0.999\)"):
        learn.fit(1, schedule=HyperSchedule({"betas[2]": abs}))


def test_a_rate_that_the_schedule_overrules_is_refused():
    learn = learner()
    with pytest.raises(OptionError, match="lr=0.3 has no effect, because .* leave it out"):
        learn.fit(1, 0.3, HyperSchedule(lr=lambda p: 0.1))
    learn.fit(1, 0.3, HyperSchedule(momentum=lambda p: 0.1))
    assert set(learn.recorder.hyper("lr")) == {0.3}


def test_a_schedule_over_the_run_needs_its_length():
    class Endless:
        def __iter__(self):
            return iter(data())

    learn = learner(train=Endless())
    for schedule in (
        HyperSchedule(lr=abs),
        OneCycle(0.1),
        TorchScheduler(lr_scheduler.CosineAnnealingLR, length="T_max"),
    ):
        with pytest.raises(OptionError, match=r"no len\(\)"):
            learn.fit(1, schedule=schedule)
    learn.fit(2, schedule=TorchScheduler(lr_scheduler.StepLR, 1, 0.5))
    assert learn.recorder.hyper("lr").tolist() == [0.02 * 0.5**i for i in range(6)]


# --- by text and by mistake ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step:800,0.9", "TorchScheduler(StepLR, step_size=800, gamma=0.9, every='step')"),
        ("step:800", "TorchScheduler(StepLR, step_size=800, gamma=0.1, every='step')"),
        (
            " plateau: 5 , 0.7 ",
            "ReduceOnPlateau(patience=5, factor=0.7, mode='min', monitor='valid_loss')",
        ),
        ("plateau", "ReduceOnPlateau(patience=10, factor=0.1, mode='min', monitor='valid_loss')"),
        ("cosine", "TorchScheduler(CosineAnnealingLR, eta_min=0.0, every='step', length='T_max')"),
        ("cosine:1e-5", "TorchScheduler(CosineAnnealingLR, eta_min=1e-05, every='step', length='T_max')"),
        (
            "linear:0.1",
            "TorchScheduler(LinearLR, start_factor=1.0, end_factor=0.1, every='step', length='total_iters')",
        ),
        ("exponential:0.5", "TorchScheduler(ExponentialLR, gamma=0.5, every='epoch')"),
    ],
)
def test_schedules_by_text(text, said):
    assert repr(parse(text)) == said


def test_schedules_by_text_move_the_rate():
    for text, expected in {
        "step:4,0.5": [0.1] * 4 + [0.05] * 4 + [0.025] * 4,
        "cosine:0.02": 0.02 + 0.04 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS)),
        "linear:0.4": 0.1 * (1 - 0.6 * np.arange(STEPS) / STEPS),
        "exponential:0.5": np.repeat([0.1, 0.05, 0.025, 0.0125], BATCHES),
    }.items():
        learn = learner()
        learn.fit(EPOCHS, 0.1, text)
        assert learn.recorder.hyper("lr") == pytest.approx(np.array(expected)), text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stpe:1", "no schedule 'stpe'. Did you mean 'step'.* Write step:SIZE,GAMMA"),
        ("", "no schedule ''"),
        ("step", "an argument is missing; write step:SIZE,GAMMA"),
        ("exponential:", "an argument is missing; write exponential:GAMMA"),
        ("step:800,0.9,3", "has 3 arguments; write step:SIZE,GAMMA"),
        ("cosine:1,2", "has 2 arguments; write cosine:FINAL"),
        ("step:8.5", "size is '8.5', not a whole number"),
        ("step:800,fast", "gamma is 'fast', not a number"),
        ("step:800,", "gamma is '', not a number"),
        ("step:0", "size is 0; it must be at least 1"),
        ("step:800,-0.5", "gamma is -0.5; it must be at least 0"),
        ("step:800,nan", "gamma is nan"),
        ("cosine:inf", "final is inf"),
        ("plateau:-1", "patience is -1; it must be at least 0"),
        ("plateau:5,1.5", "factor is 1.5; it must be below 1"),
        ("linear:2", "cannot be made: Ending multiplicative factor"),
    ],
)
def test_texts_that_are_no_schedule(text, message):
    learn = learner(valid=data(1))
    with pytest.raises(OptionError, match=message):
        learn.fit(1, schedule=text)
    assert len(learn.recorder) == 0


def test_every_text_is_listed_and_works():
    for form in usage():
        learner(valid=data(1)).fit(1, 0.1, f"{form.partition(':')[0]}:{1 if 'SIZE' in form else 0}")


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            lambda o: lr_scheduler.StepLR(o, 1),
            r"Wrap torch's scheduler, without the optimizer.* TorchScheduler\(StepLR, ...\) for every step",
        ),
        (lambda o: lr_scheduler.StepLR, r"say when it moves: TorchScheduler\(StepLR, ...\) for every step"),
        (lambda o: 0.9, "The schedule is a float; give a TorchScheduler"),
        (lambda o: TorchScheduler, "The schedule is a type; give a TorchScheduler"),
        (lambda o: TorchScheduler(lambda optimizer: None), "made a NoneType, which is not a scheduler"),
        (
            lambda o: TorchScheduler(lr_scheduler.StepLR),
            r"TorchScheduler\(StepLR, every='step'\) cannot be made: .*step_size",
        ),
        (lambda o: TorchScheduler(lr_scheduler.OneCycleLR, 0.1), "cannot be made: .*total_steps"),
        (
            lambda o: TorchScheduler(lr_scheduler.ReduceLROnPlateau, patience=1, every="epoch"),
            "no loss to go by; write ReduceOnPlateau",
        ),
        (
            lambda o: ReduceOnPlateau(2, monitor="acuracy"),
            "ReduceOnPlateau watches 'acuracy'.* Known: epoch, time, train_loss",
        ),
        (lambda o: ReduceOnPlateau(2), "ReduceOnPlateau watches 'valid_loss'.* There is no validation data"),
        (lambda o: ReduceOnPlateau(2, monitor="train_loss", facto=0.5), "cannot be made: .*facto"),
    ],
)
def test_what_is_no_schedule(schedule, message):
    learn = learner(torch.optim.SGD)
    weights = learn.model.weight.clone()
    with pytest.raises(OptionError, match=message):
        learn.fit(1, schedule=schedule(torch.optim.SGD([torch.zeros(1)])))
    assert len(learn.recorder) == 0
    assert learn.recorder.epochs == []
    assert torch.equal(learn.model.weight, weights)


@pytest.mark.parametrize("wrong", [lr_scheduler.StepLR(torch.optim.SGD([torch.zeros(1)]), 1), "StepLR", None])
def test_a_schedule_is_made_from_a_class(wrong):
    with pytest.raises(
        OptionError, match=r"not a scheduler's class.* TorchScheduler\(StepLR, step_size=800, gamma=0.9\)"
    ):
        TorchScheduler(wrong)
