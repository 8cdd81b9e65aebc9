"""The table and the bar of a terminal: what is written, and on a real one (a pty) what is given back."""

import io
import os
import re
import signal
import sys

import pytest
from forked import Forked
from rich.cells import cell_len

from ravine.train._display import bar, display_for
from ravine.train._display.redrawn import Pace, Progress
from ravine.train._display.terminal import Terminal

COLUMNS = ["epoch", "train_loss", "valid_loss", "accuracy", "time"]
ESCAPE = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def lines(self):
        """Everything that was ever on the screen, without colours; a bar that was redrawn stands there again."""
        return re.split(r"[\r\n]+", ESCAPE.sub("", self.getvalue()))

    def left(self):
        """What stays: the lines that were not erased. Knows what rich writes for a bar of one line."""
        shown: list[str] = [""]
        for part in re.split(r"(\n|\r|\x1b\[2K|\x1b\[1A)", self.getvalue()):
            if part == "\n":
                shown.append("")
            elif part == "\x1b[2K":
                shown[-1] = ""
            elif part == "\x1b[1A":
                shown.pop()
            elif part != "\r":
                shown[-1] += ESCAPE.sub("", part)
        return [line for line in shown if line]


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def train(display, epochs=2, batches=10):
    try:
        display.begin(COLUMNS, epochs)
        for epoch in range(1, epochs + 1):
            display.epoch_begins(epoch, batches)
            display.progress(3, 1.5, 1e-3)
            display.validating()
            display.row([epoch, 1.5, 0.25, 0.875, 12.5])
        display.say("stopped")
    finally:
        display.end()


@pytest.mark.parametrize("width", [16, 24, 40, 60, 80, 200])
@pytest.mark.parametrize("batches", [None, 10, 1000000])
def test_nothing_is_wider_than_the_terminal_and_only_the_table_stays(width, batches, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    screen = Screen()
    train(display_for(file=screen), batches=batches)
    assert all(cell_len(line) <= width for line in screen.lines())
    assert any(line.startswith("epoch 1/2"[:width]) for line in screen.lines())
    kept = screen.left()
    assert kept[-1] == "stopped"
    assert not any("1/2" in line for line in kept)
    if width >= 60:
        assert kept[:-1] == [
            "epoch  train_loss  valid_loss    accuracy     time",
            "    1    1.5000      0.25000     0.87500     00:12",
            "    2    1.5000      0.25000     0.87500     00:12",
        ]


def test_a_narrow_bar_does_without_some_facts_and_cuts_none(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    screen = Screen()
    train(display_for(file=screen))
    assert "epoch 1/2  " + "━" * 5 in "".join(screen.lines())
    assert {len(line) for line in screen.lines() if line.endswith("   3/10")} == {40}
    assert not any("loss 1" in line or "lr" in line for line in screen.lines())


def test_the_bar_says_where_the_training_is(monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    screen = Screen()
    train(display_for(file=screen))
    assert any(re.match(r"epoch 1/2  ━.*   3/10  loss 1.5000    lr 1.00e-03$", line) for line in screen.lines())
    assert any(re.match(r"epoch 1/2  ━.*  validating  loss 1.5000 ", line) for line in screen.lines())


def test_no_color_and_no_unicode(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    screen.encoding = "ascii"
    display = display_for(file=screen)
    display.begin(["epoch", "größe"], 1)
    display.epoch_begins(1, 10)
    display.progress(5, 1.0, 1e-3)
    display.end()
    assert screen.getvalue().isascii()
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9](;[0-9;]*)?m", screen.getvalue())


def test_control_characters_of_a_metric_do_not_reach_the_terminal():
    screen = Screen()
    display = display_for(file=screen)
    display.begin(["epoch", "\x1b[31mred"], 1)
    display.say("[bold]not markup[/bold]\x07")
    display.end()
    assert "\x1b[31m" not in screen.getvalue()
    assert "[bold]not markup[/bold]?" in screen.left()


def test_rows_of_many_short_epochs_are_all_printed_and_the_bar_is_not_drawn_for_each():
    screen = Screen()
    display = display_for(file=screen, pace=Pace(every=1e9, longest=1e9))
    display.begin(COLUMNS, 300)
    draws = []
    display._draw = lambda: draws.append(1)
    for epoch in range(1, 301):
        display.epoch_begins(epoch, 1)
        if display.wants():
            display.progress(1, 0.5, 1e-3)
        display.validating()
        display.row([epoch, 0.5, 0.5, 0.5, 0.001])
    display.end()
    assert [line.split()[0] for line in screen.left()[1:]] == [str(epoch) for epoch in range(1, 301)]
    assert len(draws) == 3  # the first beginning, the first progress, the first validation


def test_prints_of_other_code_stand_between_rows(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    display = display_for()
    display.begin(["epoch"], 2)
    display.row([1])
    print("something [else]")
    display.row([2])
    display.end()
    assert sys.stdout is screen
    assert screen.left() == ["epoch", "    1", "something [else]", "    2"]


def test_what_goes_to_a_file_is_not_taken_to_the_terminal(monkeypatch):
    screen, log = Screen(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", log)
    display = display_for(file=screen)
    display.begin(["epoch"], 1)
    print("for the log")
    display.end()
    assert log.getvalue() == "for the log\n"


def test_a_training_inside_a_training_has_the_bar_for_itself(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    outer = display_for()
    outer.begin(["epoch", "loss"], 7)
    outer.epoch_begins(1, 5)
    mark = len(screen.getvalue())
    with bar("inner", 3) as done:
        outer.progress(1, 0.5, 0.1)
        done()
        inside = screen.getvalue()[mark:]
    assert "inner" in inside
    assert "1/7" not in inside.partition("inner")[2]
    assert "1/7" in screen.getvalue()[mark + len(inside) :]  # it is back at once
    mark = len(screen.getvalue())
    outer.progress(2, 0.5, 0.1)
    assert "1/7" in ESCAPE.sub("", screen.getvalue()[mark:])
    outer.row([1, 0.5])
    outer.end()
    assert sys.stdout is screen
    assert screen.left() == ["epoch        loss", "    1    0.50000"]
    assert not Terminal._active


def test_two_after_one_another_and_ends_without_a_beginning():
    screen = Screen()
    display_for(file=screen).end()
    for _ in range(2):
        display = display_for(file=screen)
        train(display, epochs=1)
        display.end()
        assert not display.wants()
    assert len(screen.left()) == 6


def test_a_terminal_that_goes_away_ends_no_training(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    display = display_for()
    display.begin(["epoch"], 2)

    def gone(text):
        raise OSError(5, "Input/output error")

    screen.write = gone
    with pytest.warns(RuntimeWarning, match="continues.*Input/output"):
        display.row([1])
    assert sys.stdout is screen
    display.epoch_begins(2, 3)
    display.progress(1, 0.5, 0.1)
    display.row([2])
    display.end()


def test_the_rate_and_the_time_left():
    clock = iter([0.0, 0.0, 10.0, 20.0, 20.0])
    progress = Progress(3, clock=lambda: next(clock))
    progress.epoch_begins(1, 100)
    progress.update(20, 1.0, 0.1)  # a run that goes on in the middle of an epoch begins with batches done
    assert progress.left is None
    progress.update(40, 1.0, 0.1)
    assert progress.left == (60 + 200) / 2
    facts = progress.facts()
    assert facts["rate"] == "2.0/s"
    assert facts["left"] == "02:10 left"
    progress.epoch_ends()
    clock = iter([20.0, 25.0])
    progress.epoch_begins(2, None)
    assert progress.left == 15.0 + 20.0
    assert progress.fraction is None


CHILD = """
import os, signal, sys, time
from ravine.train._display import display_for
display = display_for()
try:
    display.begin(["epoch", "loss"], 3)
    display.epoch_begins(1, 100)
    display.progress(1, 0.5, 0.1)
    if sys.argv[1] == "raise":
        raise RuntimeError("broken")
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    print("waiting", flush=True)
    time.sleep(60)
finally:
    display.end()
"""


# slow: each process has a terminal of its own
@pytest.mark.slow  # a process for each end
@pytest.mark.skipif(sys.platform == "win32", reason="there are no ptys")
@pytest.mark.parametrize("how", ["raise", "interrupt", "kill"])
def test_the_cursor_is_there_again_however_it_ends(how):
    import pty

    ours, theirs = pty.openpty()
    child = Forked(["-c", CHILD, how], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the child is gone
                break
            if not chunk:
                break
            seen += chunk
            if how == "interrupt" and b"waiting" in seen:
                how = "interrupted"
                child.send_signal(signal.SIGINT)
        child.wait(timeout=30)
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    assert b"epoch 1/3" in seen
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")
    if how != "kill":
        last = seen.rindex(b"epoch 1/3")
        assert b"\x1b[2K" in seen[last:] or b"\x1b[1A" in seen[last:]
        assert b"Traceback" in seen[last:]
