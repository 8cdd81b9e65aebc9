"""Data in the forms that people have: several inputs, lists of pictures of unequal size, NumPy's arrays and numbers."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, TensorDataset

from ravine.errors import OptionError, TrainingError
from ravine.optim import SGD
from ravine.train import Batches, EarlyStopping, GradientAccumulation, Learner

ROWS = 10
KIND = torch.arange(ROWS) % 4
SIZE = torch.linspace(-1, 1, ROWS)[:, None]
CLASS = (SIZE[:, 0] > 0).long()


class Two(nn.Module):
    """A model of a category and a number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.layer = nn.Embedding(4, 3), nn.Linear(4, 2)

    def forward(self, kind: Tensor, size: Tensor) -> Tensor:
        return self.layer(torch.cat([self.embedding(kind), size], 1))


FORMS = {
    "tuple": (KIND, SIZE),
    "list": [KIND, SIZE],
    "dict": {"kind": KIND, "size": SIZE},
    "NumPy": (KIND.numpy().astype(np.int32), SIZE.double().numpy()),
}


def by_hand() -> list[Tensor]:
    """Parameters after two epochs of batches of 4 in order, by torch alone."""
    model = Two()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        for rows in torch.arange(ROWS).split(4):
            optimizer.zero_grad()
            cross_entropy(model(KIND[rows], SIZE[rows]), CLASS[rows]).backward()
            optimizer.step()
    return [p.detach() for p in model.parameters()]


@pytest.mark.parametrize("form", FORMS)
def test_a_model_of_several_inputs_is_trained(form: str) -> None:
    data = Batches(FORMS[form], CLASS, 4, shuffle=False)
    learn = Learner(Two(), (data, data), cross_entropy, SGD, quiet=True)
    learn.fit(2, 0.1)
    for found, expected in zip(learn.model.parameters(), by_hand(), strict=True):
        torch.testing.assert_close(found.detach(), expected)
    with torch.no_grad():
        torch.testing.assert_close(learn.predict(), learn.model(KIND, SIZE))
        torch.testing.assert_close(
            learn.predict(FORMS[form] if form != "list" else tuple(FORMS[form])), learn.predict()
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shuffle", [True, False])
def test_rows_of_several_inputs_stay_together(form: str, shuffle: bool) -> None:
    batches = Batches(FORMS[form], torch.arange(ROWS), 3, shuffle, seed=2)
    served = [batch for part in range(2) for batch in batches.epoch(1, 1, part=part, parts=2)]
    for inputs, rows in served:
        kind, size = inputs.values() if isinstance(inputs, dict) else inputs
        assert torch.equal(kind, KIND[rows])
        torch.testing.assert_close(size, SIZE[rows])
    assert len(batches.reseeded(3)) == len(batches.to("cpu")) == 4


def test_a_dataloader_of_several_inputs() -> None:
    rows = [((KIND[i], SIZE[i]), CLASS[i]) for i in range(ROWS)]
    learn = Learner(Two(), (DataLoader(rows, 4), None), cross_entropy, SGD, quiet=True)
    learn.fit(2, 0.1)
    for found, expected in zip(learn.model.parameters(), by_hand(), strict=True):
        torch.testing.assert_close(found.detach(), expected)


# --- rows of unequal size ----------------------------------------------------------------------------------------


class Pictures(nn.Module):
    """The mean of a convolution, for each of a list of pictures."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 2, 3)

    def forward(self, pictures: list[Tensor], scale: float = 1.0) -> Tensor:
        return scale * torch.stack([self.layer(picture).mean((1, 2)) for picture in pictures])


def pictures(number: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(3, 5 + i % 3, 6, generator=generator) for i in range(number)]


def test_pictures_of_unequal_size_are_rows() -> None:
    targets = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    data = Batches(pictures(), targets, 2, shuffle=False)
    assert [len(inputs) for inputs, _ in data] == [2, 2, 1]
    learn = Learner(Pictures(), (data, data), mse_loss, SGD, quiet=True)
    before = learn.predict()
    with torch.no_grad():
        torch.testing.assert_close(before, Pictures()(pictures()))
    learn.fit(2, 0.1)
    assert learn.recorder.epochs[-1]["valid_loss"] < mse_loss(before, targets).item()
    assert Batches(pictures(), targets, 2).inputs[0] is not data.inputs[0]


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_a_list_with_a_picture_for_each_row_is_one_argument(kind: type, number: int) -> None:
    """Also where the model has other arguments, and as many pictures as a picture has channels."""
    batch = (kind(pictures(number)), torch.zeros(number, 2))
    learn = Learner(Pictures(), ([batch], [batch]), mse_loss, SGD, quiet=True)
    learn.fit(1, 0.1)
    assert learn.predict().shape == (number, 2)


def test_targets_of_each_row_may_be_dicts() -> None:
    boxes = [{"boxes": torch.zeros(i, 4)} for i in range(5)]
    for _, targets in Batches(pictures(), boxes, 2, seed=1):
        assert isinstance(targets, list)
        assert all(set(target) == {"boxes"} for target in targets)


def test_inputs_that_do_not_fit_the_arguments_are_explained() -> None:
    data = [((KIND, SIZE, SIZE), CLASS)]
    with pytest.raises(
        TrainingError, match=r"The inputs of a batch, a tuple of 3, do not fit the arguments of Two: .*\(\["
    ):
        Learner(Two(), (data, None), cross_entropy, SGD, quiet=True).fit(1, 0.1)


# --- NumPy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "inputs", "targets"),
    [
        (np.zeros(3), torch.float32, torch.float32),
        (np.zeros(3, np.float32), torch.float32, torch.float32),
        (np.zeros(3, np.float16), torch.float16, torch.float16),
        (np.zeros(3, ">f8"), torch.float32, torch.float32),
        (np.zeros(3, np.int32), torch.int64, torch.int64),
        (np.zeros(3, np.uint16), torch.int64, torch.int64),
        (np.zeros(3, np.uint8), torch.uint8, torch.int64),
        (np.zeros(3, bool), torch.bool, torch.bool),
        (np.arange(6)[::-2], torch.int64, torch.int64),
    ],
)
def test_dtypes_of_arrays(array: np.ndarray, inputs: torch.dtype, targets: torch.dtype) -> None:
    batches = Batches(array, array, 2, shuffle=False)
    assert (batches.inputs.dtype, batches.targets.dtype) == (inputs, targets)
    assert batches.inputs.tolist() == array.tolist()


def test_arrays_in_a_loader_of_ones_own() -> None:
    x, y = SIZE.double().numpy(), CLASS.numpy().astype(np.int32)
    learn = Learner(nn.Linear(1, 2), ([(x, y)], [(x, y)]), cross_entropy, SGD, quiet=True)
    learn.fit(1, 0.1)
    assert learn.predict(x).shape == (ROWS, 2)


def test_whole_numbers_of_numpy() -> None:
    data = Batches(SIZE, CLASS, np.int64(4), seed=np.int32(1), drop_last=np.bool_(True))
    assert len(data) == 2
    learn = Learner(nn.Linear(1, 2), (data, data), cross_entropy, SGD, quiet=True)
    callbacks = [EarlyStopping(np.int64(3)), GradientAccumulation(np.uint8(2))]
    learn.fit(np.int64(2), np.float32(0.1), callbacks=callbacks)
    assert len(learn.recorder.epochs) == 2
    learn.lr_find(1e-4, np.float32(1.0), np.int32(12), np.int64(1))
    for number in (np.float64(2), True, np.bool_(True), torch.tensor(2)):
        with pytest.raises(OptionError):
            learn.fit(number, 0.1)


@pytest.mark.parametrize(
    ("inputs", "targets", "loss", "message"),
    [
        (
            SIZE.double(),
            CLASS,
            cross_entropy,
            r"inputs are float64, .* Linear float32: give float32 inputs, inputs.float\(\)",
        ),
        (
            SIZE,
            CLASS.int(),
            cross_entropy,
            r"targets that are int32 .* float32 .*: class indices are int64, targets.long\(\)",
        ),
        (
            SIZE,
            CLASS[:, None].expand(-1, 2),
            bce,
            r"targets that are int64 .* give float32 targets, targets.float\(\)",
        ),
    ],
)
def test_other_dtypes_than_the_models_are_named(inputs, targets, loss, message) -> None:
    for data in (Batches(inputs, targets, 4), DataLoader(TensorDataset(inputs, targets), 4)):
        with pytest.raises(TrainingError, match=message):
            Learner(nn.Linear(1, 2), (data, None), loss, functools.partial(SGD, lr=0.1), quiet=True).fit(1)


def test_drop_last_leaves_out_what_fills_no_batch() -> None:
    batches = Batches(torch.arange(10), torch.arange(10), 4, drop_last=True)
    assert [len(x) for x, _ in batches] == [4, 4]
    assert len(batches) == 2
    assert {*torch.cat([x for n in range(9) for x, _ in batches.epoch(n)]).tolist()} == set(range(10))
    in_order = Batches(torch.arange(10), torch.arange(10), 4, shuffle=False, drop_last=True)
    assert [x.tolist() for x, _ in in_order] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert sum(len(x) for x, _ in in_order.in_order()) == 10  # to validate on, all rows count
    assert "drop_last" in repr(batches)
