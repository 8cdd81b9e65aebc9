"""Help texts on narrow terminals: no line is too long, no word is broken, every option is there."""

import importlib

import click
import pytest
from click.testing import CliRunner

import ravine.cli as cli
from ravine.tasks import describe


def help_of(monkeypatch, columns, *arguments):
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = CliRunner().invoke(cli._ravine, [*arguments, "--help"])
    assert shown.exit_code == 0
    return shown.output


@pytest.mark.parametrize("columns", [60, 100])
@pytest.mark.parametrize("name", ["", *cli.COMMANDS])
def test_lines_fit_and_words_are_whole(monkeypatch, columns, name):
    text = help_of(monkeypatch, columns, *filter(None, [name]))
    assert max(map(len, text.splitlines())) <= columns
    if not name:
        wanted = [cli._ravine.help, *cli.COMMANDS, *cli.COMMANDS.values()]
    else:
        command = importlib.import_module(f"ravine.cli._{name.replace('-', '_')}").command
        options = [one for one in command.params if isinstance(one, click.Option)]
        wanted = [command.help, *(option.help for option in options), *(opt for one in options for opt in one.opts)]
        if "TASK" in command.help and name in ("train", "compare", "lr-find"):
            wanted += [*describe(), *describe().values()]
    words = {word for part in wanted for word in part.split()}
    assert {word.strip("`,") for word in words} <= {word.strip("`,") for word in text.split()}


def test_a_long_option_has_a_line_of_its_own_and_a_short_one_does_not(monkeypatch):
    lines = help_of(monkeypatch, 60, "train").splitlines()
    assert "  -o, --optimizer NAME[:key=value,...]" in lines
    assert any(line.startswith("  --lr FLOAT           Learning rate") for line in lines)
    assert "  fashion-mnist-resnet-small" in lines


def test_paragraphs_stay_apart(monkeypatch):
    assert "\n\n  TASK is one of those below" in help_of(monkeypatch, 60, "train")
    assert "\n\nOptions:\n" in help_of(monkeypatch, 60, "plot")
