"""Whatever happens while a checkpoint is written, the file is the old or the new one."""

import os
import resource

import numpy as np
import pytest
import torch
from bitwise import same
from killed import killed_at, moments

from ravine import _files as files
from ravine._files.checkpoint import load, save
from ravine.errors import OptionError


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path):
    path = tmp_path / "c"
    save(path, {"n": 1, "w": torch.ones(100_000)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))  # of any file; Python ignores the signal
    try:
        with pytest.raises(OptionError, match="c cannot be written: File too large"):
            save(path, {"n": 2, "w": torch.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == ["c"]
    assert load(path)["n"] == 1


def test_a_checkpoint_is_written_without_a_second_copy_of_its_tensors(tmp_path, monkeypatch):
    weight = torch.ones(1000, 1000)
    written = []
    monkeypatch.setattr(files, "write", lambda path, parts: written.extend(parts))
    save(tmp_path / "c", {"w": weight})
    assert np.shares_memory(np.asarray(written[1]), weight.numpy())


@pytest.mark.slow  # kills processes
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_writer_killed_at_any_moment_leaves_the_previous_or_the_new_checkpoint(tmp_path):
    path, size = tmp_path / "c", 50_000

    def write(n):
        # only what needs no threads: those of the parent are not in a forked child
        save(path, {"n": n, "w": torch.from_numpy(np.full(size, n, np.float32))})

    write(0)
    last, torn, seen = 0, 0, set()
    for moment in np.linspace(1, moments(lambda: write(0)) - 3, 160, dtype=int).tolist():
        assert killed_at(moment, lambda n=last + 1: write(n))
        found = load(path)
        assert found["n"] in (last, last + 1)
        assert same(found["w"], torch.full((size,), float(found["n"])))
        seen.add(found["n"] - last)
        last = found["n"]
        torn = len(os.listdir(tmp_path)) - 1
    assert seen == {0, 1}, "killed before the new one was there, and after"
    assert torn > 10, "killed while it was written"
    assert not killed_at(10**9, lambda: write(7))
    for name in os.listdir(tmp_path):
        os.utime(tmp_path / name, (0, 0))
    save(path, 1)
    assert os.listdir(tmp_path) == ["c"]
