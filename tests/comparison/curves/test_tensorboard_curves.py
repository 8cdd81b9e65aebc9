"""Curves from TensorBoard's event files, as torch and TensorFlow 2 write them."""

import sys
from pathlib import Path

import pytest

from ravine.comparison._curves import read_curves
from ravine.errors import DataError, PackageError

pytest.importorskip("tensorboard")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def log(folder, **scalars):
    """A run with scalars by tag; ``__`` stands for a slash."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder) as writer:
        for tag, values in scalars.items():
            for step, value in values.items():
                writer.add_scalar(tag.replace("__", "/"), value, step)


def plain(curves):
    return {(c.optimizer, c.run): (c.steps.tolist(), c.values.tolist(), c.diverged_at) for c in curves}


def test_folders_of_optimizers_and_runs():
    log("logs/adam/1", val_loss={0: 4.0, 10: 2.0}, train__loss={5: 1.0})
    log("logs/adam/2", val_loss={0: 4.0, 10: float("nan"), 20: 1.0})
    log("logs/sgd/1", val_loss={0: 4.5})
    told = {("adam", "1"): ([0, 10], [4, 2], None), ("adam", "2"): ([0], [4], 10), ("sgd", "1"): ([0], [4.5], None)}
    assert plain(read_curves(["logs"])) == told
    assert plain(read_curves(["logs/adam", "logs/sgd"])) == told, "named one by one"
    assert plain(read_curves(["logs/adam/1"])) == {("adam", "1"): told["adam", "1"]}
    log("deep/task/adam/1", val_loss={0: 1.0})
    assert list(plain(read_curves(["deep"]))) == [("task/adam", "1")]


def test_runs_of_several_optimizers_side_by_side():
    told = {}
    for name, run in (("adam", 1), ("adam", 2), ("adam_w", 1), ("sgd:lr=1e-3", 2)):
        log(f"logs/{name}-{run}", val_loss={0: 4.0, 10: float(run)})
        told[name, str(run)] = ([0, 10], [4, run], None)
    curves = read_curves(["logs"])
    assert plain(curves) == told
    assert curves.grouped == {"adam": ["1", "2"], "adam_w": ["1"], "sgd:lr=1e-3": ["2"]}
    assert plain(read_curves(sorted(Path("logs").iterdir()))) == told, "named one by one"


def test_the_folder_is_the_optimizer_where_names_of_runs_are_of_none():
    for optimizer in ("adam", "sgd"):
        for run in ("seed-1", "seed-2"):
            log(f"logs/{optimizer}/{run}", loss={0: 1.0})
        for run in ("eager-sun-5", "brave-fog-6"):
            log(f"named/{optimizer}/{run}", loss={0: 1.0})
    for folders in (["logs"], ["logs/adam", "logs/sgd"], sorted(Path("logs").glob("*/*"))):
        assert list(plain(read_curves(folders))) == [(o, r) for o in ("adam", "sgd") for r in ("seed-1", "seed-2")]
    curves = read_curves(["named/adam", "named/sgd"])
    assert list(plain(curves)) == [(o, r) for o in ("adam", "sgd") for r in ("brave-fog-6", "eager-sun-5")]
    assert not curves.grouped


def test_more_values_than_tensorboard_keeps_by_itself():
    values = {step: float(step) for step in range(12_000)}
    log("logs/adam/1", loss=values)
    assert read_curves(["logs"]).curves[0].values.tolist() == list(values.values())


def test_scalars_as_tensorflow_writes_them():
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from torch.utils.tensorboard import SummaryWriter

    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
    value = Summary.Value(tag="val_loss", tensor=TensorProto(dtype=1, float_val=[2.5]), metadata=metadata)
    with SummaryWriter("logs/adam/1") as writer:
        writer._get_file_writer().add_summary(Summary(value=[value]), 3)
    assert plain(read_curves(["logs"])) == {("adam", "1"): ([3], [2.5], None)}


def test_which_tag():
    log("logs/adam/1", epoch__val={0: 1.0}, epoch__train={0: 2.0})
    with pytest.raises(DataError, match=r"logs has the scalars 'epoch/.*: say which is compared, tag='NAME'"):
        read_curves(["logs"])
    with pytest.raises(DataError, match=r"has a scalar 'epoch/vla'\. Did you mean 'epoch/val'"):
        read_curves(["logs"], tag="epoch/vla")
    assert plain(read_curves(["logs"], tag="epoch/val"))["adam", "1"] == ([0], [1], None)
    log("logs/sgd/1", epoch__train={0: 2.0})
    with pytest.raises(DataError, match=r"logs/sgd/1 has no scalar 'epoch/val'; it has 'epoch/train'"):
        read_curves(["logs"], tag="epoch/val")
    assert len(read_curves(["logs"], tag="epoch/train")) == 2


def test_folders_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="The folder empty has no event files of TensorBoard"):
        read_curves(["empty"])
    log("none/adam/1")
    with pytest.raises(DataError, match="The event files in none have no scalars"):
        read_curves(["none"])
    log("logs/adam/1", loss={0: 1.0})
    (file,) = (tmp_path / "logs/adam/1").iterdir()
    with pytest.raises(DataError, match=r"is an event file of TensorBoard: name its folder, .*logs/adam/1\."):
        read_curves([file])
    log("logs/adam/1", loss={0: 2.0})
    with pytest.raises(DataError, match=r"logs/adam/1: run '1' of 'adam' has a second value at step 0"):
        read_curves(["logs"])
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_accumulator", None)
    with pytest.raises(PackageError, match=r"pip install tensorboard"):
        read_curves(["logs"])
