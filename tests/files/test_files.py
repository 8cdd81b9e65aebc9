"""Folders chosen before a run, and files that are written whole or not at all."""

import errno
import os
import threading
from pathlib import Path

import pytest

from ravine import _files as files
from ravine.errors import OptionError


def test_a_fresh_folder_never_is_one_that_exists(tmp_path):
    wanted = tmp_path / "out" / "compare-x"
    assert [files.fresh(wanted).name for _ in range(3)] == ["compare-x", "compare-x-2", "compare-x-3"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="compare-x cannot be written: Not a directory"):
        files.fresh(tmp_path / "file" / "compare-x")


def test_a_named_folder_is_made_and_an_occupied_one_kept(tmp_path):
    folder = files.claim(tmp_path / "a" / "b", force=False)
    assert list(folder.iterdir()) == []
    assert files.claim(folder, force=False) == folder
    (folder / "mine").write_text("kept")
    with pytest.raises(OptionError, match=r"b is not empty.*--out"):
        files.claim(folder, force=False)
    assert files.claim(folder, force=True) == folder
    assert (folder / "mine").read_text() == "kept"
    with pytest.raises(OptionError, match="mine cannot be written: it is not a folder"):
        files.claim(folder / "mine", force=True)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    with pytest.raises(OptionError, match=r"cannot be written: Permission denied\. Name another"):
        files.claim(tmp_path, force=False)


def parts():
    yield b"ne"
    yield memoryview(b"w")


@pytest.mark.parametrize("content", [b"new", parts()], ids=["bytes", "parts"])
@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, broken, content):
    path = tmp_path / "results.json"
    files.write(path, b"old")
    assert path.stat().st_mode & 0o777 == 0o666 & ~files._umask()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, broken, full)
    with pytest.raises(OptionError, match=r"results\.json cannot be written: No space"):
        files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["results.json"]
    monkeypatch.undo()
    files.write(path, content if isinstance(content, bytes) else parts())
    assert path.read_bytes() == b"new"


def test_parts_that_fail_half_way_leave_the_old_file(tmp_path):
    path = tmp_path / "file"
    files.write(path, b"old")

    def interrupted():
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write(path, interrupted())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_read_only_file_system_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write(path, b"old")

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files.tempfile._os, "open", refuse)
    with pytest.raises(OptionError, match="file cannot be written: Read-only file system"):
        files.write(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"


def test_a_folder_that_is_none_or_a_file_that_is_a_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path, reason in [(tmp_path / "file" / "x", "Not a directory"), (tmp_path / "no" / "x", "No such file")]:
        with pytest.raises(OptionError, match=f"x cannot be written: {reason}"):
            files.write(path, b"")
    (tmp_path / "folder" / "in").mkdir(parents=True)
    with pytest.raises(OptionError, match="folder cannot be written: it is a folder. Name a file."):
        files.write(tmp_path / "folder", b"")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_file_then_name_then_folder_are_made_safe_in_this_order(tmp_path, monkeypatch):
    done = []

    def note(name, real):
        def call(*args):
            kind = "folder" if name == "fsync" and os.path.isdir(f"/proc/self/fd/{args[0]}") else "file"
            done.append((name, kind))
            return real(*args)

        monkeypatch.setattr(os, name, call)

    note("fsync", os.fsync)
    note("replace", os.replace)
    files.write(tmp_path / "a", b"x")
    assert [name for name, _ in done] == ["fsync", "replace", "fsync"]
    if os.path.isdir("/proc/self/fd"):
        assert [done[0][1], done[2][1]] == ["file", "folder"]


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    real = os.open

    def refuse(path, *args, **kwargs):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied")  # as Windows does
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    files.write(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


def test_what_a_killed_writer_left_is_removed_but_nothing_of_a_live_one(tmp_path):
    old, young = ".a.b-abcd_123.tmp", ".a.b-abcd_124.tmp"
    others = [".a.b-c-abcd_123.tmp", ".axb-abcd_123.tmp", ".a.b-abcd_1234.tmp", "a.b-abcd_123.tmp", ".a.b-ABCD_123.tmp"]
    path = tmp_path / "a.b"
    for name in [old, young, *others]:
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (0, 0))
    now = path.parent.stat().st_mtime
    os.utime(tmp_path / young, (now - 3000, now - 3000))
    files.write(path, b"whole")
    assert sorted(os.listdir(tmp_path)) == sorted(["a.b", young, *others])


def test_what_cannot_be_tidied_up_does_not_fail_a_write(tmp_path):
    (tmp_path / ".a-abcd_123.tmp").mkdir()
    os.utime(tmp_path / ".a-abcd_123.tmp", (0, 0))
    files.write(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path):
    contents = [bytes([i]) * 20_000 for i in range(8)]
    path = tmp_path / "shared"
    writers = [threading.Thread(target=lambda c=c: [files.write(path, c) for _ in range(5)]) for c in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["shared"]


@pytest.mark.parametrize("name", ["a", "run-1", "A.b_c-9", "x" * 64, "-v", "a."])
def test_a_name_that_is_one(name):
    assert files.run_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "../a", "a\\b", "a b", "a\n", "ä", "x" * 65, "a\0", "C:"]
)
def test_a_name_that_is_none(name):
    with pytest.raises(OptionError, match="cannot be a name: use 1 to 64 of"):
        files.run_name(name)


def test_a_fresh_file_is_a_new_one(tmp_path):
    wanted = tmp_path / "new" / "plot.png"
    assert files.fresh_file(wanted) == wanted
    assert files.fresh_file(wanted) == tmp_path / "new" / "plot-2.png"
    assert files.fresh_file(wanted) == tmp_path / "new" / "plot-3.png"
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="cannot be written"):
        files.fresh_file(tmp_path / "file" / "plot.png")


def test_a_device_or_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/proc/self/fd/1")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/fd/1")):
        with pytest.raises(OptionError, match=r"is a device or a pipe, which cannot be replaced\. Name a file\."):
            files.check_file(path)
    with pytest.raises(OptionError, match="is a device or a pipe"):
        files.write(tmp_path / "pipe", b"lost")
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "to").symlink_to("new")
    files.write(tmp_path / "to", b"a link to a file is as good as one")
