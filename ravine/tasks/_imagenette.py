"""Imagenette at 160 pixels with the residual networks of He et al. 2015, and where its pictures come from.

Ten classes of ImageNet that are easy to tell apart, chosen by fast.ai (https://github.com/fastai/imagenette).
Any folder of pictures in the same layout works, too. Pictures are used as they are, without augmentation.
"""

import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import nn
from torch.nn import functional

from ravine.errors import DataError, advised
from ravine.tasks import _download as download
from ravine.tasks import _image_folder as pictures
from ravine.tasks._resnet import resnet
from ravine.tasks._task import Task
from ravine.train import accuracy

_NAME = "imagenette2-160"
_URL = f"https://s3.amazonaws.com/fast-ai-imageclas/{_NAME}.tgz"
_MD5 = "e793b78cc4c9e9a4ccc0c1155377a412"  # as torchvision publishes it
_BY_HAND = (
    f"To get the data of imagenette: unpack {_URL}, which has the folders train and val. "
    "Name their folder with --data, or leave --data out to have it downloaded."
)
# of ImageNet's training pictures, for red, green and blue: the usual figures
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def task(name: str, layers: Sequence[int], data: Path | None = None) -> Task:
    """A residual network with so many blocks in its stages, on Imagenette.

    ``data`` is a folder with pictures in ``train/CLASS/`` and ``val/CLASS/``, of any classes.
    """
    if data is not None and not data.is_dir():
        reason = "is not a folder" if data.exists() else "does not exist"
        raise advised(DataError, f"The data folder {data} {reason}.", _BY_HAND)
    train, test, classes = pictures.read(_downloaded() if data is None else data)

    def model() -> nn.Module:
        network = resnet(layers, classes=len(classes), small=False)
        return nn.Sequential(pictures.Normalize(_MEAN, _DEVIATION), network)

    return Task(
        name=name,
        model=model,
        train=train,
        test=test,
        loss=functional.cross_entropy,
        metrics={"accuracy": accuracy},
        batch_size=64,
        epochs=10,
        quick_epochs=1,
    )


def _downloaded() -> Path:
    """The unpacked archive in the user's cache, fetched if it is not there."""
    cache = download.cache("imagenette")
    folder = cache / _NAME
    if folder.is_dir():
        return folder
    archive = download.fetch(_URL, _MD5, cache, _BY_HAND)
    # unpacked next to its place and moved there as a whole, so that the folder is never incomplete
    try:
        with tempfile.TemporaryDirectory(dir=cache) as unpacked:
            with tarfile.open(archive) as file:
                file.extractall(unpacked, filter="data")
            (Path(unpacked) / _NAME).rename(folder)
    except (OSError, EOFError, tarfile.TarError) as error:
        if folder.is_dir():  # another process was faster
            return folder
        raise advised(DataError, f"{archive} cannot be unpacked: {error}.", _BY_HAND) from error
    return folder
