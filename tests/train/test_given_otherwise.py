"""What people give a Learner in another form than it takes: the error says what it is and what to write."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from ravine.errors import OptionError, TrainingError
from ravine.optim import SGD
from ravine.tasks import Data, Task, find
from ravine.train import Batches as B
from ravine.train import BestCheckpoint, EarlyStopping, Learner, ReduceOnPlateau, TorchScheduler, accuracy

X = torch.zeros(8, 2)
Y = torch.zeros(8, dtype=torch.int64)


def learner(loss=F.cross_entropy, **options):
    return Learner(nn.Linear(2, 2), (B(X, Y, 4), B(X, Y, 4)), loss, SGD, quiet=True, **options)


def r2(y_true, y_pred):
    return 1 - (y_true - y_pred).square().sum() / (y_true - y_true.mean()).square().sum()


class OfTargetsFirst(nn.Module):
    """A loss as Keras has it."""

    def forward(self, y_true, y_pred):
        return (y_true - y_pred).square().mean()


class NoCallback:
    """Has the hooks, and is none."""

    def after_batch(self, fit):
        pass


SCHEDULE = torch.optim.lr_scheduler.CosineAnnealingLR
CASES = [
    (lambda: learner(metrics={"r2": r2}), r"The metric 'r2' takes \(y_true, y_pred\), .*r2\(targets, outputs\)}"),
    (lambda: learner(metrics=[r2]), r"The metric 'r2' takes \(y_true, y_pred\)"),
    (lambda: learner(functools.partial(r2)), r"The loss takes \(y_true, y_pred\), .*loss=lambda outputs, targets: r2\(targets"),
    (lambda: learner(OfTargetsFirst()), r"The loss takes \(y_true, y_pred\)"),
    (lambda: Task(model=lambda: nn.Linear(2, 2), train=Data(X, Y), test=Data(X, Y), loss=r2, batch_size=4), r"The Task's loss takes \(y_true, y_pred\)"),
    (lambda: learner(metrics=["auc", "accuracy"]), "The metric 'auc' is a text"),
    (lambda: learner(callbacks="early"), "callbacks is 'early'; give a list"),
    (lambda: learner(callbacks=[NoCallback()]), r"NoCallback is not .*: write class NoCallback\(ravine.train.Callback\)"),
    (lambda: Learner(nn.Linear, (B(X, Y, 4), None), F.mse_loss), r"The model is the class Linear; .* Linear\(...\)"),
    (lambda: Learner(nn.Linear(2, 2), ((X, Y), None), F.mse_loss), r"a pair of arrays, .*give Batches\("),
    (lambda: Learner(nn.Linear(2, 2), (TensorDataset(X, Y), None), F.mse_loss), r"a dataset, .*DataLoader\(dataset, 64"),
    (lambda: Learner(nn.Linear(2, 2), B(X, Y, 4), B(X, Y, 4), F.mse_loss), r"The data come before it: Learner\(model, \(train"),
    (lambda: learner().fit(1, 0.1, TorchScheduler(SCHEDULE)), r"T_max'. For the steps of the fit, .*length='T_max'\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), CASES)
def test_it_says_what_to_write(call, message):
    with pytest.raises(OptionError, match=message):
        call()


def test_class_weights_that_are_a_list_are_not_blamed_on_the_targets():
    with pytest.raises(TrainingError, match="its weights are no tensor") as caught:
        learner(lambda outputs, targets: F.cross_entropy(outputs, targets, weight=[1.0, 2.0])).fit(1, 0.1)
    assert "targets.long()" not in str(caught.value)


def test_metrics_of_other_names_are_as_they_were():
    learner(nn.CrossEntropyLoss(), metrics={"a": lambda outputs, targets: 1.0, "b": lambda o, t: 1.0, "c": F.mse_loss})


def test_the_metrics_of_a_task_may_be_chosen():
    assert find("digits").learner(metrics=[]).metrics == {}
    assert list(find("digits").learner(metrics=[accuracy]).metrics) == ["accuracy"]


@pytest.mark.parametrize(
    ("lower", "names"),
    [
        (
            True,
            ["valid_loss", "rmse", "val_rmse", "mae", "error_rate", "top1_error", "err", "perplexity", "MSE", "wer"],
        ),
        (False, ["accuracy", "auc", "r2", "f1", "power", "answered", "score", "normalized_gain"]),
    ],
)
def test_an_error_is_better_if_it_is_lower(lower, names):
    for name in names:
        wanted = "min" if lower else "max"
        assert EarlyStopping(monitor=name).mode == BestCheckpoint(name).mode == wanted, name
        assert ReduceOnPlateau(monitor=name).kwargs["mode"] == wanted, name


def test_the_best_epoch_by_an_error_is_the_lowest():
    torch.manual_seed(0)
    inputs = torch.randn(64, 2)
    data = B(inputs, inputs[:, :1], 16)
    best = BestCheckpoint("rmse")
    rmse = {"rmse": lambda outputs, targets: (outputs - targets).square().mean().sqrt()}
    learn = Learner(nn.Linear(2, 1), (data, data), F.mse_loss, SGD, rmse, callbacks=[best], quiet=True)
    learn.fit(4, 0.1)
    column = learn.recorder.column("rmse")
    assert best.best_epoch == 1 + column.argmin() == 4
