"""IDX files against NumPy's reading of the same bytes, and what damage does to them."""

import contextlib
import gzip
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ravine.errors import DataError
from ravine.tasks import _idx as idx

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def idx_bytes(values):
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def some(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@few
@given(st.lists(st.integers(1, 5), min_size=3, max_size=3), st.booleans(), st.integers(0, 99))
def test_images_are_read_as_written(tmp_path, shape, zipped, seed):
    values = some(shape, seed)
    path = tmp_path / ("images.gz" if zipped else "images")
    path.write_bytes(gzip.compress(idx_bytes(values)) if zipped else idx_bytes(values))
    read = idx.read(path, dimensions=3)
    assert read.shape == values.shape
    assert np.array_equal(read.numpy(), values)


def test_labels_are_read_as_written(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 255]))
    assert idx.read(path, dimensions=1).tolist() == [7, 0, 255]


@few
@given(st.data(), st.booleans())
def test_a_file_cut_short_is_refused_by_name(tmp_path, data, zipped):
    whole = idx_bytes(some((3, 4, 5)))
    whole = gzip.compress(whole) if zipped else whole
    path = tmp_path / ("cut.gz" if zipped else "cut")
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DataError, match=r"cut"):
        idx.read(path, dimensions=3)


@few
@given(st.integers(0, 15), st.integers(1, 255))
def test_a_damaged_header_is_refused(tmp_path, place, flip):
    whole = bytearray(idx_bytes(some((3, 4, 5))))
    whole[place] ^= flip
    path = tmp_path / "header"
    path.write_bytes(whole)
    with pytest.raises(DataError, match="header"):
        idx.read(path, dimensions=3)


@few
@given(st.data(), st.integers(1, 255))
def test_a_damaged_archive_never_gives_other_values(tmp_path, data, flip):
    values = some((3, 4, 5))
    whole = bytearray(gzip.compress(idx_bytes(values)))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= flip
    path = tmp_path / "flipped.gz"
    path.write_bytes(whole)
    with contextlib.suppress(DataError):
        # what is read all the same: the byte means nothing, such as the time in the archive's header
        assert np.array_equal(idx.read(path, dimensions=3).numpy(), values)


def test_more_values_than_promised_are_refused(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(idx_bytes(some((3,))) + b"\0")
    with pytest.raises(DataError, match="holds more than 3"):
        idx.read(path, dimensions=1)


def test_a_header_that_promises_terabytes_reserves_nothing(tmp_path):
    path = tmp_path / "huge.gz"
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x803, 2**32 - 1, 2**20, 2**20) + b"\1" * 10))
    with pytest.raises(DataError, match="holds 10"):
        idx.read(path, dimensions=3)


def test_no_values_labels_for_images_and_no_file_are_refused(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(idx_bytes(some((0,))))
    with pytest.raises(DataError, match="empty"):
        idx.read(path, dimensions=1)
    path.write_bytes(idx_bytes(some((20,))))
    with pytest.raises(DataError, match="magic number is 0x00000801, not 0x00000803"):
        idx.read(path, dimensions=3)
    with pytest.raises(DataError, match="absent"):
        idx.read(tmp_path / "absent", dimensions=3)
