"""Targets and outputs that a loss cannot take: the error names the loss, dtypes, shapes, and what to write, which then works."""

from __future__ import annotations

import functools
import re
from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ravine import optim
from ravine.errors import OptionError, TrainingError
from ravine.train import Batches, Learner

INPUTS = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 1, 2] * 4)
PICTURES = torch.randn(12, 2, 5, 5, generator=torch.Generator().manual_seed(1))
PIXELS = torch.arange(12 * 25).reshape(12, 5, 5) % 3
Pair = namedtuple("Pair", "scores hidden")


class Network(nn.Module):
    """Gives what ``form`` makes of three logits and seven other numbers."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.head, self.hidden, self.form = nn.Linear(4, 3), nn.Linear(4, 7), form

    def forward(self, inputs: Tensor) -> Any:
        return self.form(self.head(inputs), self.hidden(inputs))


def trained(
    targets: Tensor, loss: Any, model: nn.Module | None = None, inputs: Tensor = INPUTS, *, validated: bool = True
) -> Learner:
    torch.manual_seed(0)
    batches = Batches(inputs, targets, 4)
    learn = Learner(model or nn.Linear(4, 3), (batches, batches if validated else None), loss, optim.Adam, quiet=True)
    learn.fit(1, 0.01)
    return learn


def one() -> nn.Module:
    return nn.Linear(4, 1)


#: loss, targets, the model, and what the error says. The targets are replaced by what it says, and the loss takes them.
CASES = [
    (nn.CrossEntropyLoss(), CLASSES.float(), None, "CrossEntropyLoss", "targets.long()"),
    (nn.CrossEntropyLoss(), CLASSES.float().numpy(), None, "CrossEntropyLoss", "targets.astype('int64')"),
    (F.cross_entropy, CLASSES.double(), None, "cross_entropy", "targets.long()"),
    (nn.CrossEntropyLoss(), CLASSES.int(), None, "CrossEntropyLoss", "targets.long()"),
    (nn.NLLLoss(), CLASSES.float(), None, "NLLLoss", "targets.long()"),
    (nn.MultiMarginLoss(), CLASSES.float(), None, "MultiMarginLoss", "targets.long()"),
    (nn.CrossEntropyLoss(), CLASSES[:, None], None, "CrossEntropyLoss", "targets.squeeze(1)"),
    (nn.CrossEntropyLoss(), CLASSES[:, None].float(), None, "CrossEntropyLoss", "targets.squeeze(1).long()"),
    (nn.CrossEntropyLoss(), F.one_hot(CLASSES), None, "CrossEntropyLoss", "targets.float()"),
    (nn.CrossEntropyLoss(), F.one_hot(CLASSES), None, "CrossEntropyLoss", "targets.argmax(1)"),
    (nn.CrossEntropyLoss(), CLASSES + 1, None, "CrossEntropyLoss", "targets - 1"),
    (nn.BCEWithLogitsLoss(), CLASSES.clamp(max=1), one, "BCEWithLogitsLoss", "targets[:, None].float()"),
    (nn.BCEWithLogitsLoss(), CLASSES.clamp(max=1).float(), one, "BCEWithLogitsLoss", "targets[:, None]"),
    (nn.BCEWithLogitsLoss(), CLASSES[:, None].clamp(max=1), one, "BCEWithLogitsLoss", "targets.float()"),
    (nn.BCEWithLogitsLoss(), CLASSES[:, None] > 0, one, "BCEWithLogitsLoss", "targets.float()"),
    (nn.KLDivLoss(reduction="batchmean"), F.one_hot(CLASSES), None, "KLDivLoss", "targets.float()"),
]  # fmt: skip


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize(("loss", "targets", "model", "name", "write"), CASES)
def test_what_the_error_says_to_write_works(
    loss: Any, targets: Tensor, model: Any, name: str, write: str, validated: bool
) -> None:
    with pytest.raises(TrainingError) as caught:
        trained(targets, loss, model and model(), validated=validated)
    dtype = str(targets.dtype).removeprefix("torch.")
    assert f"The loss {name} cannot take targets that are {dtype} of shape (4" in str(caught.value)
    assert write in str(caught.value)
    trained(eval(write, {"targets": targets}), loss, model and model(), validated=validated)


@pytest.mark.parametrize(
    ("loss", "targets", "model", "message"),
    [
        (nn.CrossEntropyLoss(), CLASSES * 2, None, "3 outputs, for the classes 0 to 2, and in this batch they are [0-2] to 4.*at least 5"),
        (nn.CrossEntropyLoss(), CLASSES - 1, None, "they are -1 to .*ignore_index"),
        (nn.CrossEntropyLoss(), CLASSES + 0.5, None, "class indices are whole numbers, and these are not.*mse_loss"),
        (nn.CrossEntropyLoss(), torch.rand(12, 2), None, "gives 3 numbers for each row, and a row of the targets has 2"),
        (nn.CrossEntropyLoss(), CLASSES.clamp(max=1), one, r"one output .* binary_cross_entropy_with_logits.*targets\[:, None\].float\(\)"),
        (nn.BCELoss(), CLASSES[:, None].clamp(max=1).float(), one, "takes probabilities. Use .*BCEWithLogitsLoss"),
        (nn.MSELoss(), torch.rand(12, 2), None, "as many outputs as a row of the targets has numbers, 2"),
        (nn.HingeEmbeddingLoss(), CLASSES, None, "class indices are for a loss such as cross_entropy"),
        (lambda outputs, targets: F.cross_entropy(outputs, targets), CLASSES.float(), None, "^The loss cannot take"),
        (nn.GaussianNLLLoss(), torch.rand(12, 3), None, r"'var'\. A loss is called with two arguments"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_other_misfits_are_said(loss: Any, targets: Tensor, model: Any, message: str) -> None:
    for validated in (True, False):
        with pytest.raises(TrainingError, match=message):
            trained(targets, loss, model and model(), validated=validated)


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize(
    "loss",
    [
        lambda weight: nn.CrossEntropyLoss(weight=weight),
        lambda weight: functools.partial(F.cross_entropy, weight=weight),
        lambda weight: lambda outputs, targets: F.nll_loss(F.log_softmax(outputs, 1), targets, weight),
    ],
)
def test_class_weights_of_another_dtype_are_not_blamed_on_the_targets(loss: Any, validated: bool) -> None:
    weight = torch.from_numpy(np.array([1.0, 2.0, 3.0]))
    with pytest.raises(TrainingError, match="float64") as caught:
        trained(CLASSES, loss(weight), validated=validated)
    assert "weight.float()" in str(caught.value)
    assert "targets.long()" not in str(caught.value)
    trained(CLASSES, loss(weight.float()), validated=validated)


@pytest.mark.parametrize("validated", [True, False])
def test_targets_that_are_texts_are_to_be_numbered(validated: bool) -> None:
    labels = ["cat", "dog", "emu"] * 4
    written = "names, targets = numpy.unique(labels, return_inverse=True)"
    loader = torch.utils.data.DataLoader(list(zip(INPUTS, labels, strict=True)), batch_size=4)
    learn = Learner(nn.Linear(4, 3), (loader, loader if validated else None), nn.CrossEntropyLoss(), quiet=True)
    with pytest.raises(TrainingError, match="CrossEntropyLoss cannot take targets that are texts") as caught:
        learn.fit(1, 0.01)
    assert written in str(caught.value)
    for texts in (labels, np.array(labels), np.array(labels, dtype=object)):
        with pytest.raises(OptionError, match=re.escape(written)):
            Batches(INPUTS, texts, 4)
    names, targets = np.unique(labels, return_inverse=True)
    assert names[targets].tolist() == labels
    trained(torch.from_numpy(targets), nn.CrossEntropyLoss(), validated=validated)


def test_a_class_that_only_the_first_batch_has_is_not_passed_over() -> None:
    targets = CLASSES.clone()
    targets[1] = 7
    valid = Batches(INPUTS, targets, 4, shuffle=False)
    learn = Learner(nn.Linear(4, 3), (Batches(INPUTS, CLASSES, 4), valid), F.cross_entropy, quiet=True)
    with pytest.raises(TrainingError, match=r"for the classes 0 to 2, and in this batch they are \d to 7.*at least 8"):
        learn.validate()


def test_classes_of_pixels_and_of_words() -> None:
    with pytest.raises(TrainingError, match=r"one dimension less than the outputs, targets.squeeze\(1\)"):
        trained(PIXELS[:, None], nn.CrossEntropyLoss(), nn.Conv2d(2, 3, 1), PICTURES)
    trained(PIXELS, nn.CrossEntropyLoss(), nn.Conv2d(2, 3, 1), PICTURES)
    channels_last = PICTURES.movedim(1, -1)
    with pytest.raises(TrainingError, match=re.escape("cross_entropy(outputs.movedim(-1, 1), targets)")):
        trained(PIXELS, nn.CrossEntropyLoss(), nn.Linear(2, 3), channels_last)
    trained(PIXELS, lambda outputs, targets: F.cross_entropy(outputs.movedim(-1, 1), targets), nn.Linear(2, 3), channels_last)  # fmt: skip


@pytest.mark.parametrize(
    ("form", "found", "write"),
    [
        (lambda logits, hidden: {"hidden": hidden, "logits": logits}, "a dict of 2", 'outputs["logits"]'),
        (lambda logits, hidden: (logits, hidden), "a tuple of 2", "outputs[0]"),
        (Pair, "a Pair of 2|a Pair", "outputs.scores"),
        (
            lambda logits, hidden: SimpleNamespace(loss=None, hidden=hidden, logits=logits),
            "a SimpleNamespace",
            "outputs.logits",
        ),
    ],
)
@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.filterwarnings("ignore:No accuracy is shown")
def test_a_loss_is_told_how_to_take_one_of_several_outputs(form: Any, found: str, write: str, validated: bool) -> None:
    line = f"lambda outputs, targets: cross_entropy({write}, targets)"
    with pytest.raises(TrainingError, match=f"cannot take the model's outputs, ({found}) .*{re.escape(line)}"):
        trained(CLASSES, F.cross_entropy, Network(form), validated=validated)
    trained(CLASSES, eval(line, {"cross_entropy": F.cross_entropy}), Network(form), validated=validated)


def test_an_error_inside_the_model_is_not_blamed_on_the_loss() -> None:
    class Fails(nn.Linear):
        calls = 0

        def forward(self, inputs: Tensor) -> Tensor:
            self.calls += 1
            if self.calls == 2:
                raise RuntimeError("The size of tensor a (3) must match the size of tensor b (2)")
            return super().forward(inputs)

    with pytest.raises(RuntimeError, match="^The size of tensor a") as caught:
        trained(CLASSES, F.cross_entropy, Fails(4, 3), validated=False)
    assert not isinstance(caught.value, TrainingError)
