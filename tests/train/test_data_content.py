"""The content of data: its name, rows that are no numbers, and a run that is resumed with other data."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from ravine.errors import DataError
from ravine.optim import SGD
from ravine.train import Batches, EarlyStopping, Learner, StopOnNaN
from ravine.train._data_content import fingerprint, nonfinite, nonfinite_rows

INPUTS = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
CLASSES = (INPUTS[:, 0] > 0).long()


def other(change):
    inputs = INPUTS.clone()
    change(inputs)
    return inputs


class Read(Dataset):
    """Rows that are read one by one, with noise from torch's generator or from one of its own."""

    def __init__(self, inputs, own=False):
        self.inputs, self.own = inputs, torch.Generator().manual_seed(0) if own else None

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, i):
        return self.inputs[i] + 0.1 * torch.randn(3, generator=self.own), CLASSES[i]


@pytest.mark.parametrize(
    "loader",
    [
        lambda x: Batches(x, CLASSES, 4),
        lambda x: Batches({"x": x, "y": x}, CLASSES, 4),
        lambda x: Batches(list(x.reshape(20, 3, 1, 1)), CLASSES, 4),
        lambda x: DataLoader(TensorDataset(x, CLASSES), 4),
        lambda x: DataLoader(Subset(TensorDataset(x, CLASSES), range(10)), 4),
        lambda x: DataLoader(Read(x), 4),
        lambda x: list(zip(x.split(4), CLASSES.split(4), strict=True)),
    ],
)
def test_other_content_has_another_name(loader):
    name = fingerprint(loader(INPUTS))
    state = torch.get_rng_state()
    assert fingerprint(loader(INPUTS.clone())) == name != ""
    assert torch.equal(torch.get_rng_state(), state)
    for change in (lambda x: x[0].add_(1e-6), lambda x: x.copy_(x.flip(0)), lambda x: x.neg_()):
        assert fingerprint(loader(other(change))) != name
    assert fingerprint(loader(INPUTS), loader(INPUTS)) != name


def test_rows_that_are_drawn_anew_are_no_other_data():
    """A generator of the dataset's own gives other rows each time it is asked, which is how augmentation works."""
    assert (
        fingerprint(DataLoader(Read(INPUTS, own=True), 4)) == fingerprint(DataLoader(Read(-INPUTS, own=True), 4)) != ""
    )
    assert fingerprint(iter([])) == ""


def test_dtypes_have_names_of_their_own():
    names = {
        fingerprint(Batches(torch.zeros(4, 1, dtype=kind), torch.zeros(4), 2)) for kind in (torch.half, torch.int16)
    }
    names.add(fingerprint(Batches(torch.zeros(4, 1, dtype=torch.bfloat16), torch.zeros(4), 2)))
    assert len(names) == 3


def broken():
    inputs = INPUTS.clone()
    inputs[7, 2], inputs[12, 0] = math.nan, math.inf
    return inputs


def test_rows_that_are_no_numbers_are_named():
    for data in (Batches(broken(), CLASSES, 4), DataLoader(TensorDataset(broken(), CLASSES), 4)):
        assert nonfinite(data) == "inputs of rows 7, 12 (2 of 20 rows)"
        assert nonfinite_rows(data) == [7, 12]
    both = Batches((INPUTS, broken()), torch.full((20,), math.nan), 4)
    assert (
        nonfinite(both) == "inputs[1] of rows 7, 12 (2 of 20 rows) and targets of rows 0, 1, 2, 3, ... (20 of 20 rows)"
    )
    assert nonfinite(Batches(INPUTS, CLASSES, 4)) == ""


def test_rows_of_a_part_have_their_numbers_in_the_whole():
    everything = TensorDataset(broken(), CLASSES)
    part = Subset(Subset(everything, range(5, 20)), [14, 2, 7, 0])  # the numbers 19, 7, 12, 5
    assert nonfinite(DataLoader(part, 4)) == "inputs of rows 7, 12 (2 of 4 rows)"


def test_a_training_says_that_the_data_are_the_reason():
    data = Batches(broken(), CLASSES, 4)
    learn = Learner(nn.Linear(3, 2), (data, None), cross_entropy, SGD, quiet=True)
    with pytest.warns(UserWarning, match="training data have NaN or infinity in the inputs of rows 7, 12"):
        learn.fit(1, 0.1)
    ((_, sentence),) = learn.recorder.notes
    assert "training data have NaN or infinity in the inputs of rows 7, 12" in sentence
    learn = Learner(nn.Linear(3, 2), (Batches(INPUTS, CLASSES, 4), data), cross_entropy, SGD, quiet=True)
    with pytest.warns(UserWarning, match="validation data have NaN or infinity in the inputs of rows 7, 12"):
        learn.fit(1, 0.1)
    assert learn.recorder.notes[0][1].startswith(
        "valid_loss is nan: the validation data have NaN or infinity in the inputs"
    )
    with pytest.raises(DataError, match=r"because the training data have NaN or infinity: a batch in its inputs"):
        learn = Learner(nn.Linear(3, 2), (data, None), cross_entropy, SGD, quiet=True)
        learn.lr_find()
    learn = Learner(nn.Linear(3, 2), (DataLoader(Read(broken()), 4), None), cross_entropy, SGD, quiet=True)
    learn.fit(1, 0.1, callbacks=[StopOnNaN()])
    assert "The data are the reason: this batch has NaN or infinity in its inputs, row" in learn.recorder.notes[0][1]


def test_rows_of_a_shuffled_batch_have_their_numbers_in_the_data():
    inputs = INPUTS.clone()
    inputs[12] = math.nan
    data = Batches(inputs, CLASSES, 4, shuffle=True)
    learn = Learner(nn.Linear(3, 2), (data, None), cross_entropy, SGD, quiet=True)
    learn.fit(1, 0.1, callbacks=[StopOnNaN()])
    assert f"in all training data the inputs of row 12 (1 of {len(inputs)} rows)" in learn.recorder.notes[0][1]
    with pytest.raises(DataError, match="in all training data the inputs of row 12"):
        Learner(nn.Linear(3, 2), (data, None), cross_entropy, SGD, quiet=True).lr_find()


def test_early_stopping_at_a_validation_loss_that_is_nan_says_so():
    inputs = INPUTS.clone()
    inputs[3] = math.nan
    valid = Batches(inputs, CLASSES, 4, shuffle=False)
    learn = Learner(nn.Linear(3, 2), (Batches(INPUTS, CLASSES, 4), valid), cross_entropy, SGD, quiet=True)
    learn.fit(5, 0.1, callbacks=[EarlyStopping(2)])
    assert len(learn.recorder.epochs) == 2
    assert learn.state.stop_reason == (
        "epoch 2: valid_loss is nan and has not improved for 2 epochs: stopped. The validation data have NaN or infinity in the "
        f"inputs of row 3 (1 of {len(inputs)} rows)"
    )


@pytest.mark.parametrize("kind", ["Batches", "DataLoader"])
def test_a_run_is_not_resumed_with_other_data(tmp_path, kind):
    def learner(inputs):
        data = Batches(inputs, CLASSES, 4) if kind == "Batches" else DataLoader(TensorDataset(inputs, CLASSES), 4)
        return Learner(nn.Linear(3, 2), (data, None), cross_entropy, SGD, quiet=True, folder=tmp_path / "run")

    learner(INPUTS).fit(1, 0.1, checkpoint_every=2)
    with pytest.raises(DataError, match=r"written with other training data.*give a seed: torch.manual_seed\(0\)"):
        learner(INPUTS.flip(0)).fit(1, 0.1, checkpoint_every=2, resume=True)
    learner(INPUTS).fit(1, 0.1, checkpoint_every=2, resume=True)
