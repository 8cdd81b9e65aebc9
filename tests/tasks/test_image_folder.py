"""Folders of pictures and Imagenette's archive: what is read, how it is scaled, and what is refused."""

import io
import tarfile

import numpy as np
import platformdirs
import pooch
import pytest
import torch
from PIL import Image
from torch.nn import functional

from ravine import tasks
from ravine.errors import DataError
from ravine.tasks import _image_folder as pictures

CLASSES = ("church", "tench")


def noise(width, height, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """Three training pictures and one test picture of each of two classes, of several sizes and kinds."""
    for number, name in enumerate(CLASSES):
        for part in ("train", "val"):
            (tmp_path / part / name).mkdir(parents=True)
        noise(200, 170, number).save(tmp_path / "train" / name / "b.JPEG")
        noise(160, 213, number).save(tmp_path / "train" / name / "a.jpg")
        noise(90, 90, number).convert("L").save(tmp_path / "train" / name / "c.png")
        noise(180, 160, number).save(tmp_path / "val" / name / "x.jpeg")
    return tmp_path


def test_a_folder_is_a_task(folder):
    (folder / "train" / "church" / "._a.jpg").write_bytes(b"what macOS leaves")
    (folder / "train" / "church" / "notes.txt").write_text("no picture")
    task = tasks.find("imagenette-resnet18", folder)
    assert task.name == "imagenette-resnet18"
    assert (task.train.inputs.shape, task.test.inputs.shape) == ((6, 3, 160, 160), (2, 3, 160, 160))
    assert task.train.inputs.dtype is torch.uint8
    assert (task.train.targets.tolist(), task.test.targets.tolist()) == ([0, 0, 0, 1, 1, 1], [0, 1])
    model = task.start(0)
    outputs = model(task.test.inputs)
    assert outputs.shape == (2, 2)
    task.loss(outputs, task.test.targets).backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_the_34_layers_are_34(folder):
    model = tasks.find("imagenette-resnet34", folder).model()
    weights = [p for p in model.parameters() if p.ndim > 1 and p.shape[-1] != 1]
    assert len(weights) == 34  # 33 convolutions of 3x3 or 7x7 and the last layer; shortcuts are not counted


@pytest.mark.parametrize(("width", "height"), [(160, 160), (213, 160), (160, 240)])
def test_the_middle_of_a_picture_of_the_right_height_is_kept_pixel_by_pixel(folder, width, height):
    picture = noise(width, height, 5)
    picture.save(folder / "val" / "tench" / "x.png")
    (folder / "val" / "tench" / "x.jpeg").unlink()
    left, top = (width - 160) // 2, (height - 160) // 2
    expected = np.asarray(picture)[top : top + 160, left : left + 160].transpose(2, 0, 1)
    _, test, _ = pictures.read(folder)
    assert np.array_equal(test.inputs[1].numpy(), expected)


@pytest.mark.parametrize("size", [(400, 320), (100, 130)])
def test_other_sizes_are_scaled_as_torch_does(folder, size):
    picture = noise(*size, 5)
    picture.save(folder / "val" / "tench" / "x.png")
    (folder / "val" / "tench" / "x.jpeg").unlink()
    whole = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    height, width = (side * 160 // min(size) for side in whole.shape[2:])
    scaled = functional.interpolate(whole, (height, width), mode="bilinear", antialias=True)[0]
    left, top = (width - 160) // 2, (height - 160) // 2
    expected = scaled[:, top : top + 160, left : left + 160]
    _, test, _ = pictures.read(folder)
    assert (test.inputs[1].float() - expected).abs().max() <= 1


def test_normalize_is_the_definition_in_the_models_dtype():
    mean, deviation = (0.5, 0.25, 0.1), (0.2, 0.3, 0.4)
    layer = pictures.Normalize(mean, deviation)
    pixels = torch.randint(256, (2, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = (pixels.numpy() / 255 - np.array(mean)[:, None, None]) / np.array(deviation)[:, None, None]
    np.testing.assert_allclose(layer(pixels).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert layer(pixels).dtype is torch.float32
    assert layer.double()(pixels).dtype is torch.float64
    assert not list(layer.parameters())


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda _: b"", lambda _: b"no picture"])
def test_a_damaged_picture_is_refused_by_name(folder, damage):
    path = folder / "train" / "tench" / "b.JPEG"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"tench/b\.JPEG cannot be read"):
        tasks.find("imagenette-resnet18", folder)


def test_folders_that_do_not_fit_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match=r"absent does not exist.*imagenette2-160\.tgz.*data="):
        tasks.find("imagenette-resnet18", folder / "absent")
    with pytest.raises(DataError, match=r"x\.jpeg is not a folder"):
        tasks.find("imagenette-resnet18", folder / "val" / "tench" / "x.jpeg")
    with pytest.raises(DataError, match=r"no folder .*church/train\. Pictures lie in train/CLASS/"):
        pictures.read(folder / "train" / "church")
    (folder / "val" / "tench" / "x.jpeg").rename(folder / "val" / "x.jpeg")
    with pytest.raises(DataError, match=r"val/tench has no pictures"):
        pictures.read(folder)
    (folder / "val" / "tench").rename(folder / "val" / "trout")
    (folder / "val" / "x.jpeg").rename(folder / "val" / "trout" / "x.jpeg")
    with pytest.raises(DataError, match="only train has tench; only val has trout"):
        pictures.read(folder)
    for part in ("train", "val"):
        (tmp_path / "bare" / part).mkdir(parents=True)
    with pytest.raises(DataError, match=r"bare/train has no folder of a class"):
        pictures.read(tmp_path / "bare")


class Server:
    """Gives, in pooch's place, an archive of a folder and of ``more`` entries, and remembers what was asked for."""

    def __init__(self, folder, cache):
        self.folder, self.cache, self.asked, self.more = folder, cache, [], []

    def retrieve(self, url, known_hash, fname, path):
        self.asked.append((url, known_hash))
        assert path == self.cache
        self.cache.mkdir(parents=True, exist_ok=True)
        with tarfile.open(self.cache / fname, "w:gz") as archive:
            for part in ("train", "val"):
                archive.add(self.folder / part, f"imagenette2-160/{part}")
            for name in self.more:
                archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        return str(self.cache / fname)


@pytest.fixture
def server(folder, tmp_path, monkeypatch):
    found = Server(folder, tmp_path / "cache" / "datasets" / "imagenette")
    monkeypatch.delenv("RAVINE_CACHE_DIR", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache"))
    monkeypatch.setattr(pooch, "retrieve", found.retrieve)
    return found


def test_the_archive_is_fetched_checked_and_unpacked_once(server):
    for _ in range(2):
        assert len(tasks.find("imagenette-resnet18").train) == 6
    assert server.asked == [
        ("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz", "md5:e793b78cc4c9e9a4ccc0c1155377a412")
    ]
    left = sorted(path.name for path in server.cache.iterdir())
    assert left == ["imagenette2-160", "imagenette2-160.tgz"]


def test_an_archive_that_writes_elsewhere_is_refused(server, tmp_path):
    server.more = ["../escaped"]
    with pytest.raises(DataError, match=r"imagenette2-160\.tgz cannot be unpacked: .*outside"):
        tasks.find("imagenette-resnet18")
    assert not list(tmp_path.rglob("escaped"))
    assert [path.name for path in server.cache.iterdir()] == ["imagenette2-160.tgz"]


def test_a_failed_download_says_how_to_get_it(monkeypatch, tmp_path):
    def retrieve(*_, **__):
        raise OSError("no network")

    monkeypatch.delenv("RAVINE_CACHE_DIR", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path))
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(DataError, match=r"imagenette2-160\.tgz could not be downloaded: no network.*data="):
        tasks.find("imagenette-resnet34")
