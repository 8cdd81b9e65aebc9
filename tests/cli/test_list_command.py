"""``ravine list``: quick, complete, and true about runs and studies."""

import importlib
import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from ravine.cli import _out_folder
from ravine.cli._list import command
from ravine.cli._optimizer_names import families
from ravine.cli._out_folder import Kept, kept, many, say_written
from ravine.errors import OptionError
from ravine.optim import _registry as registry
from ravine.tasks import describe

EPOCH = '{{"kind":"epoch","epoch":{},"train_loss":0.5}}\n'


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return _out_folder.OUT


def folder_of(out, name, **files):
    folder = out / name
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file.replace("__", ".")).write_text(text)
    return folder


def run(out, name, epochs, of, **config):
    lines = "".join(EPOCH.format(n) for n in range(1, epochs + 1))
    config = {"task": "digits", "optimizer": "adam", "epochs": of, **config}
    return folder_of(out, name, config__json=json.dumps(config), metrics__jsonl=lines)


def test_the_optimizers_are_those_of_the_registry():
    expected = {
        cls.__name__.lower(): [
            one for one in registry.names() if one != cls.__name__.lower() and registry.lookup(one).cls is cls
        ]
        for cls in registry.classes()
    }
    assert {name: set(variants) for name, variants in families().items()} == {n: set(v) for n, v in expected.items()}


def test_tasks_and_optimizers_are_listed_and_what_to_begin_with(out):
    result = CliRunner().invoke(command)
    assert result.exit_code == 0
    for name, line in describe().items():
        assert any(row.split(maxsplit=1) == [name, line] for row in result.output.splitlines())
    assert re.search(r"rmsprop +rmsprop-centered, rmsprop-torch", result.output)
    assert result.output.endswith("Begin with one: ravine train digits\n")


def test_runs_say_how_far_they_are(out):
    run(out, "train-a", 3, 3)
    run(out, "train-b", 2, 50)
    run(out, "train-c", 0, 5)
    run(out, "train-old", 4, None)
    folder_of(out, "lr-find-x", config__json='{"task": "digits", "optimizer": "sgd"}', lr_find__json="{}")
    folder_of(out, "contour-y", paths__json="{}")
    folder_of(out, "notes", notes__txt="not ours")
    folder_of(out, "train-broken", config__json="{")
    states = {one.path.name: one.state for one in kept()}
    assert states == {
        "train-a": "done, 3 epochs",
        "train-b": "stopped after 2 of 50 epochs",
        "train-c": "stopped after 0 of 5 epochs",
        "train-old": "done, 4 epochs",
        "lr-find-x": "done",
        "contour-y": "done",
        "train-broken": "damaged",
    }
    assert "  train-b       stopped after 2 of 50 epochs: digits, adam\n" in CliRunner().invoke(command).output


def test_studies_say_how_far_they_are(out):
    spec = {"optimizers": [{"label": "sgd"}, {"label": "adam"}]}
    done = {"task": "digits", "progress": {"stage": "done", "done": 45, "total": 45}, "spec": spec}
    folder_of(out, "one", results__json=json.dumps(done))
    part = {"task": "breast-cancer", "progress": {"stage": "tune", "done": 5, "total": 45}}
    folder_of(out, "two", results__json=json.dumps({"tasks": [done, part]}))
    trial = '{"op_code":6,"worker_id":"x","trial_id":0,"state":%d,"values":[1.0]}\n'
    folder_of(out, "three", study__journal=trial % 1 + trial % 3 + trial % 1)
    folder_of(out, "four", study__journal='{"op_code":0,"worker_id":"x","study_name":"mine"}\n' + trial % 1)
    assert {(one.path.name, one.state, one.what) for one in kept()} == {
        ("one", "done, 45 trainings", "digits, sgd, adam"),
        ("two", "stopped after 50 of about 90 trainings", "digits, breast-cancer"),
        ("three", "2 trainings, no report of them yet", "ravine report three"),
        ("four", "1 training, no report of them yet", "ravine report mine --out ravine-out/four"),
    }


def test_a_long_run_is_read_from_its_end(out):
    folder = run(out, "train-a", 1, 9)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind":"steps","loss":[' + "1.0," * 100_000 + "1.0]}\n" + EPOCH.format(7))
    assert kept() == [Kept(folder, "stopped after 7 of 9 epochs", "digits, adam")]


def test_a_full_folder_is_said_and_nothing_is_deleted(out, capsys):
    for number in range(19):
        run(out, f"train-{number}", 1, 1)
    assert many() == ""
    say_written(["loss.png"], out / "train-3", "loss.png")
    assert capsys.readouterr().out == "Wrote loss.png to ravine-out/train-3\nOpen ravine-out/train-3/loss.png\n"
    run(out, "train-19", 1, 1)
    say_written(["loss.png"], out / "train-3", "loss.png")
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("ravine-out has 20 runs and studies: `ravine list` shows them.")
    assert last == "Open ravine-out/train-3/loss.png"
    assert len(kept()) == 20
    say_written(["loss.png"], out.parent / "mine", "loss.png")  # its own folder does not fill ravine-out
    assert capsys.readouterr().out.startswith("Wrote")


def test_it_imports_no_torch(tmp_path):
    script = (
        "import sys; sys.argv = ['ravine', 'list']\nfrom ravine.cli import main\n"
        "try: main()\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\nFalse\n")


@pytest.mark.parametrize("name", ["plot", "diagnose"])
def test_a_study_is_not_taken_for_a_run(out, name):
    folder = folder_of(out, "mine", study__journal='{"op_code":0,"worker_id":"x","study_name":"first"}\n')
    called = importlib.import_module(f"ravine.cli._{name}").command
    error = CliRunner().invoke(called, [str(folder)]).exception
    assert isinstance(error, OptionError)
    assert "is a study of many trainings, not a run" in str(error)
    assert str(error).endswith("ravine report first --out ravine-out/mine")
