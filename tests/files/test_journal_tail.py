"""What follows a journal reads each line once, whatever its writer and others do to the file."""

import pytest

from ravine._files.journal_tail import JournalTail
from ravine._files.json_lines import Journal
from ravine.errors import DataError


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "metrics.jsonl")


def numbers(tail):
    anew, records = tail.read()
    return anew, [record["n"] for record in records]


def test_lines_are_read_once_each(journal):
    tail = JournalTail(journal.path)
    for n in range(3):
        journal.append({"n": n})
    assert numbers(tail) == (False, [0, 1, 2])
    assert numbers(tail) == (False, [])
    journal.append({"n": 3})
    assert numbers(tail) == (False, [3])
    assert tail.written == journal.path.stat().st_mtime


def test_a_line_that_is_not_finished_waits(journal):
    tail = JournalTail(journal.path)
    journal.append({"n": 0})
    journal.append({"n": 1})
    whole = journal.path.read_bytes()
    for cut in range(1, len(whole) // 2):
        journal.path.write_bytes(whole[:-cut])
        fresh = JournalTail(journal.path)
        assert numbers(fresh) == (False, [0])
        journal.path.write_bytes(whole)
        assert numbers(fresh) == (False, [1])
    assert numbers(tail) == (False, [0, 1])


@pytest.mark.parametrize("kept", [1, 2])
def test_a_file_that_is_cut_back_and_grows_again_begins_anew(journal, kept):
    tail = JournalTail(journal.path)
    places = []
    for n in range(4):
        journal.append({"n": n})
        places.append(journal.position())
    tail.read()
    journal.rewind(places[kept - 1])
    for n in range(kept, 9):  # longer than before, when it is looked at
        journal.append({"n": 10 + n})
    assert numbers(tail) == (True, [*range(kept), *range(10 + kept, 19)])
    assert numbers(tail) == (False, [])


def test_a_file_that_is_deleted_begins_anew(journal):
    tail = JournalTail(journal.path)
    with pytest.raises(FileNotFoundError):
        tail.read()
    journal.append({"n": 0})
    assert numbers(tail)[1] == [0]
    journal.path.unlink()
    with pytest.raises(FileNotFoundError):
        tail.read()
    journal.append({"n": 5})
    assert numbers(tail) == (True, [5])


def test_a_damaged_line_is_said_once_and_what_is_mended_is_read(journal):
    for n in range(2):
        journal.append({"n": n})
    whole = journal.path.read_bytes()
    tail = JournalTail(journal.path)
    journal.path.write_bytes(whole.replace(b'"n":1', b'"n":7'))
    with pytest.raises(DataError, match="line 2 is damaged"):
        tail.read()
    assert numbers(tail) == (False, [])  # nothing has changed
    journal.path.write_bytes(whole + b"\n"[:0])
    journal.append({"n": 2})
    assert numbers(tail) == (True, [0, 1, 2])
