"""Losses and metrics over all rows, whatever the batches: weighted means, numbers that are no means, and objects."""

from __future__ import annotations

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor, nn

from ravine.errors import TrainingError
from ravine.train import Batches, Learner
from ravine.train import _all_rows as all_rows

ROWS, SIZE = 53, 8
GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(ROWS, 3, generator=GENERATOR, dtype=torch.float64)
CLASSES = torch.randint(0, 3, (ROWS,), generator=GENERATOR)
IGNORED = torch.where(torch.arange(ROWS) % 8 < torch.arange(ROWS) // 8, -100, CLASSES)  # ever more, batch by batch
NUMBERS = INPUTS.sum(1, keepdim=True) * torch.logspace(-2, 1, ROWS)[:, None]
WEIGHTS = torch.tensor([1.0, 5.0, 25.0], dtype=torch.float64)


def model(outputs: int) -> nn.Module:
    torch.manual_seed(1)
    return nn.Linear(3, outputs).double()


def measured(loss, targets, outputs=3, metrics=None, size=SIZE):
    data = Batches(INPUTS, targets, size, shuffle=False)
    return Learner(model(outputs), (data, data), loss, metrics=metrics or [], quiet=True).validate()


def whole(measure, targets, outputs=3):
    with torch.no_grad():
        return float(measure(model(outputs)(INPUTS), targets))


CROSS = {
    "class weights, a module": (nn.CrossEntropyLoss(weight=WEIGHTS), CLASSES),
    "class weights, a partial": (functools.partial(F.cross_entropy, weight=WEIGHTS), CLASSES),
    "class weights, a lambda": (lambda o, t: F.cross_entropy(o, t, WEIGHTS), CLASSES),
    "ignored": (F.cross_entropy, IGNORED),
    "ignored by another number": (nn.CrossEntropyLoss(ignore_index=1), CLASSES),
    "weights, ignored and smoothed": (nn.CrossEntropyLoss(WEIGHTS, ignore_index=-100, label_smoothing=0.2), IGNORED),
    "negative log likelihood": (lambda o, t: F.nll_loss(F.log_softmax(o, 1), t, weight=WEIGHTS), CLASSES),
    "with something added": (lambda o, t: F.cross_entropy(o, t, WEIGHTS) + o.std(), CLASSES),
    "by hand": (lambda o, t: (F.cross_entropy(o, t, reduction="none") * WEIGHTS[t]).sum() / WEIGHTS[t].sum(), CLASSES),
    "probabilities": (F.cross_entropy, F.one_hot(CLASSES, 3).double()),
    "a sum": (nn.CrossEntropyLoss(reduction="sum"), CLASSES),
}


@pytest.mark.parametrize("name", CROSS)
def test_the_validation_loss_is_that_of_all_rows(name):
    loss, targets = CROSS[name]
    assert measured(loss, targets)["valid_loss"] == pytest.approx(whole(loss, targets), rel=1e-12)


def test_a_batch_in_which_all_is_ignored():
    targets = torch.where(torch.arange(ROWS) < SIZE, -100, CLASSES)
    assert measured(F.cross_entropy, targets)["valid_loss"] == pytest.approx(whole(F.cross_entropy, targets), rel=1e-12)
    assert math.isnan(measured(F.cross_entropy, torch.full_like(CLASSES, -100))["valid_loss"])


REGRESSION = {
    "rmse": lambda o, t: F.mse_loss(o, t).sqrt(),
    "r2": lambda o, t: 1 - ((o - t) ** 2).sum() / ((t - t.mean()) ** 2).sum(),
    "largest": lambda o, t: (o - t).abs().max(),
    "mse": F.mse_loss,
    "mae": nn.L1Loss(),
    "smooth": F.smooth_l1_loss,
}


@pytest.mark.parametrize("name", REGRESSION)
def test_metrics_of_numbers(name):
    found = measured(F.mse_loss, NUMBERS, 1, {name: REGRESSION[name]})
    assert found[name] == pytest.approx(whole(REGRESSION[name], NUMBERS, 1), rel=1e-12)


@pytest.mark.parametrize("order", ["mixed", "sorted"])
def test_metrics_of_classes_that_a_batch_may_not_have(order):
    """scikit-learn's AUC and F1; sorted, most batches have one class, of which there is no AUC."""
    targets = CLASSES.clamp_max(1) if order == "mixed" else (torch.arange(ROWS) > 20).long()
    metrics = {
        "auc": lambda o, t: roc_auc_score(t, o[:, 1] - o[:, 0]),
        "f1": lambda o, t: f1_score(t, o.argmax(1), zero_division=0),
    }
    if order == "sorted":  # as in versions that raise
        scores = metrics["auc"]
        metrics["auc"] = lambda o, t: scores(o, t) if len(t.unique()) > 1 else 1 / 0
    data = Batches(INPUTS, targets, SIZE, shuffle=False)
    learn = Learner(model(2), (data, data), F.cross_entropy, metrics=metrics, quiet=True)
    for name, metric in metrics.items():
        assert learn.validate()[name] == pytest.approx(whole(metric, targets, 2), rel=1e-12)
    learn.fit(1, 1e-3)
    with torch.no_grad():
        assert learn.recorder.epochs[0]["auc"] == pytest.approx(metrics["auc"](learn.model(INPUTS), targets), rel=1e-12)


class Median:
    """An object as those of torchmetrics."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = [torch.tensor([1e9])]

    def reset(self) -> None:
        self.seen = []

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.seen.append((outputs - targets).abs().flatten())

    def compute(self) -> Tensor:
        return torch.cat(self.seen).median()


def test_an_object_collects_what_it_needs():
    data = Batches(INPUTS, NUMBERS, SIZE, shuffle=False)
    learn = Learner(model(1), (data, data), F.mse_loss, metrics=[Median()], quiet=True)
    expected = whole(lambda o, t: (o - t).abs().median(), NUMBERS, 1)
    assert [learn.validate()["Median"] for _ in range(2)] == [pytest.approx(expected)] * 2
    with pytest.raises(ValueError, match=r"'Median' is a class; make an instance: Median\(\.\.\.\)"):
        Learner(model(1), (data, data), F.mse_loss, metrics=[Median], quiet=True)


def test_texts_of_unequal_length_with_padding_that_is_ignored():
    generator = torch.Generator().manual_seed(2)
    texts = [torch.randint(1, 6, (4, n), generator=generator) for n in (9, 3, 5)]
    for text in texts:
        text[0, 2:] = 0  # padded
    data = [(text, text) for text in texts]
    torch.manual_seed(0)
    net = nn.Embedding(6, 6)
    loss = lambda o, t: F.cross_entropy(o.transpose(1, 2), t, ignore_index=0)  # noqa: E731
    flat = torch.cat([text.flatten() for text in texts])
    expected = F.cross_entropy(net(flat), flat, ignore_index=0).item()
    learn = Learner(net, (data, data), loss, metrics=[], quiet=True)
    assert learn.validate()["valid_loss"] == pytest.approx(expected, rel=1e-6)


def test_outputs_that_need_too_much_memory_are_said_to_be_measured_by_batches(monkeypatch):
    monkeypatch.setattr(all_rows, "_MOST_NUMBERS", 100)
    rmse = REGRESSION["rmse"]
    with pytest.warns(UserWarning, match="metric 'rmse' is not a mean over rows, .* mean of the batches' values"):
        found = measured(F.mse_loss, NUMBERS, 1, {"rmse": rmse})["rmse"]
    with torch.no_grad():
        values = [float(rmse(model(1)(x), y)) * len(x) for x, y in zip(INPUTS.split(8), NUMBERS.split(8), strict=True)]
    assert found == pytest.approx(sum(values) / ROWS)
    error = lambda o, t: (o - t).abs().mean()  # noqa: E731
    assert measured(F.mse_loss, NUMBERS, 1, {"error": error})["error"] == pytest.approx(whole(error, NUMBERS, 1))


@pytest.mark.parametrize(
    ("loss", "said"),
    [(nn.CrossEntropyLoss(reduction="sum"), 1), (functools.partial(F.cross_entropy, reduction="sum"), 1), (F.cross_entropy, 0)],
)  # fmt: skip
def test_a_loss_that_is_a_sum_is_said_once(loss, said):
    data = Batches(INPUTS, CLASSES, SIZE)
    learn = Learner(model(3), (data, None), loss, quiet=True)
    learn.fit(2, 1e-3)
    assert sum("train_loss is the sum of a batch" in text for _, text in learn.recorder.notes) == said


def test_a_metric_that_fails_on_all_rows_too_is_named():
    with pytest.raises(TrainingError, match="The metric 'bad' raised ZeroDivisionError"):
        measured(F.mse_loss, NUMBERS, 1, {"bad": lambda o, t: 1 / 0})
