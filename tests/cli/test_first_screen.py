"""What every command has in common: a line at once, errors of one kind, Ctrl-C, encodings, narrow terminals."""

import importlib
import io
import os
import shutil
import sys
from types import SimpleNamespace

import click
import pytest

import ravine.cli as cli
from ravine.cli._screen import fit_encoding, say


@pytest.fixture
def ravine(monkeypatch, capsys, tmp_path):
    """Run ``ravine`` in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ravine", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return call


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["trian"], "There is no command 'trian'. Did you mean 'train'?"),
        (["--versoin"], "There is no option '--versoin'. Did you mean '--version'?"),
        (["train", "digits", "--epoch", "3"], "There is no option '--epoch'. Did you mean '--epochs'?"),
        (["compare", "--optimiser", "adam"], "Did you mean '--optimizer'?"),
        (["train", "digits", "--learning-rate", "0.1"], "There is no option '--learning-rate'. Did you mean '--lr'?"),
        (["compare", "digits", "--learning-rate", "0.1"], "behind its name: -o rmsprop:lr=0.01"),
        (["train", "digits", "--batch-size", "32"], "The batch size is the task's: in a task of your own"),
        (["train", "digits", "--device", "cuda"], "where the task's model is: in a task of your own"),
        (["train", "digits", "--weight_decay", "0.1"], "behind its name: -o rmsprop:lr=0.01,weight_decay=0.001"),
        (["train", "digits", "--bs", "32"], "The batch size is the task's"),
        (["train", "digits", "--output", "here"], "Did you mean '--out'?"),
        (["compare", "digits", "--resume"], "'--resume'. A study goes on by itself: run the same command again"),
        (["lr-find", "digits", "--resume"], "'--resume'. Known: "),
        (["train", "digits", "--clip_norm", "1"], "clips by the norm of all gradients: -o rmsprop:clip_norm=1.0."),
        (["train", "digits", "--metrics", "auc"], "'--metrics'. It is the task's: in a task of your own"),
        (["compare", "digits", "--n-trials", "3"], "Did you mean '--points'?"),
        (["plot", "--device", "cuda", "run"], "There is no option '--device'. Known: --"),
        (["train"], "Missing argument 'TASK'. See `ravine train --help`."),
        (["train", "digits", "--epochs", "abc"], "'--epochs': 'abc' is not a whole number from 1. See"),
        (["live", "x", "--port", "1.5"], "'--port': '1.5' is not a whole number from 0 to 65,535. See"),
        (
            ["train", "digits", "--epochs", "0"],
            "'--epochs': '0' is not a whole number from 1. See `ravine train --help`.",
        ),
        (["train", "digit"], "There is no task 'digit'. Did you mean 'digits'?"),
        (["train", "digits", "-o", "adm"], "Did you mean 'adam'?"),
        (["contour", "rosenbrok"], "Did you mean 'rosenbrock'?"),
        (["plot", "--scale", "ln", "run"], "'ln' is not one of"),
    ],
)
def test_every_error_is_one_line_of_one_kind(ravine, arguments, text):
    code, out, err = ravine(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("ravine: ")
    assert err.count("\n") == 1
    assert text in err


def test_without_a_command_there_is_the_list_of_them(ravine):
    code, out, err = ravine()
    assert code == 2
    assert all(name in out + err for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_ctrl_c_is_the_same_in_every_command(ravine, monkeypatch, name):
    def interrupted(**_):
        raise KeyboardInterrupt

    command = importlib.import_module(f"ravine.cli._{name.replace('-', '_')}").command
    monkeypatch.setattr(command, "callback", interrupted)
    words = {"worker": ["--study", "a", "--storage", "my file"], "compare": [], "bench": [], "list": []}.get(
        name, ["a"]
    )
    code, out, err = ravine(name, *words)
    assert (code, out) == (130, "")
    text = f"ravine {name} {' '.join(words)}".strip().replace("my file", "'my file'")
    assert err == f"ravine: Interrupted.\nNothing new is kept. Start again: {text}\n"


@pytest.mark.parametrize("name", ["train", "lr-find", "compare", "worker", "contour", "bench"])
def test_what_takes_long_says_so_before_torch_is_imported(ravine, monkeypatch, name):
    seen = []

    def imported(module):
        seen.append((module, sys.stderr.getvalue()))
        return SimpleNamespace(command=click.Command(name, callback=lambda: None))

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with monkeypatch.context() as patch:
        patch.setattr(cli, "importlib", SimpleNamespace(import_module=imported))
        patch.delitem(sys.modules, "torch")
        code, out, _ = ravine(name)
        assert (code, out) == (0, "")
        assert seen[0][1].startswith("Loading PyTorch")
        assert seen[0][1].endswith(" ...\n")
        sys.stderr.seek(0)
        sys.stderr.truncate()
        ravine(name, "--help")
        assert sys.stderr.getvalue() == ""  # a help is no long command
        patch.setenv("RANK", "1")
        ravine(name)
        assert sys.stderr.getvalue() == ""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_show_in_other_encodings(monkeypatch, encoding):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    monkeypatch.setattr(sys, "stdout", file)
    monkeypatch.setattr(sys, "argv", ["ravine", "show", "rmsprop"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    file.flush()
    text = file.buffer.getvalue().decode(encoding)
    assert "square_avg_t = " in text
    assert "?" not in text


def test_a_stream_without_an_encoding_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    fit_encoding()
    say("nothing can be shown")
    say("± as it is", err=True)
    assert sys.stderr.getvalue() == "± as it is\n"


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_lines_are_broken_between_words_on_a_terminal_only(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((30, 24)))  # pytest asks too
    monkeypatch.setattr(sys, "stdout", Screen())
    say("Wrote curves.png, report-of-all.html to ravine-out/compare-a-long-name-of-a-study-that-is-a-word")
    say("Task  one, two, three, four, five, six", indent=6)
    say("ravine train digits --resume --out a/long/folder", wrap=False)
    assert sys.stdout.getvalue().splitlines() == [
        "Wrote curves.png,",
        "report-of-all.html to",
        "ravine-out/compare-a-long-name-of-a-study-that-is-a-word",
        "Task  one, two, three, four,",
        "      five, six",
        "ravine train digits --resume --out a/long/folder",
    ]
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    say("a line that is longer than thirty characters, in a file")
    assert sys.stdout.getvalue().count("\n") == 1
