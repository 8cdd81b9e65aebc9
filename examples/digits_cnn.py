"""A task to compare optimizers on: a CNN of 11,482 parameters on scikit-learn's digits, the data of the task ``digits``.

ravine compare examples/digits_cnn.py -o adam -o sgd
"""

from dataclasses import replace

from torch import Tensor, nn

from ravine.tasks import Data, Task, find


def digits_cnn() -> Task:
    digits = find("digits")
    return replace(
        digits,
        name="digits-cnn",
        model=lambda: nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 48),
            nn.ReLU(),
            nn.Linear(48, 10),
        ),
        train=_pictures(digits.train),
        test=_pictures(digits.test),
    )


def _pictures(data: Data) -> Data:
    """Rows of 64 numbers as pictures (rows, 1, 8, 8)."""
    inputs: Tensor = data.inputs.unflatten(1, (1, 8, 8))
    return Data(inputs, data.targets)
