"""Splits scikit-learn's small data sets into rows to train and to test on."""

from typing import Any

import torch
from torch import Tensor

_TEST_SHARE = 0.2
_SPLIT_SEED = 0  # the split is part of the task: a run's own seed must not move it


def stratified(inputs: Any, labels: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs to train and to test on, then their labels; one row in five of every class is for testing.

    Both arguments are NumPy arrays with a row for each example; the tensors keep their dtypes.
    """
    # scikit-learn takes longer to import than the rest of the command line together
    from sklearn.model_selection import train_test_split

    parts = train_test_split(inputs, labels, test_size=_TEST_SHARE, random_state=_SPLIT_SEED, stratify=labels)
    train, test, train_labels, test_labels = map(torch.from_numpy, parts)
    return train, test, train_labels, test_labels
