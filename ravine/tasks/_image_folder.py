"""Reads folders of pictures, one for each class, into bytes. Knows no model and no download."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ravine.errors import DataError
from ravine.tasks._task import Data

SIDE = 160
_SUFFIXES = {".jpeg", ".jpg", ".png"}
_PARTS = ("train", "val")
_LAYOUT = "Pictures lie in train/CLASS/ and val/CLASS/ and end in .jpeg, .jpg or .png."


class Normalize(nn.Module):
    """From bytes (rows, colours, height, width) to floats: ``mean`` becomes 0 and ``deviation`` 1 for each colour.

    Both are fractions of 255. As a model's first layer it lets the data stay bytes, a quarter of the size of floats.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, 255 * torch.tensor(values)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) / self.deviation


def read(folder: Path) -> tuple[Data, Data, list[str]]:
    """The pictures to train and to test on, and the names of their classes.

    Inputs are uint8 of shape (rows, 3, 160, 160): the central square of each picture, scaled to 160 pixels. Targets are
    the positions of the classes in the sorted list of their names, int64.

    Raises:
        DataError: no such folder, no classes, other classes in ``val`` than in ``train``, a class without
            pictures, or a picture that cannot be read; the text names it.
    """
    train, test = (_classes(folder / part) for part in _PARTS)
    if train.keys() != test.keys():
        only = [
            f"only {part} has {', '.join(sorted(names))}"
            for part, names in zip(_PARTS, (train.keys() - test.keys(), test.keys() - train.keys()), strict=True)
            if names
        ]
        raise DataError(f"{folder} has different classes in train and val: {'; '.join(only)}. {_LAYOUT}")
    return _data(train), _data(test), sorted(train)


def _classes(part: Path) -> dict[str, list[Path]]:
    """The pictures of each class, sorted, so that the order does not depend on the file system."""
    if not part.is_dir():
        raise DataError(f"There is no folder {part}. {_LAYOUT}")
    folders = [path for path in part.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not folders:
        raise DataError(f"{part} has no folder of a class in it. {_LAYOUT}")
    pictures = {}
    for folder in sorted(folders):
        files = [path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES]
        # macOS leaves files that begin with a dot and have the same ending
        pictures[folder.name] = sorted(path for path in files if not path.name.startswith("."))
        if not pictures[folder.name]:
            raise DataError(f"The class {folder} has no pictures. {_LAYOUT}")
    return pictures


def _data(classes: dict[str, list[Path]]) -> Data:
    files = [file for name in sorted(classes) for file in classes[name]]
    labels = [number for number, name in enumerate(sorted(classes)) for _ in classes[name]]
    pixels = torch.empty(len(files), 3, SIDE, SIDE, dtype=torch.uint8)
    with ThreadPoolExecutor() as threads:  # Pillow decodes outside Python's lock
        for row, picture in zip(pixels, threads.map(_picture, files), strict=True):
            row.copy_(picture)
    return Data(pixels, torch.tensor(labels))


def _picture(file: Path) -> Tensor:
    from PIL import Image

    try:
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
    except Exception as error:  # decoders raise many kinds of errors on damaged bytes
        raise DataError(f"The picture {file} cannot be read: {error}") from error
    # only the central square is scaled: a very long picture might not fit into memory
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)
