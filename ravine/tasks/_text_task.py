"""A text, byte by byte, as a task: predict each next byte. Knows where to get a text; the model is _gpt.py's.

The text is, in this order: the file that the user names; the King James Bible of Debian's packages bible-kjv
and bible-kjv-text; the documentation of Python's language that comes with Python (it differs a little from one
version to the next).
"""

import math
import re
import shutil
import subprocess
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ravine.errors import DataError, advised
from ravine.tasks._gpt import GPT
from ravine.tasks._task import Data, Task

CONTEXT = 64
_SHORTEST = 2 * (CONTEXT + 1)  # one row to train on and one to test on
_TEST_SHARE = 0.1
_BIBLE_TEXT = Path("/usr/lib/bible.data")
_BIBLE_SECONDS = 60  # it takes a tenth of one
_REFERENCE = re.compile(rb"^\w+:\d+ ", re.MULTILINE)


def task(name: str, data: Path | None = None) -> Task:
    """A small GPT on a text, as a task of that name; ``data`` is a file of UTF-8. The last tenth of the text is for testing."""
    text = _read(data) if data is not None else _bible() or _python()
    if len(text) < _SHORTEST:
        size = f"only {len(text)} bytes" if text else "nothing"
        raise DataError(f"{data or 'The text'} holds {size}; training and testing need {_SHORTEST} bytes or more.")
    # a copy, because torch warns of memory that it cannot write
    values = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    test_size = max(int(len(values) * _TEST_SHARE), CONTEXT + 1)
    return Task(
        name=name,
        model=lambda: GPT(CONTEXT),
        train=windows(values[:-test_size]),
        test=windows(values[-test_size:]),
        loss=loss,
        metrics={"accuracy": byte_accuracy, "bits_per_byte": bits_per_byte},
        batch_size=64,
        epochs=5,
        quick_epochs=1,
    )


def windows(values: Tensor) -> Data:
    """A row for every 64 values, with the values one place further as its targets; both are views of ``values``.

    Every value but the first is a target once; a rest at the end that is too short for a row is not used.
    """
    rows = values.unfold(0, CONTEXT + 1, CONTEXT)
    return Data(rows[:, :-1], rows[:, 1:])


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of scores (rows, places, bytes) for targets (rows, places), mean over rows and places, in nats."""
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def bits_per_byte(outputs: Tensor, targets: Tensor) -> Tensor:
    """The same loss in bits: the size of the text if this model compressed it."""
    return loss(outputs, targets) / math.log(2)


def byte_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The fraction of bytes that have the highest score, of scores (rows, places, bytes)."""
    return (outputs.argmax(dim=-1) == targets).float().mean()


def _read(path: Path) -> bytes:
    if not path.is_file():
        reason = "is a folder; name a file" if path.is_dir() else "does not exist"
        advice = "Give any file of UTF-8 text with --data, or leave --data out."
        raise advised(DataError, f"The text {path} {reason}.", advice)
    try:
        text = path.read_bytes()
        text.decode()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: byte {error.start} is {text[error.start]:#04x}. Give a text file."
        ) from error
    return text


def _bible() -> bytes | None:
    """The King James Bible, a verse a line; None where it is not installed."""
    program = shutil.which("bible")
    if program is None or not _BIBLE_TEXT.is_file():
        return None
    command = [program, "-f", "Ge1:1-Rev22:21"]
    try:
        printed = subprocess.run(command, capture_output=True, check=True, timeout=_BIBLE_SECONDS).stdout
    except (OSError, subprocess.SubprocessError) as error:
        problem = f"{' '.join(command)} did not give the text: {error}."
        raise advised(DataError, problem, "Name a text with --data.") from error
    return _REFERENCE.sub(b"", printed)


def _python() -> bytes:
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics)).encode()
