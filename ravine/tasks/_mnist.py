"""MNIST and Fashion-MNIST with several networks, and where their files come from.

The files are, in this order: those in the folder that the user names; those of Debian's package; a download into the
user's cache, whose MD5 sums (as published with the data) are checked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from ravine.errors import DataError, advised
from ravine.tasks import _download as download
from ravine.tasks import _idx as idx
from ravine.tasks._resnet import resnet
from ravine.tasks._task import Data, Task, mlp, standardize
from ravine.train import accuracy

_TRAIN_IMAGES, _TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
_TEST_IMAGES, _TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
_FILES = (_TRAIN_IMAGES, _TRAIN_LABELS, _TEST_IMAGES, _TEST_LABELS)
_SIDE, _CLASSES = 28, 10


@dataclass(frozen=True)
class Source:
    """Where to get a data set's four gzipped files: an address, their MD5 sums, and a package's folder."""

    url: str
    md5: Mapping[str, str]
    packaged: Path | None = None
    by_hand: str = ""


SOURCES: dict[str, Source] = {
    "fashion-mnist": Source(
        url="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        md5={
            _TRAIN_IMAGES: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            _TRAIN_LABELS: "25c81989df183df01b3e8a0aad5dffbe",
            _TEST_IMAGES: "bef4ecab320f06d8554ea6380940ec79",
            _TEST_LABELS: "bb300cfdad3c16e7a12a480ee83cd310",
        },
        packaged=Path("/usr/share/datasets/fashion-mnist"),
        by_hand="on Debian and Ubuntu `apt install dataset-fashion-mnist` installs them",
    ),
    "mnist": Source(
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
        md5={
            _TRAIN_IMAGES: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            _TRAIN_LABELS: "d53e105ee54ea40749a09fcbcd1e9432",
            _TEST_IMAGES: "9fb629c4189551a2d022fa330f9573f3",
            _TEST_LABELS: "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
}


def perceptron() -> nn.Module:
    """The tutorials' 784-200-10 MLP, 159,010 parameters."""
    return mlp(_SIDE * _SIDE, 200, _CLASSES)


def cnn() -> nn.Module:
    """Three 3x3 convolutions of 8, 16 and 32 channels, max-pooling after each, and a linear layer: 8,778 parameters.

    From pictures (rows, 1, 28, 28) to scores (rows, 10).
    """
    layers: list[nn.Module] = []
    for before, after in ((1, 8), (8, 16), (16, 32)):
        # pooling before ReLU gives the same numbers as after it, with a quarter of the work
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 3 * 3, _CLASSES))


def grey_resnet(width: int = 64) -> nn.Module:
    """ResNet-18 for pictures (rows, 1, 28, 28); ``width`` channels in the first of its four stages."""
    return resnet(channels=1, width=width, small=True)


def task(name: str, source: str, model: Callable[[], nn.Module] = perceptron, data: Path | None = None) -> Task:
    """A model on the data set ``source``; ``data`` is the folder with its four files, plain or ``.gz``.

    ``model()`` reads pictures of shape (rows, 1, 28, 28).
    """
    files = _files(source, data)
    train_images, train_labels = _pair(files[_TRAIN_IMAGES], files[_TRAIN_LABELS])
    test_images, test_labels = _pair(files[_TEST_IMAGES], files[_TEST_LABELS])
    train_images, test_images = standardize(train_images, test_images)
    return Task(
        name=name,
        model=model,
        train=Data(train_images.unsqueeze(1), train_labels),
        test=Data(test_images.unsqueeze(1), test_labels),
        loss=functional.cross_entropy,
        metrics={"accuracy": accuracy},
        batch_size=64,
        epochs=5,
        quick_epochs=1,
    )


def _files(name: str, data: Path | None) -> dict[str, Path]:
    source = SOURCES[name]
    if data is not None:
        return _in_folder(data, name, source)
    if source.packaged is not None and source.packaged.is_dir():
        return _in_folder(source.packaged, name, source)
    how, folder = _how_to_get(name, source), download.cache(name)
    return {file: download.fetch(f"{source.url}{file}.gz", source.md5[file], folder, how) for file in _FILES}


def _pair(images_file: Path, labels_file: Path) -> tuple[Tensor, Tensor]:
    """Images (count, 28, 28) in uint8 and their labels (count,) in int64, checked against each other."""
    images, labels = idx.read(images_file, dimensions=3), idx.read(labels_file, dimensions=1)
    if tuple(images.shape[1:]) != (_SIDE, _SIDE):
        size = f"{images.shape[1]} x {images.shape[2]}"
        raise DataError(f"{images_file} holds images of {size} pixels; they must have {_SIDE} x {_SIDE}.")
    if len(images) != len(labels):
        raise DataError(f"{images_file} holds {len(images)} images, but {labels_file} {len(labels)} labels.")
    if int(labels.max()) >= _CLASSES:
        raise DataError(f"{labels_file} holds the label {int(labels.max())}; labels go from 0 to {_CLASSES - 1}.")
    return images, labels.long()


def _in_folder(folder: Path, name: str, source: Source) -> dict[str, Path]:
    """The four files in that folder; a plain file is preferred to its .gz."""
    if not folder.is_dir():
        reason = "is not a folder" if folder.exists() else "does not exist"
        raise advised(DataError, f"The data folder {folder} {reason}.", _how_to_get(name, source))
    paths = {}
    for file in _FILES:
        forms = [folder / file, folder / f"{file}.gz"]
        paths[file] = next((form for form in forms if form.is_file()), None)
    missing = [file for file, path in paths.items() if path is None]
    if missing:
        raise advised(DataError, f"{folder} has no {', '.join(missing)} (plain or .gz).", _how_to_get(name, source))
    return {file: path for file, path in paths.items() if path is not None}


def _how_to_get(name: str, source: Source) -> str:
    ways = [f"{', '.join(f'{file}.gz' for file in _FILES)} are at {source.url}"]
    if source.by_hand:
        ways.append(source.by_hand)
    return (
        f"To get the data of {name}: {'; '.join(ways)}. "
        "Name their folder with --data, or leave --data out to have them downloaded."
    )
