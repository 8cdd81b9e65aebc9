"""The text task: what is read and refused, windows without copies, and a model that sees no future."""

import math

import pytest
import torch
from torch.nn import functional

from ravine import tasks
from ravine.errors import DataError
from ravine.tasks import _text_task as text
from ravine.tasks._gpt import GPT, Block

SENTENCE = "Der Fluß fließt schnell durch die tiefe Schlucht. "


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("".join(f"{number}. {SENTENCE}" for number in range(60)), encoding="utf-8")
    return path


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(text.shutil, "which", lambda name: None)


def test_a_file_is_read_byte_by_byte_and_its_last_tenth_is_for_testing(book):
    task = tasks.find("text-gpt", book)
    raw = list(book.read_bytes())
    test_size = len(raw) // 10
    for data, part in ((task.train, raw[:-test_size]), (task.test, raw[-test_size:])):
        rows = len(data)
        assert data.inputs.shape == data.targets.shape == (rows, 64)
        assert data.inputs.flatten().tolist() == part[: rows * 64]
        assert data.targets.flatten().tolist() == part[1 : rows * 64 + 1]
        assert len(part) - (rows * 64 + 1) < 64  # less than a row is left over


def test_rows_are_views_of_one_text():
    values = torch.arange(1000)
    data = text.windows(values)
    for part in (data.inputs, data.targets):
        assert part.untyped_storage().data_ptr() == values.untyped_storage().data_ptr()


def test_no_place_sees_a_later_one():
    torch.manual_seed(0)
    model = GPT(context=16, width=16, layers=2, heads=2)
    rows = torch.randint(256, (3, 16))
    changed = rows.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 256
    before, after = model(rows), model(changed)
    assert torch.equal(before[:, :9], after[:, :9])
    assert (before[:, 9:] != after[:, 9:]).any(dim=-1).all()


def test_the_same_byte_reads_differently_at_every_place():
    torch.manual_seed(0)
    outputs = GPT(context=8, width=16, layers=1, heads=2)(torch.zeros(1, 8, dtype=torch.int64))[0]
    assert torch.pdist(outputs).min() > 1e-3


def test_attention_is_that_of_the_definition():
    torch.manual_seed(0)
    block = Block(width=12, heads=3).double()
    inputs = torch.randn(2, 5, 12, dtype=torch.float64)
    queries, keys, values = block.queries_keys_values(inputs).split(12, dim=-1)
    heads = []
    for part in range(3):
        q, k, v = (x[..., 4 * part : 4 * part + 4] for x in (queries, keys, values))
        scores = q @ k.mT / math.sqrt(4)
        scores[:, torch.ones(5, 5).triu(1).bool()] = -torch.inf
        heads.append(scores.softmax(dim=-1) @ v)
    torch.testing.assert_close(block._attention(inputs), torch.cat(heads, dim=-1))


def test_a_fresh_model_knows_nothing_and_has_the_promised_size(book):
    task = tasks.find("text-gpt", book)
    model = task.start(0)
    outputs = model(task.test.inputs)
    assert outputs.shape == (len(task.test), 64, 256)
    assert task.loss(outputs, task.test.targets).item() == pytest.approx(math.log(256), rel=0.02)
    assert task.metrics["bits_per_byte"](outputs, task.test.targets).item() == pytest.approx(8, rel=0.02)
    size = sum(parameter.numel() for parameter in model.parameters())
    assert f"{size:,} parameters" in tasks.describe()["text-gpt"]


def test_it_learns(book):
    task = tasks.find("text-gpt", book)
    model = task.start(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        optimizer.zero_grad()
        task.loss(model(task.train.inputs[:8]), task.train.targets[:8]).backward()
        optimizer.step()
    assert task.loss(model(task.test.inputs), task.test.targets).item() < 0.7 * math.log(256)


def test_measures_are_means_over_all_places():
    outputs = torch.randn(4, 6, 256, generator=torch.Generator().manual_seed(0))
    targets = torch.randint(256, (4, 6), generator=torch.Generator().manual_seed(1))
    targets[0] = outputs[0].argmax(dim=-1)
    each = torch.stack([functional.cross_entropy(o, t) for o, t in zip(outputs, targets, strict=True)])
    assert text.loss(outputs, targets).item() == pytest.approx(each.mean().item())
    found = sum(int(outputs[r, p].argmax()) == int(targets[r, p]) for r in range(4) for p in range(6))
    assert text.byte_accuracy(outputs, targets).item() == pytest.approx(found / 24)


def test_without_a_file_python_has_a_text(nothing_installed):
    first, again = tasks.find("text-gpt"), tasks.find("text-gpt")
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert len(first.train) * 64 > 300_000
    read = bytes(first.train.inputs.flatten().tolist()).decode(errors="replace")
    assert "Assert statements are a convenient way" in read


def test_a_program_for_the_bible_is_asked_for_all_of_it(monkeypatch, tmp_path):
    program = tmp_path / "bible"
    program.write_text(
        '#!/bin/sh\necho "$@" > "$(dirname "$0")/asked"\nfor n in $(seq 40); do echo "1Ki2:$n And it was 3:1 so."; done\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(text.shutil, "which", lambda name: str(program))
    monkeypatch.setattr(text, "_BIBLE_TEXT", program)
    task = tasks.find("text-gpt")
    assert (tmp_path / "asked").read_text() == "-f Ge1:1-Rev22:21\n"
    read = bytes(task.train.inputs.flatten().tolist())
    assert read.startswith(b"And it was 3:1 so.\nAnd it was 3:1 so.\n")
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(DataError, match=r"bible -f .*exit status 3.*data="):
        tasks.find("text-gpt")


@pytest.mark.skipif(text._bible() is None, reason="Debian's bible-kjv and bible-kjv-text are not installed")
def test_the_installed_bible_is_whole():
    whole = text._bible()
    lines = whole.decode("ascii").splitlines()
    assert len(lines) == 31_102  # the verses of the King James Version
    assert lines[0] == "In the beginning God created the heaven and the earth."
    assert lines[-1] == "The grace of our Lord Jesus Christ be with you all. Amen."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"book\.txt holds nothing"),
        (b"x" * 129, r"book\.txt holds only 129 bytes.*130 bytes or more"),
        (b"y" * 500 + b"\xff\xfe", r"book\.txt is not UTF-8 text: byte 500 is 0xff"),
    ],
)
def test_what_is_no_text_is_refused(book, content, message):
    book.write_bytes(content)
    with pytest.raises(DataError, match=message):
        tasks.find("text-gpt", book)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.txt does not exist"):
        tasks.find("text-gpt", tmp_path / "absent.txt")
    with pytest.raises(DataError, match=r"is a folder; name a file"):
        tasks.find("text-gpt", tmp_path)


def test_the_shortest_text_has_a_row_of_each(book):
    book.write_bytes(b"x" * 130)
    task = tasks.find("text-gpt", book)
    assert (len(task.train), len(task.test)) == (1, 1)
