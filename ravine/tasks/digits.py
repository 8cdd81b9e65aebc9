"""scikit-learn's digits: 1,797 real handwritten digits of 8x8 pixels, inside the package, no download."""

import torch
from torch.nn import functional

from ravine.tasks.task import Data, Task, accuracy, mlp, standardize

_TEST_SHARE = 0.2
_SPLIT_SEED = 0  # the split is part of the task: a run's own seed must not move it


def task() -> Task:
    """Digits with a 64-100-10 MLP; one row in five of every digit is kept for testing."""
    # scikit-learn takes longer to import than the rest of the command line together
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    train_rows, test_rows, train_labels, test_labels = train_test_split(
        images, labels, test_size=_TEST_SHARE, random_state=_SPLIT_SEED, stratify=labels
    )
    train_images, test_images = standardize(torch.from_numpy(train_rows), torch.from_numpy(test_rows))
    return Task(
        name="digits",
        model=lambda: mlp(64, 100, 10),
        train=Data(train_images, torch.from_numpy(train_labels).long()),
        test=Data(test_images, torch.from_numpy(test_labels).long()),
        loss=functional.cross_entropy,
        metrics={"accuracy": accuracy},
        batch_size=64,
        epochs=20,
        quick_epochs=5,
    )
