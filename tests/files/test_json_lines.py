"""A journal keeps whole lines whatever happens to its writer, and goes back to where a checkpoint was."""

import binascii
import errno
import io
import itertools
import json
import math
import os
import resource
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killed import killed_at, moments

from ravine._files.json_lines import Journal, read
from ravine.errors import DataError, OptionError, StateError

numbers = st.floats() | st.integers(-(2**70), 2**70) | st.booleans() | st.none()
texts = st.text(max_size=5).filter(lambda t: t not in ("NaN", "Infinity", "-Infinity"))
values = st.recursive(
    numbers | texts, lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=3), max_leaves=4
)


def same(a, b):
    if isinstance(a, float):
        # a NaN has no sign or payload in the file
        return type(b) is float and ((math.isnan(a) and math.isnan(b)) or struct.pack("d", a) == struct.pack("d", b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(st.dictionaries(texts, values, max_size=3), max_size=3))
def test_every_value_comes_back_and_every_line_is_strict_json(tmp_path, records):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"")
    for record in records:
        Journal(path).append(record)
    assert same(read(path), records)
    for line in path.read_bytes().splitlines():
        json.loads(line.decode("ascii"), parse_constant=pytest.fail)


def test_a_number_that_is_not_finite_is_a_text_in_the_file(tmp_path):
    path = tmp_path / "m"
    Journal(path).append({"a": math.nan, "b": [math.inf, (-math.inf,)]})
    assert path.read_text().startswith('{"a":"NaN","b":["Infinity",["-Infinity"]],"crc32":"')


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"a": [1, {"b": {1}}]}, r"record\['a'\]\[1\]\['b'\] is a set"),
        ({"a": "NaN"}, r"record\['a'\] is the text 'NaN'"),
        ({"a": {1: 2}}, r"record\['a'\] is a dict with keys that are not text"),
        ({"a": 1j}, "is a complex"),
        ({"a": b"x"}, "is a bytes"),
    ],
)
def test_what_cannot_be_kept_is_named_and_nothing_written(tmp_path, record, message):
    with pytest.raises(StateError, match=message):
        Journal(tmp_path / "m").append(record)
    assert os.listdir(tmp_path) == []


def test_a_torn_last_line_is_left_out_and_then_removed(tmp_path):
    path = tmp_path / "m"
    Journal(path).append({"n": 1})
    whole = path.read_bytes()
    for torn in (b"{", b'{"n":2}', b"\0" * 10_000, b'{"x":"' + b"a" * 4096):
        path.write_bytes(whole + torn)
        assert read(path) == [{"n": 1}]
        assert Journal(path).position() == len(whole)
        Journal(path).append({"n": 2})
        assert read(path) == [{"n": 1}, {"n": 2}]
        path.write_bytes(torn)
        assert read(path) == []
        Journal(path).append({"n": 3})
        assert read(path) == [{"n": 3}]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[1]",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b"\xff",
        b"\0" * 4,
        b'{\0"\0a\0"\0:\0001\0}\0',
        b"[" * 100_000,
    ],
)
def test_damage_before_the_end_is_named_by_its_line(tmp_path, damage):
    path = tmp_path / "m"
    path.write_bytes(b'{"a":1}\n' + damage + b'\n{"a":3}\n{"a"')
    with pytest.raises(DataError, match="m, line 2 is damaged"):
        read(path)


def records() -> list[dict[str, Any]]:
    """As a recorder writes them."""
    return [
        {"kind": "steps", "first": 0, "loss": [0.25, 1.5], "hypers": [[0, "lr", 0.001]]},
        {"kind": "epoch", "epoch": 1, "valid_loss": 0.125, "step": 2},
        {"kind": "note", "step": 2, "text": "stopped"},
    ]


def test_the_checksum_is_that_of_the_line_without_it(tmp_path: Path) -> None:
    for record in [*records(), {}]:
        Journal(tmp_path / "m").append(record)
    lines = (tmp_path / "m").read_text().splitlines()
    for line, record in zip(lines, [*records(), {}], strict=True):
        stored = json.loads(line)
        assert stored.pop("crc32") == f"{binascii.crc32(json.dumps(stored, separators=(',', ':')).encode()):08x}"
        assert stored == record


def test_any_flipped_bit_is_a_data_error_that_names_file_and_line(tmp_path: Path) -> None:
    """Before, a flipped digit gave another number, and a flipped key a KeyError."""
    path = tmp_path / "metrics.jsonl"
    for record in records():
        Journal(path).append(record)
    content = path.read_bytes()
    for place, bit in itertools.product(range(len(content) - 1), range(8)):  # the last line's end may be torn
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        if damaged[place] == ord("\n") or content[place] == ord("\n"):
            with pytest.raises(DataError, match=r"metrics\.jsonl, line \d is damaged"):
                read(path)
            continue
        line = content[:place].count(b"\n") + 1
        with pytest.raises(DataError, match=rf"metrics\.jsonl, line {line} is damaged"):
            read(path)


def test_a_file_of_an_older_version_is_read_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records()))
    assert read(path) == records()
    Journal(path).append({"n": 1})
    assert read(path) == [*records(), {"n": 1}]
    with path.open("a") as file:
        file.write('{"n":2}\n')
    with pytest.raises(DataError, match="line 5 is damaged .its checksum is missing"):
        read(path)


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(DataError, match="m cannot be read: No such file"):
        read(tmp_path / "m")


def test_going_back_to_a_checkpoint(tmp_path):
    journal = Journal(tmp_path / "m")
    assert journal.position() == 0
    journal.rewind(0)
    assert not journal.path.exists()
    journal.append({"n": 1})
    journal.append({"n": 2})
    at = journal.position()
    assert at == journal.path.stat().st_size
    journal.append({"n": 3})
    with open(journal.path, "ab") as file:
        file.write(b'{"n"')
    journal.rewind(at)
    assert read(journal.path) == [{"n": 1}, {"n": 2}]
    journal.append({"n": 4})
    assert read(journal.path) == [{"n": 1}, {"n": 2}, {"n": 4}]
    journal.rewind(0)
    assert journal.path.read_bytes() == b""


def test_going_back_in_another_file_is_an_error_that_changes_nothing(tmp_path):
    journal = Journal(tmp_path / "m")
    with pytest.raises(DataError, match=r"m does not exist, but .* byte 5 "):
        journal.rewind(5)
    journal.append({"n": 1})
    for position, what in [(30, "has only 27 bytes"), (5, "has no end of a line there")]:
        with pytest.raises(DataError, match=f"m {what}, but the checkpoint was written at byte {position}"):
            journal.rewind(position)
    assert read(journal.path) == [{"n": 1}]


def test_a_position_is_synced_before_it_is_told(tmp_path, monkeypatch):
    journal, synced = Journal(tmp_path / "m"), []
    journal.append({"n": 1})
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size) or real(fd))
    assert journal.position() == 27
    assert synced == [27]

    def fails(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    for call in (journal.position, journal.sync):
        with pytest.raises(OptionError, match="m cannot be written: Input/output error"):
            call()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_device_is_an_error(tmp_path):
    (tmp_path / "m").symlink_to("/dev/full")
    with pytest.raises(OptionError, match="m cannot be written: No space left on device"):
        Journal(tmp_path / "m").append({"n": 1})


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="m cannot be written: Not a directory"):
        Journal(tmp_path / "file" / "m").append({})
    with pytest.raises(OptionError, match="cannot be written: Is a directory"):
        Journal(tmp_path).append({})


def test_a_disk_that_fills_up_in_a_line_leaves_whole_lines_and_goes_on_when_there_is_room(tmp_path):
    journal, n = Journal(tmp_path / "m"), 0
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # a write beyond is cut short, the next one fails
    try:
        with pytest.raises(OptionError, match="m cannot be written: File too large"):
            while n < 100:
                journal.append({"n": n, "pad": "x" * 50})
                n += 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert journal.path.stat().st_size == 1000, "no line was cut short"
    assert [r["n"] for r in read(journal.path)] == list(range(n))
    journal.append({"n": n})
    assert [r["n"] for r in read(journal.path)] == list(range(n + 1))


@pytest.mark.slow  # kills processes
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_writer_leaves_whole_lines_and_the_next_one_goes_on(tmp_path):
    journal, written = Journal(tmp_path / "m"), 0
    journal.append({"n": 0, "pad": "x" * 30_000})

    def append(n):
        journal.append({"n": n, "pad": "x" * 30_000})

    seen = set()
    for moment in range(1, moments(lambda: append(1)) - 2):
        written = len(read(journal.path))
        assert killed_at(moment, lambda n=written: append(n))
        numbers = [record["n"] for record in read(journal.path)]
        assert numbers == list(range(len(numbers)))
        seen.add(len(numbers) - written)
    assert seen == {0, 1}, "killed before the line was there, and after"
    append(len(numbers))
    assert len(read(journal.path)) == len(numbers) + 1


def test_a_write_that_the_system_cuts_short_is_finished(tmp_path, monkeypatch):
    real = io.FileIO.write

    class Short(io.FileIO):
        def write(self, data):
            return real(self, data[:3])

    monkeypatch.setattr("builtins.open", lambda path, mode, buffering: Short(path, mode.replace("b", "")))
    Journal(tmp_path / "m").append({"n": 123456789})
    monkeypatch.undo()
    assert read(tmp_path / "m") == [{"n": 123456789}]
