"""The diagnosis as a whole: healthy runs, what is shown and in which order, and what it can be asked about."""

from functools import cache, partial

import numpy as np
import pytest
import torch
from tiny_runs import mlp, on_digits, train
from torch import nn
from torch.nn import functional

import ravine.watch
from ravine.diagnose import Diagnosis, Evidence, Symptom, diagnose
from ravine.errors import DataError, OptionError
from ravine.optim import SGD, Adadelta, Adagrad, Adam, AdamW, RMSprop
from ravine.tasks import find

MLP = partial(mlp, 64, 100, 10)


def convnet():
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def normalised():
    return nn.Sequential(nn.Linear(64, 50), nn.BatchNorm1d(50), nn.ReLU(), nn.Dropout(0.2), nn.Linear(50, 10))


def one_cycle(steps, highest):
    def each_step(optimizer, step):
        share = step / steps
        factor = share / 0.25 if share < 0.25 else (1 - share) / 0.75
        optimizer.param_groups[0]["lr"] = highest * max(factor, 1e-5)

    return each_step


HEALTHY = {
    "mlp, rmsprop": lambda seed: on_digits(MLP, partial(RMSprop, lr=2e-3), seed=seed, epochs=12),
    "mlp, rmsprop, 0.01": lambda seed: on_digits(MLP, partial(RMSprop, lr=1e-2), seed=seed, epochs=12),
    "mlp, adam": lambda seed: on_digits(MLP, partial(Adam, lr=5e-3), seed=seed, epochs=12),
    "mlp, adam, two epochs": lambda seed: on_digits(MLP, partial(Adam, lr=1e-3), seed=seed, epochs=3),
    "mlp, sgd with momentum": lambda seed: on_digits(MLP, partial(SGD, lr=0.05, momentum=0.9), seed=seed, epochs=12),
    "mlp, sgd": lambda seed: on_digits(MLP, partial(SGD, lr=0.5), seed=seed, epochs=12),
    "mlp, adagrad": lambda seed: on_digits(MLP, partial(Adagrad, lr=0.05), seed=seed),
    "mlp, adadelta": lambda seed: on_digits(MLP, partial(Adadelta, lr=2.0), seed=seed),
    "mlp, one cycle": lambda seed: on_digits(
        MLP, partial(Adam, lr=1e-2), seed=seed, epochs=10, each_step=one_cycle(230, 1e-2)
    ),
    "convnet, adam": lambda seed: on_digits(convnet, partial(Adam, lr=2e-3), seed=seed, epochs=4),
    "convnet, sgd with momentum": lambda seed: on_digits(
        convnet, partial(SGD, lr=0.02, momentum=0.9), seed=seed, epochs=4
    ),
    "normalised, adamw": lambda seed: on_digits(normalised, partial(AdamW, lr=2e-3), seed=seed),
    "logistic, rmsprop": lambda seed: of_task("breast-cancer", partial(RMSprop, lr=0.05), seed),
    "logistic, sgd": lambda seed: of_task("breast-cancer", partial(SGD, lr=2.0), seed),
    "logistic, adam": lambda seed: of_task("breast-cancer", partial(Adam, lr=0.1), seed),
    "rosenbrock, adam": lambda seed: of_task("rosenbrock", partial(Adam, lr=0.05), seed, epochs=4, validate=False),
    "ravine, momentum": lambda seed: of_task("ravine", partial(SGD, lr=0.02, momentum=0.9), seed, validate=False),
}


def of_task(name, optimizer, seed, epochs=None, validate=True):
    task = find(name)
    valid = (task.test.inputs, task.test.targets) if validate else None
    return train(
        task.start(seed), task.batches(seed)[0], task.loss, optimizer, epochs or min(task.epochs, 15), valid=valid
    )


@cache
def faulty():
    """A rate far too high: the loss jumps, units die, and it never comes back."""
    return on_digits(partial(mlp, 64, 50, 10), partial(SGD, lr=50.0))


@cache
def healthy():
    return HEALTHY["mlp, adam, two epochs"](0)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_yields_nothing(name, seed):
    diagnosis = diagnose(HEALTHY[name](seed))
    assert not diagnosis, str(diagnosis)


def test_findings_are_a_sequence_with_causes_first():
    diagnosis = diagnose(faulty())
    assert [symptom.rule for symptom in diagnosis] == ["rate_too_high", "dead_units"]
    assert isinstance(diagnosis, Diagnosis)
    assert isinstance(diagnosis[0], Symptom)
    assert diagnosis[:1] == (diagnosis[0],)
    assert len(diagnosis) == 2
    assert repr(diagnosis) == "Diagnosis(rate_too_high, dead_units in 138 steps)"


def test_what_follows_from_a_finding_is_not_shown():
    """Gradients of the first layer are 0 because its units are dead; the loss stands still because of it."""

    def dead():
        model = mlp(64, 50, 10)
        nn.init.constant_(model[0].bias, -30.0)
        return model

    evidence = on_digits(dead, partial(SGD, lr=0.1))
    checks = {rule.name: rule.check(evidence) for rule in ravine.diagnose._rules.RULES}
    assert checks["zero_gradient"]
    assert checks["plateau"]
    assert [finding.rule for finding in diagnose(evidence)] == ["dead_units"]


def test_the_text_says_what_was_found_and_what_to_try():
    text = str(diagnose(faulty()))
    assert text.startswith(
        "2 problems found in 138 steps, the most serious first\n\n1. Learning rate too high\n   The loss"
    )
    assert "\n   Try: Divide the learning rate by 10" in text
    assert "\n\n2. Dead units\n" in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_text_of_a_healthy_run_says_what_was_looked_at():
    text = " ".join(str(diagnose(healthy())).split())
    assert text.startswith("No problem found in 69 steps Examined")
    assert "the loss of 69 steps, the history of 4 parameters, the units of 1 layer, the validation of 3 epochs" in text
    assert "Not available" not in text
    assert repr(diagnose(healthy())) == "Diagnosis(no problem in 69 steps)"


def test_the_text_says_what_was_not_known():
    text = str(diagnose(ravine.diagnose.Evidence(losses=healthy().losses)))
    assert "Not available: a history, units, validation." in text
    assert str(diagnose(ravine.diagnose.Evidence())).startswith("Nothing to diagnose yet: no step was made")


def test_a_run_is_evidence_its_folder_or_what_gives_it(tmp_path):
    class Giver:
        def evidence(self):
            return faulty()

    faulty().save(tmp_path)
    expected = str(diagnose(faulty()))
    assert str(diagnose(Giver())) == expected
    assert str(diagnose(tmp_path)) == expected
    assert str(diagnose(str(tmp_path))) == expected


def test_what_is_no_run(tmp_path):
    with pytest.raises(DataError, match=r"watch\.safetensors"):
        diagnose(tmp_path)
    (tmp_path / "watch.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError):
        diagnose(tmp_path)
    with pytest.raises(OptionError, match=r"give an optimizer of ravine\.optim, a Learner"):
        diagnose(nn.Linear(1, 1))
    with pytest.raises(OptionError, match=r"give an optimizer of ravine\.optim, a Learner"):
        diagnose(None)


def test_a_run_in_double_precision_and_one_with_odd_batches():
    def loss(outputs, targets):
        return functional.cross_entropy(outputs.double(), targets)

    assert not diagnose(on_digits(MLP, partial(Adam, lr=2e-3), loss=loss))
    torch.manual_seed(0)
    regression = [(torch.randn(16, 5), torch.randn(16, 1)) for _ in range(1)] * 80
    assert not diagnose(train(mlp(5, 20, 1), regression, functional.mse_loss, partial(Adam, lr=1e-2), 2))


def test_evidence_of_ones_own_needs_only_what_is_known():
    losses = np.linspace(2.0, 0.5, 200)
    for given in (losses, losses.tolist(), torch.from_numpy(losses), torch.from_numpy(losses).float().requires_grad_()):
        assert not diagnose(Evidence(losses=given, hypers={"lr": 1e-3}))
    model = MLP()
    optimizer = RMSprop(model.named_parameters(), lr=1e-3)
    for step in range(60):
        optimizer.zero_grad()
        x = torch.randn(64, 64, generator=torch.Generator().manual_seed(step))
        torch.nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
        optimizer.step()
    assert not diagnose(Evidence(history=optimizer.watch.history))
    found = Evidence(history=optimizer.watch.history)
    assert found.dims == (2, 1, 2, 1)
    with pytest.raises(OptionError, match="dims has 1 entries for 4 parameters"):
        Evidence(history=optimizer.watch.history, dims=(2,))
    with pytest.raises(OptionError, match="losses must be numbers"):
        Evidence(losses="high")
