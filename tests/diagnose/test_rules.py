"""Each rule against real small trainings: one that has the fault, and its twin that has not."""

import dataclasses
import math
import warnings
from functools import cache, partial

import numpy as np
import pytest
import torch
from tiny_runs import digits, mlp, of_probabilities, on_digits, times, train
from torch import nn
from torch.nn import functional

from ravine.diagnose import Evidence, diagnose, evidence_of
from ravine.diagnose._rules import RULES
from ravine.optim import SGD, Adam, RMSprop
from ravine.tasks import find
from ravine.train import Batches, Learner

SMALL = partial(mlp, 64, 50, 10)
BY_NAME = {rule.name: rule for rule in RULES}


class WithMore(nn.Module):
    """A classifier with a layer that has no part in the outputs, or only with the factor ``factor``."""

    def __init__(self, factor=None):
        super().__init__()
        self.net, self.extra, self.factor = SMALL(), nn.Linear(50, 10), factor

    def forward(self, inputs):
        outputs = self.net(inputs)
        return outputs if self.factor is None else outputs + self.factor * self.extra(self.net[:2](inputs))


class Bowl(nn.Module):
    """A quadratic of 100 variables whose curvatures lie between 0.5 and 1; it reads no data."""

    def __init__(self):
        super().__init__()
        self.point = nn.Parameter(torch.randn(10, 10))

    def forward(self, inputs):
        return (torch.linspace(0.5, 1, 100).view(10, 10) * self.point**2).sum() / 2


def scaled(model, factor):
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(factor)
    return model


def with_bias(value):
    model = SMALL()
    nn.init.constant_(model[0].bias, value)
    return model


def of_zeros(model):
    """Its weights and biases begin at 0."""
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


def deep(activation, factor=1.0, width=32, layers=12):
    return scaled(mlp(64, *[width] * (layers - 1), 10, activation=activation), factor)


def normalised():
    """16 layers with normalisation between them: gradients differ by ten and more, which does no harm."""
    layers = [layer for _ in range(15) for layer in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def badly_scaled():
    """A linear network of 8 layers whose weights grow from 0.001 in the first to 20 in the last."""
    model = mlp(64, *[32] * 7, 10, activation=nn.Identity)
    for layer, deviation in zip(model[::2], np.geomspace(0.001, 20, 8), strict=True):
        nn.init.normal_(layer.weight, std=float(deviation))
        nn.init.zeros_(layer.bias)
    return model


def in_a_bowl(optimizer, steps=300):
    torch.manual_seed(0)
    return train(Bowl(), [(torch.zeros(1), torch.zeros(1))], lambda value, _: value, optimizer, steps)


def of_tumours(optimizer):
    """Logistic regression: batches of 32 differ much, and 27 epochs are long."""
    task = find("breast-cancer")
    return train(task.start(0), task.batches(0)[0], task.loss, optimizer, 27)


def nan_batch(inputs, number):
    return inputs * float("nan") if number == 70 else inputs


def losses_alone(evidence):
    """As of an optimizer that is not ours, which records nothing."""
    return Evidence(evidence.optimizer, losses=evidence.losses, hypers=evidence.hypers)


def extreme_batches(inputs, number):
    return inputs * -10 if number in (70, 110, 150) else inputs


def noisy_validation(share):
    """Validation with so many labels that are wrong: confidence costs more and more there."""
    inputs, targets = digits()[1]
    chance = torch.rand(len(targets), generator=torch.Generator().manual_seed(1))
    return inputs, torch.where(chance < share, (targets + 1) % 10, targets)


def tiny_loss(outputs, targets):
    return 1e-6 * functional.cross_entropy(outputs, targets)


def falls_at(when):
    """A schedule: the rate falls to a millionth at that step."""

    def each_step(optimizer, step):
        if step == when:
            optimizer.param_groups[0]["lr"] *= 1e-6

    return each_step


def divide(optimizer, now):
    if now:
        optimizer.param_groups[0]["lr"] /= 10


def divided_every(steps):
    """A schedule that is stepped by batch where epochs were meant."""
    return lambda optimizer, step: divide(optimizer, step and step % steps == 0)


def cosine(steps):
    def each_step(optimizer, step):
        optimizer.param_groups[0]["lr"] = 0.025 * (1 + math.cos(math.pi * step / (steps - 1)))

    return each_step


def with_nan_row():
    inputs, targets = digits()[1]
    return torch.cat([inputs, torch.full((1, 64), math.nan)]), torch.cat([targets, targets[:1]])


def in_a_learner(targets=lambda x: x.sum(1, keepdim=True), outputs=1, unfrozen=False, bad_row=None):
    """Evidence of a Learner, whose model is a line with a frozen layer before it."""
    torch.manual_seed(0)
    x = torch.randn(200, 4)
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, outputs))
    net[0].requires_grad_(not unfrozen)
    data = Batches(x, targets(x), 20)

    def opt_func(_):
        return Adam([p for p in net.parameters() if p.requires_grad])

    if bad_row is not None:
        data.inputs[bad_row] = math.nan
    learn = Learner(net, (data, None), lambda o, t: (o - t).square().mean(), opt_func, quiet=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn.fit(1, 1e-2)
        net.requires_grad_(True)
        learn.fit(2, 1e-2)
    return evidence_of(learn)


def over_one_output(loss):
    """Evidence of a Learner with one output for each row, and classes of 0 and 1 as floats."""
    torch.manual_seed(0)
    x = torch.randn(200, 4)
    learn = Learner(nn.Linear(4, 1), (Batches(x, (x[:, :1] > 0).float(), 20), None), loss, Adam, quiet=True)
    learn.fit(1, 1e-2)
    return evidence_of(learn)


def learned(model):
    """Evidence of a Learner that has trained the model on digits for an epoch."""
    torch.manual_seed(0)
    train, _ = digits()
    learn = Learner(model(), (train, None), functional.cross_entropy, partial(RMSprop, lr=1e-3), quiet=True)
    learn.fit(1)
    return evidence_of(learn)


#: By rule: runs that have the fault, and those that have not. Every run is made once.
WITH = {
    "outside_range": {
        "alpha 9": lambda: on_digits(SMALL, partial(torch.optim.RMSprop, lr=2e-3, alpha=9.0)),
        "momentum 1.1": lambda: on_digits(SMALL, partial(torch.optim.SGD, lr=1e-3, momentum=1.1), epochs=2),
    },
    "broadcast": {"a column of outputs, a row of targets": lambda: in_a_learner(lambda x: x.sum(1))},
    "endless": {
        "nll_loss of outputs": lambda: on_digits(SMALL, partial(Adam, lr=3e-3), loss=functional.nll_loss, epochs=9)
    },
    "unlike_validation": {
        "pixels 255 times": lambda: on_digits(SMALL, partial(Adam, lr=1e-3), valid=times(255, digits()[1]))
    },
    "loss_of_zero": {"a cross entropy over one output": lambda: over_one_output(functional.cross_entropy)},
    "left_out": {"a layer that was unfrozen late": lambda: in_a_learner(unfrozen=True)},
    "growing_activations": {
        "20 linear layers": lambda: learned(partial(deep, nn.Identity, 4, layers=20)),
        "8 layers of ReLU": lambda: learned(partial(deep, nn.ReLU, 20, layers=8)),
    },
    "bad_data": {"a row of NaN to train on": lambda: in_a_learner(bad_row=77)},
    "nonfinite_validation": {
        "a row of NaN": lambda: on_digits(SMALL, partial(Adam, lr=1e-3), valid=with_nan_row(), epochs=2),
    },
    "no_update": {"a rate of 0": lambda: on_digits(SMALL, partial(SGD, lr=0.0), epochs=3)},
    "rate_vanished": {
        "a schedule that fell early": lambda: on_digits(
            SMALL, partial(SGD, lr=0.05), each_step=falls_at(70), epochs=12
        ),
        "divided by 10 every 5 steps": lambda: on_digits(
            SMALL, partial(Adam, lr=1e-3), each_step=divided_every(5), epochs=4
        ),
    },
    "nonfinite": {
        "a batch of NaN": lambda: on_digits(SMALL, partial(RMSprop, lr=2e-3), change=nan_batch),
    },
    "rate_too_high": {
        "sgd 100 times": lambda: on_digits(SMALL, partial(SGD, lr=50.0)),
        "rmsprop 100 times": lambda: on_digits(SMALL, partial(RMSprop, lr=0.3)),
        "adam 200 times": lambda: on_digits(SMALL, partial(Adam, lr=1.0)),
        "momentum in few steps": lambda: on_digits(SMALL, partial(SGD, lr=5.0, momentum=0.9), epochs=1),
        "losses alone": lambda: losses_alone(on_digits(SMALL, partial(Adam, lr=50.0))),
        "losses alone, to infinity": lambda: losses_alone(in_a_bowl(partial(SGD, lr=1e6), 12)),
        "to infinity in few steps": lambda: in_a_bowl(partial(SGD, lr=1e6), 12),
    },
    "rate_too_low": {
        "sgd": lambda: on_digits(SMALL, partial(SGD, lr=1e-7)),
        "adam": lambda: on_digits(SMALL, partial(Adam, lr=1e-6)),
        "a line down": lambda: in_a_bowl(partial(Adam, lr=9e-5), 1500),
    },
    "exploding": {
        "tanh with weights times 30": lambda: on_digits(partial(deep, nn.Tanh, 30), partial(SGD, lr=1e-6), epochs=4),
        "tanh, 20 layers": lambda: on_digits(partial(deep, nn.Tanh, 10, layers=20), partial(SGD, lr=1e-5), epochs=4),
        "a badly scaled linear network": lambda: on_digits(badly_scaled, partial(SGD, lr=1e-9), epochs=4),
    },
    "vanishing": {
        "12 layers of sigmoid": lambda: on_digits(partial(deep, nn.Sigmoid), partial(SGD, lr=0.1), epochs=4),
        "the same with Adam": lambda: on_digits(partial(deep, nn.Sigmoid), partial(Adam, lr=1e-3), epochs=4),
    },
    "zero_weights": {
        "three layers": lambda: on_digits(lambda: of_zeros(mlp(64, 50, 50, 10)), partial(Adam, lr=1e-3), epochs=2),
        "two layers": lambda: on_digits(lambda: of_zeros(SMALL()), partial(SGD, lr=0.1), epochs=2),
    },
    "dead_units": {
        "bias -30": lambda: on_digits(partial(with_bias, -30.0), partial(SGD, lr=0.1)),
        "killed by the rate": lambda: on_digits(SMALL, partial(SGD, lr=50.0)),
    },
    "no_gradient": {
        "a layer that is not used": lambda: on_digits(WithMore, partial(RMSprop, lr=2e-3)),
    },
    "zero_gradient": {
        "a layer that is multiplied by 0": lambda: on_digits(partial(WithMore, 0.0), partial(RMSprop, lr=2e-3)),
    },
    "eps_dominates": {
        "a loss times 1e-6, eps 1": lambda: on_digits(SMALL, partial(Adam, lr=1e-3, eps=1.0), loss=tiny_loss),
        "a loss times 1e-6, eps 1e-5": lambda: on_digits(SMALL, partial(RMSprop, lr=1e-3, eps=1e-5), loss=tiny_loss),
    },
    "overshooting": {
        "momentum 0.99": lambda: in_a_bowl(partial(SGD, lr=0.02, momentum=0.99)),
        "momentum 0.995": lambda: in_a_bowl(partial(SGD, lr=0.005, momentum=0.995)),
    },
    "spikes": {
        "three extreme batches, Adam": lambda: on_digits(
            SMALL, partial(Adam, lr=1e-3), epochs=8, change=extreme_batches
        ),
        "three extreme batches, SGD": lambda: on_digits(SMALL, partial(SGD, lr=0.02), epochs=8, change=extreme_batches),
    },
    "plateau": {
        "inputs that are all alike": lambda: on_digits(
            SMALL, partial(SGD, lr=0.05), change=lambda inputs, _: torch.ones_like(inputs)
        ),
        "inputs of another batch": lambda: on_digits(
            SMALL, partial(Adam, lr=1e-3), change=lambda inputs, _: inputs[torch.randperm(len(inputs))]
        ),
    },
    "overconfident": {
        "wrong labels in validation": lambda: on_digits(
            SMALL, partial(Adam, lr=3e-3), epochs=15, valid=noisy_validation(0.15)
        ),
    },
}
WITHOUT = {
    "outside_range": {
        "the largest that average": lambda: on_digits(
            SMALL, partial(RMSprop, lr=1e-4, alpha=0.9999, momentum=0.999), epochs=1
        ),
    },
    "broadcast": {
        "columns of both": lambda: in_a_learner(),
        "one target for all": lambda: in_a_learner(lambda x: x.sum(1, keepdim=True)[:, :1], outputs=4),
    },
    "endless": {"bounded by -1": lambda: on_digits(SMALL, partial(Adam, lr=3e-3), loss=of_probabilities)},
    "unlike_validation": {"the same pixels": lambda: on_digits(SMALL, partial(Adam, lr=1e-3))},
    "loss_of_zero": {
        "two classes in one logit": lambda: over_one_output(functional.binary_cross_entropy_with_logits),
        "learned": lambda: in_a_learner(lambda x: 0 * x[:, :1]),
    },
    "left_out": {"all are given": lambda: in_a_learner()},
    "growing_activations": {
        "20 layers of ReLU": lambda: learned(partial(deep, nn.ReLU, 6**0.5, layers=20)),
        "normalised": lambda: learned(lambda: scaled(normalised(), 20)),
    },
    "bad_data": {
        "the same data": lambda: in_a_learner(),
        "numbers that overflow": lambda: in_a_bowl(partial(SGD, lr=1e6), 12),
    },
    "nonfinite_validation": {"the same data": lambda: on_digits(SMALL, partial(Adam, lr=1e-3), epochs=2)},
    "no_update": {"a low rate": lambda: on_digits(SMALL, partial(SGD, lr=1e-6), epochs=3)},
    "rate_vanished": {
        "a cosine to 0": lambda: on_digits(SMALL, partial(SGD, lr=0.05), each_step=cosine(138)),
        "a tenth": lambda: on_digits(SMALL, partial(SGD, lr=0.05), each_step=lambda opt, step: divide(opt, step == 70)),
    },
    "nonfinite": {"the same data": lambda: on_digits(SMALL, partial(RMSprop, lr=2e-3))},
    "rate_too_high": {
        "large first steps": lambda: on_digits(SMALL, partial(RMSprop, lr=1e-2)),
        "losses alone": lambda: losses_alone(on_digits(SMALL, partial(RMSprop, lr=0.05), epochs=14)),
        "few large first steps": lambda: on_digits(SMALL, partial(RMSprop, lr=1e-2), epochs=1),
        "extreme batches": WITH["spikes"]["three extreme batches, SGD"],
        "thrown, and back again": lambda: on_digits(SMALL, partial(RMSprop, lr=0.05), epochs=14),
        "nothing to learn, after large first steps": lambda: on_digits(
            SMALL, partial(RMSprop, lr=2e-3), change=lambda inputs, _: inputs[torch.randperm(len(inputs))]
        ),
    },
    "rate_too_low": {
        "low, not too low": lambda: on_digits(SMALL, partial(Adam, lr=1e-4)),
        "a schedule that ended low": lambda: on_digits(SMALL, partial(SGD, lr=0.05), each_step=falls_at(70), epochs=12),
        "a schedule that fell early": lambda: on_digits(SMALL, partial(SGD, lr=1e-3), each_step=falls_at(20)),
        "converged": lambda: in_a_bowl(partial(SGD, lr=0.02, momentum=0.9), 400),
    },
    "exploding": {
        "tanh": lambda: on_digits(partial(deep, nn.Tanh), partial(Adam, lr=1e-3), epochs=4),
        "normalised": lambda: on_digits(normalised, partial(Adam, lr=1e-3), epochs=4),
    },
    "vanishing": {
        "two layers of sigmoid": lambda: on_digits(
            partial(mlp, 64, 32, 10, activation=nn.Sigmoid), partial(SGD, lr=0.5)
        )
    },
    "zero_weights": {
        "logistic regression": lambda: on_digits(lambda: of_zeros(mlp(64, 10)), partial(SGD, lr=0.1), epochs=2),
        "the last layer only": lambda: on_digits(
            lambda: nn.Sequential(*SMALL()[:2], of_zeros(nn.Linear(50, 10))), partial(SGD, lr=0.1), epochs=2
        ),
    },
    "dead_units": {"bias 0": lambda: on_digits(partial(with_bias, 0.0), partial(SGD, lr=0.1))},
    "no_gradient": {"the layer is used": lambda: on_digits(partial(WithMore, 1.0), partial(RMSprop, lr=2e-3))},
    "zero_gradient": {"the layer is used": lambda: on_digits(partial(WithMore, 1.0), partial(RMSprop, lr=2e-3))},
    "eps_dominates": {
        "a small eps": lambda: on_digits(SMALL, partial(Adam, lr=1e-3, eps=1e-12), loss=tiny_loss),
        "converged": lambda: in_a_bowl(partial(Adam, lr=0.1, eps=1e-4), 700),
    },
    "overshooting": {
        "momentum 0.9": lambda: in_a_bowl(partial(SGD, lr=0.02, momentum=0.9)),
        "noise of batches": lambda: on_digits(SMALL, partial(SGD, lr=0.02, momentum=0.99), epochs=12),
        "noise of small batches": lambda: of_tumours(partial(Adam, lr=1e-3)),
        "no momentum": lambda: in_a_bowl(partial(SGD, lr=0.02)),
    },
    "spikes": {
        "the same data": lambda: on_digits(SMALL, partial(Adam, lr=1e-3), epochs=8),
        "near a loss of 0": lambda: on_digits(SMALL, partial(RMSprop, lr=1e-2), epochs=12),
    },
    "plateau": {"converged": lambda: on_digits(SMALL, partial(RMSprop, lr=1e-2), epochs=12)},
    "overconfident": {"clean validation": lambda: on_digits(SMALL, partial(Adam, lr=3e-3), epochs=15)},
}


@cache
def run(make):
    return make()


def cases(table):
    return pytest.mark.parametrize(
        ("rule", "make"),
        [pytest.param(rule, make, id=f"{rule}: {name}") for rule, made in table.items() for name, make in made.items()],
    )


def test_every_rule_has_a_run_with_the_fault_and_one_without():
    assert set(WITH) == set(WITHOUT) == set(BY_NAME) - {"param_rounding", "state_rounding"}  # test_rounding_rules.py


def test_what_a_rule_explains_is_a_rule_that_comes_after_it():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    for place, rule in enumerate(RULES):
        assert set(rule.explains) <= set(names[place + 1 :])


@cases(WITH)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_run_with_the_fault(rule, make):
    evidence = run(make)
    said = BY_NAME[rule].check(evidence)
    assert said
    assert said.endswith(".")
    assert rule in [finding.rule for finding in diagnose(evidence)], "no cause may hide it in this run"


@cases(WITHOUT)
def test_a_run_without_the_fault(rule, make):
    assert BY_NAME[rule].check(run(make)) is None


def found(rule):
    return BY_NAME[rule].check(run(next(iter(WITH[rule].values()))))


@pytest.mark.slow  # trains runs of many kinds
def test_what_is_said_has_numbers_steps_and_names():
    assert found("outside_range").startswith("alpha was 9. It is the weight of the past: with 9 what it averages grows")
    assert "outputs have the shape (20, 1) and its targets (20,)" in found("broadcast")
    assert "that is (20, 20)" in found("broadcast")
    assert found("left_out").startswith("0.weight and 0.bias require a gradient and are in no group")
    assert found("bad_data") == "The training data have NaN or infinity in the inputs of row 77 (1 of 200 rows)."
    (only,) = diagnose(run(WITH["bad_data"]["a row of NaN to train on"]))
    assert only.rule == "bad_data", "it explains losses and gradients that are not finite"
    assert found("nonfinite_validation").startswith(
        "The validation loss was NaN or infinite in 2 epochs of 2, first in"
    )
    assert found("rate_vanished").startswith(
        "The learning rate fell from 0.05 to 5e-08. In the last 206 steps of 276 it"
    )
    assert "first of 0.weight, 0.bias, 2.weight and 1 more at step 71" in found("nonfinite")
    assert "The learning rate was 50." in found("rate_too_high")
    assert "steps 1 to 3" in found("rate_too_high")
    assert "still falling at the end" in BY_NAME["rate_too_low"].check(run(WITH["rate_too_low"]["a line down"]))
    assert "The learning rate was 1e-07." in found("rate_too_low")
    assert "over 12 layers" in found("exploding")
    assert "0.weight and" in found("vanishing")
    assert "50 of the 50 inputs of 2" in found("dead_units")
    assert found("no_gradient") == "extra.weight and extra.bias had no gradient in any of 138 steps, while others had."
    assert found("zero_gradient").startswith("The gradient of extra.weight and extra.bias was exactly 0 in all of 138")
    assert "eps is 1, but" in found("eps_dominates")
    assert "Momentum is 0.99." in found("overshooting")
    assert "jumped at steps 71, 111 and 151" in found("spikes")
    assert "times its median there" in found("spikes")
    assert "second half of 69 steps" in found("plateau")
    assert "accuracy rose from" in found("overconfident")


def test_a_parameter_that_is_meant_to_rest_is_no_fault():
    def resting():
        model = WithMore()
        model.extra.requires_grad_(False)
        return model

    assert not diagnose(on_digits(resting, partial(RMSprop, lr=2e-3)))


def test_a_loss_scaler_that_looks_for_its_scale_is_no_fault():
    healthy = run(WITHOUT["nonfinite"]["the same data"])
    check = BY_NAME["nonfinite"].check
    searching = dataclasses.replace(healthy, skipped=3, first_nonfinite={"0.weight": 1})
    assert check(searching) is None
    assert "40 steps of 138 were skipped" in check(dataclasses.replace(searching, skipped=40))
    assert "first of 0.weight at step 50" in check(dataclasses.replace(searching, first_nonfinite={"0.weight": 50}))
    assert check(dataclasses.replace(searching, skipped=0)) is not None  # the step was made


def test_swings_without_high_momentum_are_not_blamed_on_it():
    evidence = run(WITH["overshooting"]["momentum 0.99"])
    hypers = {**evidence.hypers, "momentum": np.full(300, 0.5)}
    assert BY_NAME["overshooting"].check(dataclasses.replace(evidence, hypers=hypers)) is None


def test_a_validation_loss_that_wavers_is_no_fault():
    evidence = run(WITH["overconfident"]["wrong labels in validation"])
    losses = [1.0, 0.5, 0.4, *[0.44, 0.43, 0.45] * 4]
    rows = [{**row, "valid_loss": loss} for row, loss in zip(evidence.epochs, losses, strict=True)]
    assert BY_NAME["overconfident"].check(dataclasses.replace(evidence, epochs=rows)) is None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_finds_nothing_where_it_knows_nothing(rule):
    losses = np.linspace(2.0, 0.1, 400) + 0.01 * np.sin(np.arange(400))
    faulty = run(WITH["rate_too_high"]["sgd 100 times"])
    for evidence in (
        Evidence(),
        Evidence(losses=losses),
        Evidence(losses=-losses),
        Evidence(losses=losses[:1]),
        Evidence(losses=losses, epochs=[{"epoch": n, "train_loss": 1.0, "time": 1.0} for n in range(9)]),
        Evidence(hypers={"lr": np.zeros(0), "eps": np.zeros(0)}),
        dataclasses.replace(faulty, losses=np.zeros(0), dead_units={}),
    ):
        assert rule.check(evidence) is None
