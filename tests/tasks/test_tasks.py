"""What every task promises, and digits and breast-cancer against scikit-learn."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import accuracy_score

from ravine import tasks
from ravine.errors import OptionError
from ravine.tasks import _catalog as catalog
from ravine.train import accuracy


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(OptionError, match=r"no task 'diggits'.*Did you mean 'digits'\?"):
        tasks.find("diggits")
    with pytest.raises(OptionError, match=r"no task 'xyzzy'.*Known: .*digits.*fashion-mnist"):
        tasks.find("xyzzy")


def test_what_is_no_task_is_named_as_what_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(OptionError, match="no task 'mine', but a file mine.py"):
        tasks.find("mine")
    with pytest.raises(
        OptionError, match=r"no task 'sgd'; it is an optimizer.*compare\('digits', \['sgd'\]\)\.$"
    ) as caught:
        tasks.find("sgd")
    assert caught.value.on_command_line.endswith("it is an optimizer, and each has an -o of its own: -o sgd.")


def test_a_data_folder_for_a_task_without_files_is_refused(tmp_path):
    for name in ("digits", "rosenbrock"):
        with pytest.raises(OptionError, match="reads no files"):
            tasks.find(name, tmp_path)


WITHOUT_FILES = ["digits", "breast-cancer", "rosenbrock", "beale", "ravine"]


def test_every_task_has_a_name_and_a_line_and_can_be_made_of_both():
    assert set(WITHOUT_FILES) < set(tasks.names())
    assert list(tasks.describe()) == tasks.names()
    for name, line in tasks.describe().items():
        assert 20 < len(line) <= 110
        assert "\n" not in line
        entry = catalog._ENTRIES[name]  # the arguments fit, also where no file is at hand
        inspect.signature(entry.maker()).bind(name, **({"data": None} if entry.reads else {}))


@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_the_loss_of_a_batch_falls_in_a_few_steps(name):
    task = tasks.find(name)
    assert task.name == name
    inputs, targets = next(iter(task.batches()[0]))
    model = task.start(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = task.loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    for metric in task.metrics.values():
        assert metric(model(inputs), targets).isfinite()


def test_looking_one_task_up_reads_nothing_of_the_others():
    code = "import sys; from ravine.tasks import find; find('rosenbrock'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sklearn", "PIL", "pooch", "pydoc_data.topics", "matplotlib"} & set(loaded)


def test_breast_cancer_is_scikit_learns_each_measurement_standardized_by_the_training_rows():
    task = tasks.find("breast-cancer")
    rows, labels = load_breast_cancer(return_X_y=True)
    assert (len(task.train), len(task.test)) == (455, 114)
    assert task.test.targets.sum().item() == pytest.approx(labels.sum() / 5, abs=1)
    # each row of theirs is known by its order among the values of every measurement
    ours = torch.cat([task.train.inputs, task.test.inputs]).numpy()
    ours_labels = torch.cat([task.train.targets, task.test.targets]).numpy()[:, 0]
    places = [np.flatnonzero(scipy.stats.rankdata(rows[:, 0]) == rank) for rank in scipy.stats.rankdata(ours[:, 0])]
    alone = np.array([len(place) == 1 for place in places])
    their = np.array([place[0] if len(place) else 0 for place in places])
    assert alone.sum() > 300
    assert np.array_equal(ours_labels[alone], labels[their[alone]])
    assert np.allclose(task.train.inputs.mean(dim=0), 0, atol=1e-5)
    assert np.allclose(task.train.inputs.std(dim=0), 1, atol=1e-5)
    slopes = [scipy.stats.linregress(rows[their[alone], m], ours[alone, m]) for m in range(30)]
    assert min(slope.rvalue for slope in slopes) > 0.99999


def test_the_accuracy_of_logits_is_scikit_learns():
    task = tasks.find("breast-cancer")
    logits = torch.randn(50, 1, generator=torch.Generator().manual_seed(0))
    targets = torch.randint(2, (50, 1), generator=torch.Generator().manual_seed(1)).float()
    expected = accuracy_score(targets[:, 0], logits[:, 0].sigmoid().round())
    assert task.metrics["accuracy"](logits, targets).item() == pytest.approx(expected)


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


@pytest.mark.parametrize("name", [None, 3, Path("mine.py")])
def test_a_name_that_is_no_text_is_an_option_error(name):
    with pytest.raises(OptionError, match=rf"A task is named by a text: one of digits.*got .*{type(name).__name__}"):
        tasks.find(name)
