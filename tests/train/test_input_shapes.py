"""Inputs that a layer cannot take: the error names the layer and the shape, and what it says to write works."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ravine.errors import TrainingError
from ravine.train import Batches, Learner

CLASSES = torch.tensor([0, 1, 2] * 4)


def trained(inputs: Tensor, model: nn.Module, loss: Any = cross_entropy, *, validated: bool = False) -> None:
    batches = Batches(inputs, CLASSES, 4)
    Learner(model, (batches, batches if validated else None), loss, quiet=True).fit(1, 1e-3)


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize(
    ("inputs", "model", "message"),
    [
        (torch.randn(12, 1, 6, 6), nn.Linear(36, 3), r"float32 of shape (4, 1, 6, 6), and the model, Linear, takes rows of 36 numbers: begin the model with torch.nn.Flatten()"),
        (torch.randn(12, 4), nn.Sequential(nn.Linear(5, 3)), "float32 of shape (4, 4), and the model's layer 0, Linear(in_features=5, out_features=3, bias=True), takes rows of 5 numbers"),
        (torch.randn(12, 8, 8, 3), nn.Sequential(nn.Conv2d(3, 4, 3)), "takes (rows, channels, ...) with 3 channels; channels are last here: inputs.movedim(-1, 1)"),
        (torch.randn(12, 2, 8, 8), nn.Sequential(nn.Conv2d(1, 4, 3)), "with 1 channel."),
        (torch.full((12, 4), 7), nn.Sequential(nn.Embedding(5, 2)), "int64 of shape (4, 4) (7 to 7), and the model's Embedding has fewer rows"),
        (torch.ones(12, 4, dtype=torch.bool), nn.Linear(4, 3), "give float32 inputs, inputs.float()"),
    ],
)  # fmt: skip
def test_the_layer_and_the_shape_are_named(inputs: Tensor, model: nn.Module, message: str, validated: bool) -> None:
    with pytest.raises(TrainingError, match=re.escape(message)):
        trained(inputs, model, validated=validated)


def test_what_is_said_works() -> None:
    trained(torch.randn(12, 1, 6, 6), nn.Sequential(nn.Flatten(), nn.Linear(36, 3)))
    conv = nn.Sequential(nn.Conv2d(3, 3, 8), nn.Flatten())
    trained(torch.randn(12, 8, 8, 3).movedim(-1, 1), conv)
    trained(torch.full((12, 4), 7), nn.Sequential(nn.Embedding(8, 2), nn.Flatten(), nn.Linear(8, 3)))


def test_a_loss_with_its_arguments_exchanged() -> None:
    with pytest.raises(TrainingError, match=r"loss\(outputs, targets\), and here the two seem to be exchanged"):
        trained(torch.randn(12, 4), nn.Linear(4, 3), lambda a, b: cross_entropy(b, a))
