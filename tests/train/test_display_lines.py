"""Plain lines for files, pipes and logs: no escape characters, each line at once, and nothing that ends a training."""

import io
import sys

import pytest
from forked import PIPE, Forked

from ravine._plotting.progress_lines import ProgressLines
from ravine.train._display import Display, bar, display_for
from ravine.train._display.lines import Lines

SCRIPT = """
import sys
from ravine.train._display import bar, display_for
display = display_for()
display.begin(["epoch", "train_loss", "a_long_name_of_a_metric", "time"], 2)
with bar("trying", 3) as done:
    done()
for epoch in (1, 2):
    display.epoch_begins(epoch, 3)
    assert not display.wants()
    display.validating()
    display.row([epoch, 0.5, float("nan"), 1.25])
    print("seen", flush=True) if sys.stdin.readline() else None
display.say("stopped early")
display.end()
"""


@pytest.mark.slow  # a process
def test_a_pipe_gets_each_row_at_once_and_no_escapes():
    with Forked(["-c", SCRIPT], stdin=PIPE, stdout=PIPE, text=True) as child:
        assert child.stdin
        assert child.stdout
        header, first = child.stdout.readline(), child.stdout.readline()  # hangs if the row is not flushed
        rest = child.communicate("\n\n")[0]
    assert header == "epoch  train_loss  a_long_name_of_a_metric     time\n"
    assert first == "    1    0.50000                  nan         1.2 s\n"
    assert rest == f"seen\n{first.replace('1', '2', 1)}seen\nstopped early\n"
    assert child.returncode == 0


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(term, monkeypatch):
    monkeypatch.setenv("TERM", term)
    assert isinstance(display_for(file=Screen()), Lines)


def test_a_stream_that_does_not_say_what_it_is_gets_lines(monkeypatch):
    class Tee:
        def write(self, text): ...

        def flush(self): ...

    monkeypatch.setattr(sys, "stdout", Tee())
    assert isinstance(display_for(), Lines)


def test_quiet_and_a_program_without_a_console_show_nothing(monkeypatch, capsys):
    assert type(display_for(quiet=True, file=Screen())) is Display
    with bar("trying", 3, quiet=True) as done:
        done()
    monkeypatch.setattr(sys, "stdout", None)
    assert type(display_for()) is Display
    display = Display()
    display.begin(["epoch"], 1)
    display.epoch_begins(1, None)
    assert not display.wants()
    display.progress(1, 0.5, 0.1)
    display.validating()
    display.row([1])
    display.say("x")
    display.end()
    assert capsys.readouterr() == ("", "")


def test_control_characters_and_what_cannot_be_encoded_are_replaced():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\n")
    display = display_for(file=file)
    display.begin(["epoch", "\x1b[2Jé"], 1)
    display.say("rate → 1\nnext")
    display.end()
    assert file.buffer.getvalue() == b"epoch       ?[2Je\nrate -> 1\nnext\n"


def test_a_full_disk_ends_no_training():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    display = display_for(file=Full())
    with pytest.warns(RuntimeWarning, match="continues.*No space left"):
        display.begin(["epoch"], 1)
    display.row([1])  # a second warning would be an error
    display.end()


def test_a_long_epoch_has_lines_of_progress():
    now = 0.0
    file = io.StringIO()
    display = Lines(file, ProgressLines(lambda: now))
    display.begin(["epoch", "loss"], 2)
    display.epoch_begins(1, 5000)
    assert not display.wants()
    now = 10.0
    assert display.wants()
    display.progress(400, 0.5, 0.01)
    assert not display.wants()
    display.row([1, 0.25])
    display.end()
    head, progress, row = file.getvalue().splitlines()
    assert head.split() == ["epoch", "loss"]
    assert progress.startswith("epoch 1/2   400/5000".replace("   ", "  "))
    assert "loss 0.5" in progress
    assert row.split() == ["1", "0.25000"]


def test_a_bar_has_lines_of_progress_too():
    now = 0.0
    file = io.StringIO()
    display = Lines(file, ProgressLines(lambda: now))
    display.count("lr_find", 300)
    now = 10.0
    assert display.wants()
    display.progress(30)
    assert file.getvalue() == "lr_find  30/300\n"


@pytest.mark.parametrize(("epochs", "most"), [(1000, 1001), (5000, 503), (100_000, 1003)])
def test_of_thousands_of_epochs_not_each_has_a_line(epochs, most):
    file = io.StringIO()
    display = Lines(file)
    display.begin(["epoch", "loss"], epochs)
    for epoch in range(1, epochs):  # a callback stops the last but one
        display.row([epoch, 0.5])
    display.say("stopped")
    display.end()
    lines = file.getvalue().splitlines()
    assert most - 3 <= len(lines) - 1 <= most
    assert lines[-1] == "stopped"
    assert lines[-2].split() == [str(epochs - 1), "0.50000"]
