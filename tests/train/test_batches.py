"""Batches give every row once in an order that the seed and the epoch decide, from any place on and in any parts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.errors import OptionError
from ravine.train import Batches

sizes = st.integers(1, 40)


def numbered(rows, size, shuffle=True, seed=0):
    """Batches whose rows tell their numbers."""
    return Batches(torch.arange(rows), torch.arange(rows) + 1000, size, shuffle, seed=seed)


def order(batches):
    return [inputs.tolist() for inputs, _ in batches]


@settings(max_examples=50, deadline=None)
@given(sizes, sizes, st.booleans(), st.integers(0, 2**40))
def test_every_row_comes_once_with_its_target_and_only_the_last_batch_is_smaller(rows, size, shuffle, epoch):
    batches = numbered(rows, size, shuffle)
    found = list(batches.epoch(epoch))
    assert len(found) == len(batches)
    assert sorted(torch.cat([x for x, _ in found]).tolist()) == list(range(rows))
    assert all(torch.equal(x + 1000, y) for x, y in found)
    assert [len(x) for x, _ in found] == [size] * (rows // size) + [rows % size] * (rows % size > 0)


@settings(max_examples=50, deadline=None)
@given(sizes, sizes, st.booleans(), st.integers(0, 3), st.data())
def test_an_epoch_can_begin_at_any_batch(rows, size, shuffle, epoch, data):
    batches = numbered(rows, size, shuffle)
    start = data.draw(st.integers(0, len(batches)))
    assert order(batches.epoch(epoch, start)) == order(batches.epoch(epoch))[start:]


@settings(max_examples=50, deadline=None)
@given(sizes, sizes, st.booleans(), st.integers(1, 7), st.data())
def test_the_parts_of_a_batch_are_together_the_batch(rows, size, shuffle, parts, data):
    batches = numbered(rows, size, shuffle)
    start = data.draw(st.integers(0, len(batches)))
    whole = order(batches.epoch(2, start))
    shares = [order(batches.epoch(2, start, part=part, parts=parts)) for part in range(parts)]
    assert [[share[k] for share in shares] for k in range(len(whole))] == [
        [batch[part::parts] for part in range(parts)] for batch in whole
    ]
    in_order = [order(batches.in_order(part, parts)) for part in range(parts)]
    assert [sorted(row for share in in_order for row in share[k]) for k in range(len(batches))] == [
        list(range(at, min(at + size, rows))) for at in range(0, rows, size)
    ]


def test_the_order_depends_on_the_seed_and_the_epoch_alone():
    orders = {}
    for seed in range(6):
        for epoch in range(6):
            torch.manual_seed(seed + epoch)
            before = torch.get_rng_state()
            orders[seed, epoch] = order(numbered(30, 7, seed=seed).epoch(epoch))
            assert torch.equal(torch.get_rng_state(), before)
            torch.rand(3)
            assert order(numbered(30, 7, seed=seed).epoch(epoch)) == orders[seed, epoch]
    assert len({str(o) for o in orders.values()}) == 36


def test_every_place_is_as_likely_for_every_row():
    """The mean position of each row over many epochs is that of a uniform order: within 5 standard errors."""
    rows, epochs = 8, 2000
    batches = numbered(rows, rows)
    places = np.array([np.argsort(order(batches.epoch(n))[0]) for n in range(epochs)])
    error = np.sqrt((rows**2 - 1) / 12 / epochs)
    assert np.abs(places.mean(axis=0) - (rows - 1) / 2).max() < 5 * error


def test_going_through_it_gives_one_epoch_after_the_other():
    batches = numbered(20, 6)
    assert [order(batches) for _ in range(3)] == [order(batches.epoch(n)) for n in range(3)]
    assert order(batches.epoch(0)) == order(numbered(20, 6).epoch(0))


def test_rows_in_order():
    batches = numbered(7, 3, shuffle=False)
    assert order(batches) == order(batches) == [[0, 1, 2], [3, 4, 5], [6]]
    assert order(numbered(7, 3).in_order()) == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_dtype_and_shape_of_a_row_are_kept(shuffle):
    inputs = torch.randn(9, 2, 3).to(torch.bfloat16)
    targets = torch.randint(0, 2, (9, 1)).bool()
    for x, y in Batches(inputs, targets, 4, shuffle):
        assert (x.dtype, x.shape[1:], y.dtype, y.shape[1:]) == (torch.bfloat16, (2, 3), torch.bool, (1,))


def test_the_data_is_held_and_not_copied_and_a_batch_is_a_copy():
    inputs, targets = torch.zeros(6, 2), torch.zeros(6)
    for shuffle in (True, False):
        batches = Batches(inputs, targets, 4, shuffle)
        assert batches.inputs is inputs
        assert batches.targets is targets
        for x, y in batches:
            x += 1  # as an augmentation, or a model that normalises in place
            y += 1
        for x, _ in batches.in_order():
            x += 1
        assert inputs.count_nonzero() + targets.count_nonzero() == 0


def test_another_seed_or_device_and_nothing_else():
    batches = numbered(20, 6, seed=3)
    assert order(batches.reseeded(4).epoch(1)) == order(numbered(20, 6, seed=4).epoch(1))
    assert order(batches.to("cpu").epoch(1)) == order(batches.epoch(1))
    assert order(numbered(20, 6, shuffle=False).reseeded(4)) == order(numbered(20, 6, shuffle=False))
    assert numbered(20, 6).to("meta").inputs.device.type == "meta"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1, 2], torch.ones(2), 1), {}, "a list of 2; Batches and Data take tensors or NumPy arrays"),
        (((torch.ones(2), torch.ones(3)), torch.ones(2), 1), {}, "a tuple of 2 with different numbers of rows: 2, 3"),
        ((torch.ones(2), torch.ones(2), 3), {"drop_last": True}, "batch_size 3: there are only 2 rows"),
        ((torch.tensor(1.0), torch.ones(1), 1), {}, "with a row for each example"),
        ((torch.ones(3, 2), torch.ones(2), 1), {}, "3 rows of inputs, but 2 of targets"),
        ((torch.ones(0, 2), torch.ones(0), 1), {}, "no rows"),
        ((torch.ones(2), torch.ones(2), 0), {}, "batch_size 0: a batch has at least 1 row"),
        ((torch.ones(2), torch.ones(2), 2.0), {}, r"batch_size 2\.0"),
        ((torch.ones(2), torch.ones(2), 1), {"seed": -1}, "seed -1"),
        ((torch.ones(2), torch.ones(2), 1), {"seed": None}, "seed None"),
    ],
)
def test_what_makes_no_batches(arguments, options, message):
    with pytest.raises(OptionError, match=message):
        Batches(*arguments, **options)
