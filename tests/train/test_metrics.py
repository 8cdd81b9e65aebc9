"""Metrics: the accuracy, and when it is shown without being asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from ravine.errors import OptionError, TrainingError
from ravine.train import Batches, Learner, accuracy

INPUTS = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
CLASSES = (INPUTS[:, 0] > 0).long()


class Stream(IterableDataset):  # type: ignore[type-arg]
    """Rows whose number is not known."""

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(INPUTS, self.targets, strict=True)


class Draws:
    """Batches in a random order, from torch's own generator."""

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in torch.randperm(len(INPUTS)).split(8):
            yield INPUTS[rows], self.targets[rows]


LOADERS: dict[str, Callable[[Tensor], Any]] = {
    "Batches": lambda targets: Batches(INPUTS, targets, 8),
    "list": lambda targets: list(zip(INPUTS.split(8), targets.split(8), strict=True)),
    "DataLoader": lambda targets: DataLoader(TensorDataset(INPUTS, targets), 8, shuffle=True),
    "DataLoader of plain rows": lambda targets: DataLoader(
        [(x, y.item()) for x, y in zip(INPUTS, targets, strict=True)], 8
    ),
    "stream": lambda targets: DataLoader(Stream(targets), 8),
    "random order": Draws,
}


def columns(learn: Learner) -> set[str]:
    learn.fit(1, 1e-3)
    shown = set(learn.recorder.epochs[-1]) - {"epoch", "step", "time", "train_loss"}
    assert set(learn.validate()) == shown
    return shown


@pytest.mark.parametrize("name", LOADERS)
def test_the_accuracy_is_shown_where_targets_are_class_indices(name: str) -> None:
    data = LOADERS[name](CLASSES)
    assert columns(Learner(nn.Linear(4, 2), (data, data), cross_entropy, quiet=True)) == {"valid_loss", "accuracy"}


@pytest.mark.parametrize("name", [name for name in LOADERS if "plain" not in name])
@pytest.mark.parametrize("loss", [mse_loss, binary_cross_entropy_with_logits])
def test_a_regression_is_trained_without_metrics(name: str, loss: Callable[..., Tensor]) -> None:
    data = LOADERS[name](CLASSES[:, None].float())
    assert columns(Learner(nn.Linear(4, 1), (data, data), loss, quiet=True)) == {"valid_loss"}


@pytest.mark.parametrize("name", LOADERS)
def test_choosing_the_metrics_changes_nothing_of_the_training(name: str) -> None:
    losses = []
    for metrics in (None, [accuracy], []):
        torch.manual_seed(3)
        data = LOADERS[name](CLASSES)
        learn = Learner(nn.Linear(4, 2), (data, data), cross_entropy, metrics=metrics, quiet=True)
        learn.fit(2, 1e-3)
        losses.append(learn.recorder.losses.tolist())
    assert losses[0] == losses[1] == losses[2]


def test_no_metrics_where_the_first_batch_cannot_be_had() -> None:
    class Broken:
        def __iter__(self) -> Iterator[Any]:
            raise OSError("the disk is gone")

    learn = Learner(nn.Linear(4, 2), (LOADERS["list"](CLASSES), Broken()), cross_entropy, quiet=True)
    with pytest.raises(OSError, match="the disk is gone"):
        learn.fit(1)
    assert len(learn.recorder.epochs) == 1


def test_accuracy_says_when_it_cannot_be_computed() -> None:
    assert accuracy(torch.eye(3), torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)
    assert accuracy(torch.eye(3)[None].repeat(2, 1, 1), torch.tensor([[0, 1, 2], [0, 0, 0]])) == pytest.approx(4 / 6)
    for outputs, targets in [((5,), (5,)), ((5, 3), (5, 3)), ((5, 3), (4,))]:
        with pytest.raises(TrainingError, match=r"accuracy compares .* Choose other metrics"):
            accuracy(torch.zeros(outputs), torch.zeros(targets))
    with pytest.raises(TrainingError, match="For one logit in each row"):
        accuracy(torch.zeros(5, 1), torch.zeros(5))


class Two(nn.Module):
    """Gives its logits for two classes, and seven other numbers, in some form."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.logits, self.hidden, self.form = nn.Linear(4, 2), nn.Linear(4, 7), form

    def forward(self, inputs: Tensor) -> Any:
        return self.form(self.logits(inputs), self.hidden(inputs))


@pytest.mark.parametrize(
    ("form", "take"),
    [
        (lambda logits, hidden: {"hidden": hidden, "logits": logits}, lambda outputs: outputs["logits"]),
        (lambda logits, hidden: {"loss": hidden.sum(), "scores": logits}, lambda outputs: outputs["scores"]),
        (lambda logits, hidden: (logits, hidden.sum()), lambda outputs: outputs[0]),
        (lambda logits, hidden: SimpleNamespace(hidden=hidden, logits=logits), lambda outputs: outputs.logits),
    ],
)
def test_the_accuracy_of_a_model_with_several_outputs(form: Any, take: Any) -> None:
    torch.manual_seed(0)
    data = Batches(INPUTS, CLASSES, 7)
    model = Two(form)
    learn = Learner(model, (data, data), lambda o, t: cross_entropy(take(o), t), quiet=True)
    learn.fit(1, 1e-3)
    right = (take(model(INPUTS)).argmax(1) == CLASSES).double().mean().item()
    assert learn.recorder.epochs[-1]["accuracy"] == pytest.approx(right)


def test_an_accuracy_that_nobody_asked_for_is_left_out_where_several_outputs_may_be_meant() -> None:
    data = Batches(INPUTS, CLASSES, 8)
    learn = Learner(Two(lambda a, b: (a, b)), (data, data), lambda o, t: cross_entropy(o[0], t), quiet=True)
    with pytest.warns(UserWarning, match=r"No accuracy is shown: .* a tuple of 2 \(\[0\], \[1\]\)") as caught:
        learn.fit(1, 1e-3)
    assert "accuracy" not in learn.recorder.epochs[-1]
    said = 'metrics={"accuracy": lambda outputs, targets: accuracy(outputs[0], targets)}'
    assert said in str(caught[0].message)
    learn.metrics = eval(said.removeprefix("metrics="), {"accuracy": accuracy})
    assert 0 <= learn.validate()["accuracy"] <= 1
    learn.metrics = {"accuracy": accuracy}
    with pytest.raises(TrainingError, match="several may be meant"):
        learn.validate()


@pytest.mark.parametrize("name", ["Batches", "list", "DataLoader"])
def test_whole_numbers_as_targets_of_a_regression(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = LOADERS[name](CLASSES[:, None])
    learn = Learner(nn.Linear(4, 1), (data, data), mse_loss)
    learn.fit(2, 1e-3)
    assert set(learn.recorder.epochs[-1]) == {"epoch", "train_loss", "valid_loss", "time", "step"}
    assert [row for row in capsys.readouterr().out.splitlines() if row.startswith("epoch")][-1].split() == [
        "epoch", "train_loss", "valid_loss", "time",
    ]  # fmt: skip


class Right:
    """Collects batches as objects of torchmetrics do: how many rows are right."""

    def reset(self) -> None:
        self.right = self.rows = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.right += int((outputs.argmax(1) == targets).sum())
        self.rows += len(targets)

    def compute(self) -> float:
        return self.right / self.rows


class Wrong(Right):
    def compute(self) -> float:
        return 1 - super().compute()


class Collection(Right):
    """A collection as torchmetrics has it: a metric that is a mapping of metrics, but none of Python's."""

    def items(self) -> Any:
        return {"right": Right(), "wrong": Wrong()}.items()

    def compute(self) -> Any:
        return {"right": 1.0, "wrong": 0.0}


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        (Collection(), ["right", "wrong"]),
        ([Collection(), accuracy], ["right", "wrong", "accuracy"]),
        ({"all": Collection(), "accuracy": accuracy}, ["all_right", "all_wrong", "accuracy"]),
    ],
)
def test_a_collection_is_a_column_for_each(metrics: Any, names: list[str]) -> None:
    data = Batches(INPUTS, CLASSES, 7)
    model = nn.Linear(4, 2)
    learn = Learner(model, (data, data), cross_entropy, metrics=metrics, quiet=True)
    learn.fit(1, 1e-3)
    right = (model(INPUTS).argmax(1) == CLASSES).double().mean().item()
    expected = [1 - right if "wrong" in name else right for name in names]
    assert [learn.recorder.epochs[-1][name] for name in names] == pytest.approx(expected)


def test_an_object_is_given_the_logits_of_several_outputs() -> None:
    data = Batches(INPUTS, CLASSES, 7)
    model = Two(lambda logits, hidden: {"hidden": hidden, "logits": logits})
    learn = Learner(model, (data, data), lambda o, t: cross_entropy(o["logits"], t), metrics=[Right()], quiet=True)
    right = (model(INPUTS)["logits"].argmax(1) == CLASSES).double().mean().item()
    assert learn.validate()["Right"] == pytest.approx(right)


def test_a_metric_that_fails_says_so_and_not_what_a_loss_wants() -> None:
    def pairs(outputs: Tensor, targets: Tensor) -> Tensor:
        raise RuntimeError("Predictions and targets are expected to have the same shape")

    data = Batches(INPUTS, CLASSES, 7)
    learn = Learner(nn.Linear(4, 2), (data, data), cross_entropy, metrics=[pairs, Collection().compute], quiet=True)
    with pytest.raises(
        TrainingError, match="^The metric 'pairs' raised RuntimeError: Predictions and targets .* same shape$"
    ):
        learn.validate()
    learn.metrics = {"both": lambda outputs, targets: Collection().compute()}
    with pytest.raises(TrainingError, match="'both' is a dict of 2; it must be one number"):
        learn.validate()


def test_a_batch_that_is_a_dict_is_told_how_to_become_a_pair() -> None:
    rows = [{"inputs": x, "labels": y} for x, y in zip(INPUTS, CLASSES, strict=True)]

    class OfDicts(nn.Linear):
        def forward(self, batch: Any) -> Tensor:
            return super().forward(batch["inputs"])

    learn = Learner(OfDicts(4, 2), (DataLoader(rows, 8), None), cross_entropy, quiet=True)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="a dict of 2; it must be a pair") as error:
        learn.fit(1, 1e-3)
    written = str(error.value).partition("collate_fn: ")[2].removesuffix(".")
    data = DataLoader(rows, 8, collate_fn=eval(written, {"torch": torch}))  # type: ignore[arg-type]
    model = OfDicts(4, 2)
    learn = Learner(model, (data, data), cross_entropy, quiet=True)
    learn.fit(1, 1e-3)
    right = (model({"inputs": INPUTS}).argmax(1) == CLASSES).double().mean().item()
    assert learn.recorder.epochs[-1]["accuracy"] == pytest.approx(right)
