"""What every task promises, and digits against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score

from ravine import tasks
from ravine.errors import OptionError
from ravine.tasks import Data
from ravine.tasks.task import accuracy


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(OptionError, match=r"no task 'diggits'.*Did you mean 'digits'\?.*fashion-mnist"):
        tasks.find("diggits")


def test_a_data_folder_for_a_task_without_files_is_refused(tmp_path):
    for name in ("digits", "rosenbrock"):
        with pytest.raises(OptionError, match="reads no files"):
            tasks.find(name, tmp_path)


def test_digits_are_scikit_learns_split_one_in_five_of_each():
    task = tasks.find("digits")
    images, labels = load_digits(return_X_y=True)
    assert (len(task.train), len(task.test)) == (1437, 360)
    per_digit = torch.bincount(task.test.targets).numpy()
    assert np.abs(per_digit - np.bincount(labels) / 5).max() <= 1
    # undo the two numbers of the normalisation: the same rows with the same labels, each once
    both = torch.cat([task.train.inputs, task.test.inputs]).double()
    levels = both.unique()
    pixels = ((both - levels[0]) / (levels[-1] - levels[0]) * 16).round().numpy()
    ours = np.column_stack([pixels, torch.cat([task.train.targets, task.test.targets]).numpy()])
    theirs = np.column_stack([images, labels])
    assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])
    assert task.train.inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert task.train.inputs.std().item() == pytest.approx(1, abs=1e-5)


def test_the_split_is_the_same_whatever_the_seed():
    torch.manual_seed(1)
    np.random.seed(1)
    first = tasks.find("digits")
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(first.test.inputs, tasks.find("digits").test.inputs)


def test_accuracy_is_scikit_learns():
    outputs = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    targets = torch.randint(10, (50,), generator=torch.Generator().manual_seed(1))
    assert accuracy(outputs, targets).item() == pytest.approx(accuracy_score(targets, outputs.argmax(1)))
