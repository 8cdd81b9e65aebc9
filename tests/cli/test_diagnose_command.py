"""``ravine diagnose``: healthy and faulty runs from their folders, wrong folders, and text that is not what it seems."""

import os
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from ravine._files import checkpoint
from ravine.cli import main
from ravine.cli._diagnose import command, show
from ravine.diagnose import Evidence, diagnose
from ravine.errors import DataError, OptionError
from ravine.watch._history import FIGURES, History

HOSTILE = "[red]block[/red].\x1b[31mweight"


def run_command(*arguments):
    result = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def evidence(names, stepped):
    """Of 200 steps; parameters that were not stepped had no gradient."""
    history = History(
        tuple(names),
        (10,) * len(names),
        np.array([1, 101]),
        np.array([100, 200]),
        **{name: np.full((2, len(names)), 1e-3) for name in FIGURES if name not in ("steps", "nonfinite")},
        nonfinite=np.zeros((2, len(names))),
        steps=np.array([[100.0 * made for made in stepped]] * 2),
    )
    return Evidence(
        optimizer="Adam",
        losses=2 * np.exp(-np.arange(200) / 30),
        history=history,
        dims=(2,) * len(names),
        dtypes=("float32",) * len(names),
        trained=(True,) * len(names),
    )


@pytest.fixture
def healthy(tmp_path):
    evidence(["weight"], [True]).save(tmp_path)
    return tmp_path


@pytest.fixture
def faulty(tmp_path):
    evidence(["weight", HOSTILE], [True, False]).save(tmp_path)
    return tmp_path


def test_a_healthy_run(healthy):
    text = run_command(healthy)
    assert text.startswith("No problem found in 200 steps\n")
    assert run_command(healthy / "watch.safetensors") == text


def test_a_faulty_run_has_the_finding_its_evidence_and_what_to_try(faulty):
    text = run_command(faulty)
    assert text.startswith("1 problem found in 200 steps\n\n1. Parameters that never get a gradient\n")
    assert "had no gradient in any of 200 steps" in text
    assert "Try: Check that forward uses them" in text


def test_what_stands_in_a_name_is_shown_and_not_obeyed(faulty):
    shown = "[red]block[/red].\N{REPLACEMENT CHARACTER}[31mweight had no gradient"
    assert shown in run_command(faulty)
    with open(os.devnull, "w") as nowhere:
        terminal = Console(force_terminal=True, width=70, record=True, file=nowhere, color_system="truecolor")
        show(diagnose(faulty), terminal)
    text = terminal.export_text(styles=False)
    assert shown in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 70
    assert "   Try: Check that" in text


def test_a_run_is_found_by_its_name_in_the_list(healthy, monkeypatch):
    monkeypatch.chdir(healthy.parent)
    kept = healthy.parent / "ravine-out"
    kept.mkdir(exist_ok=True)
    (kept / "train-mine").symlink_to(healthy)
    (healthy.parent / "train-mine").mkdir(exist_ok=True)  # another folder of that name does not hide it
    assert run_command("train-mine") == run_command("ravine-out/train-mine") == run_command(healthy)


@pytest.mark.parametrize("given", ["compare-digits", "ravine-out/compare-digits", "compare-digit"])
def test_a_study_is_answered_with_what_shows_it(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, file in (("compare-digits", "study.journal"), ("train-digits", "metrics.jsonl")):
        (tmp_path / "ravine-out" / folder).mkdir(parents=True)
        (tmp_path / "ravine-out" / folder / file).touch()
    with pytest.raises(OptionError) as error:
        run_command(given)
    said = str(error.value)
    if given == "compare-digit":
        assert said.startswith("There is no run compare-digit. Did you mean ravine-out/compare-digits?")
    else:
        assert said.startswith("ravine-out/compare-digits is a study of many trainings, not a run.")
        assert said.endswith("ravine report compare-digits")


@pytest.mark.parametrize("content", [b"", b"nothing", b"\xff" * 1000])
def test_a_damaged_file(tmp_path, content):
    (tmp_path / "watch.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"watch\.safetensors"):
        run_command(tmp_path)


@pytest.mark.parametrize(
    "tree", [{"model": 1}, [1], {"evidence": {}}, {"evidence": {"history": {}, "later": 1}}, {"evidence": 3}]
)
def test_a_file_of_something_else(tmp_path, tree):
    checkpoint.save(tmp_path / "watch.safetensors", tree)
    with pytest.raises(DataError, match="not the evidence of a run"):
        run_command(tmp_path)


def test_a_folder_without_a_run_is_said_in_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ravine", "diagnose", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"ravine: There is no {tmp_path / 'watch.safetensors'}")
    assert len(error.splitlines()) == 1
