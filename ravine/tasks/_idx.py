"""Reads IDX files, the format of MNIST: a magic number, the sizes, then one byte for each value.

All numbers of the header are big-endian and 4 bytes long; the magic number's last byte counts the sizes.
A damaged file is refused as a whole. See http://yann.lecun.com/exdb/mnist/ for the format.
"""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from ravine.errors import DataError

_UNSIGNED_BYTES = 0x0800
_CHUNK = 1 << 20


def read(path: Path, dimensions: int) -> Tensor:
    """The values of an IDX file of unsigned bytes, plain or gzipped, as a uint8 tensor.

    Args:
        path: the file; it is unzipped if its name ends in ``.gz``.
        dimensions: how many dimensions it must have: 3 for images (count, rows, columns), 1 for labels (count).

    Raises:
        DataError: the file cannot be read or is incomplete; the text names it.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            return _parse(file, path, dimensions)
    except (OSError, EOFError, zlib.error) as error:  # BadGzipFile is an OSError
        raise DataError(f"{path} cannot be read: {error}") from error


def _parse(file: io.BufferedIOBase, path: Path, dimensions: int) -> Tensor:
    header = file.read(4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"{path} is cut short: its header has {len(header)} bytes of {4 + 4 * dimensions}.")
    magic, *sizes = struct.unpack(f">{1 + dimensions}I", header)
    if magic != _UNSIGNED_BYTES + dimensions:
        wanted = _UNSIGNED_BYTES + dimensions
        raise DataError(
            f"{path} is not an IDX file of unsigned bytes with {dimensions} dimensions: "
            f"its magic number is {magic:#010x}, not {wanted:#010x}."
        )
    expected = math.prod(sizes)
    # in pieces, and one byte beyond the end: a wrong header cannot make us reserve too much memory
    values = bytearray()
    while len(values) <= expected and (more := file.read(min(_CHUNK, expected + 1 - len(values)))):
        values += more
    if len(values) != expected:
        count = f"more than {expected}" if len(values) > expected else str(len(values))
        shape = " x ".join(map(str, sizes))
        raise DataError(f"{path} is damaged: its header promises {shape} values, but it holds {count}.")
    if expected == 0:
        raise DataError(f"{path} is empty: its header promises {' x '.join(map(str, sizes))} values.")
    return torch.frombuffer(values, dtype=torch.uint8).reshape(sizes)
