"""MNIST-like folders: what is read, what is refused, and where the files are sought."""

import gzip
import struct

import numpy as np
import platformdirs
import pooch
import pytest
import torch

from ravine import tasks
from ravine.errors import DataError
from ravine.tasks import _mnist as images


def write(path, values):
    content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def folder(tmp_path):
    """Thirty training and ten test images, two files of the four zipped."""
    random = np.random.default_rng(1)
    for kind, count, ending in (("train", 30, ".gz"), ("t10k", 10, "")):
        write(tmp_path / f"{kind}-images-idx3-ubyte{ending}", random.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        write(tmp_path / f"{kind}-labels-idx1-ubyte{ending}", random.integers(0, 10, count, dtype=np.uint8))
    return tmp_path


def raw(path):
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return np.frombuffer(file.read(), dtype=np.uint8)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_folder_is_the_tutorials_task(folder, name):
    task = tasks.find(name, folder)
    assert (task.name, task.batch_size, task.epochs, len(task.train), len(task.test)) == (name, 64, 5, 30, 10)
    assert [tuple(p.shape) for p in task.model().parameters()] == [(200, 784), (200,), (10, 200), (10,)]
    assert task.model()(task.test.inputs).shape == (10, 10)
    train = raw(folder / "train-images-idx3-ubyte.gz")[16:].astype(np.float64)
    test = raw(folder / "t10k-images-idx3-ubyte")[16:].astype(np.float64)
    mean, deviation = train.mean(), train.std(ddof=1)
    np.testing.assert_allclose(task.train.inputs.numpy().ravel(), (train - mean) / deviation, atol=1e-5)
    np.testing.assert_allclose(task.test.inputs.numpy().ravel(), (test - mean) / deviation, atol=1e-5)
    assert task.test.targets.tolist() == raw(folder / "t10k-labels-idx1-ubyte")[8:].tolist()
    assert task.train.targets.dtype is torch.int64


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("fashion-mnist-cnn", 8_778), ("fashion-mnist-resnet-small", 176_258), ("fashion-mnist-resnet18", 11_172_810)],
)
def test_other_networks_get_the_same_pictures(folder, name, parameters):
    task, plain = tasks.find(name, folder), tasks.find("fashion-mnist", folder)
    assert (task.name, task.train.inputs.shape) == (name, (30, 1, 28, 28))
    assert torch.equal(task.train.inputs, plain.train.inputs)
    assert torch.equal(task.test.targets, plain.test.targets)
    assert sum(parameter.numel() for parameter in task.model().parameters()) == parameters
    said = f"{parameters:,} parameters" if parameters < 1e6 else f"{parameters / 1e6:.1f} million parameters"
    assert said in tasks.describe()[name]


@pytest.mark.parametrize("name", ["fashion-mnist-cnn", "fashion-mnist-resnet-small"])
def test_other_networks_learn(folder, name):
    task = tasks.find(name, folder)
    model = task.start(0)
    inputs, targets = task.train.inputs[:4], task.train.targets[:4]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        outputs = model(inputs)
        assert outputs.shape == (4, 10)
        loss = task.loss(outputs, targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_blank_images_are_zeros_and_not_nan(folder):
    write(folder / "train-images-idx3-ubyte", np.full((30, 28, 28), 9, dtype=np.uint8))
    assert tasks.find("mnist", folder).train.inputs.abs().max() == 0  # the plain file goes before the zipped


def test_a_folder_that_is_not_there_says_how_to_get_the_data(tmp_path, folder):
    with pytest.raises(DataError, match=r"does not exist.*train-images-idx3-ubyte\.gz.*apt install"):
        tasks.find("fashion-mnist", tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"is not a folder.*https://.*with data=, or leave data= out") as raised:
        tasks.find("mnist", folder / "t10k-images-idx3-ubyte")
    assert "with --data, or leave --data out" in raised.value.on_command_line


def test_a_folder_without_one_file_names_it(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"has no t10k-labels-idx1-ubyte \(plain or \.gz\)\. To get"):
        tasks.find("mnist", folder)


@pytest.mark.parametrize(
    ("file", "values", "text"),
    [
        ("t10k-labels-idx1-ubyte", np.zeros(9, np.uint8), " 9 labels"),
        ("t10k-labels-idx1-ubyte", np.full(10, 10, np.uint8), "label 10; labels go from 0 to 9"),
        ("t10k-images-idx3-ubyte", np.zeros((10, 28, 27), np.uint8), "28 x 27 pixels"),
    ],
)
def test_files_that_do_not_fit_are_refused(folder, file, values, text):
    write(folder / file, values)
    with pytest.raises(DataError, match=f"{file}.*{text}"):
        tasks.find("mnist", folder)


@pytest.mark.parametrize("named", [False, True])
def test_a_download_is_checked_and_kept_in_the_cache(folder, monkeypatch, tmp_path, named):
    """In the user's, or in the folder that is named for kernels, too."""
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash, fname))
        assert path == tmp_path / "cache" / "datasets" / "mnist"
        return str(next(f for f in (folder / fname, folder / fname.removesuffix(".gz")) if f.exists()))

    if named:
        monkeypatch.setenv("RAVINE_CACHE_DIR", str(tmp_path / "cache"))
    else:
        monkeypatch.delenv("RAVINE_CACHE_DIR", raising=False)
        monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache"))
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert len(tasks.find("mnist").train) == 30
    assert len({known_hash for _, known_hash, _ in asked}) == 4
    for url, known_hash, fname in asked:
        assert url.startswith("https://")
        assert url.endswith(f"/{fname}")
        assert known_hash.startswith("md5:")
        assert len(known_hash) == len("md5:") + 32


@pytest.mark.parametrize("failure", [OSError("no\nnetwork"), ValueError("MD5 hash of file does not match")])
def test_a_failed_download_says_how_to_get_the_data_by_hand(monkeypatch, failure):
    def retrieve(*_, **__):
        raise failure

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz could not be downloaded: .*https://.*data="):
        tasks.find("mnist")


@pytest.mark.skipif(not images.SOURCES["fashion-mnist"].packaged.is_dir(), reason="Debian's package is not installed")
def test_the_packaged_fashion_mnist_is_found_without_a_download():
    task = tasks.find("fashion-mnist")
    assert (len(task.train), len(task.test), task.steps_per_epoch) == (60_000, 10_000, 938)
    assert torch.bincount(task.train.targets).tolist() == [6000] * 10
