"""``ravine bench`` as it is called."""

import io
import json
import os
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from rich.table import Table

from ravine._bench.endurance import Endurance
from ravine._bench.first_step import FirstStep
from ravine._plotting.progress_lines import ProgressLines
from ravine.cli import _bench, _cpu_bench
from ravine.errors import OptionError


def run(*arguments):
    return CliRunner().invoke(_bench.command, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def long_parts(monkeypatch):
    """First steps and endurance that take no time; a test may change what they find."""
    found = {"empty": 1.0, "warm": 0.1, "kernels": 0}
    monkeypatch.setattr(
        _cpu_bench, "time_first_step", lambda c, rounds: FirstStep(c.label, c.name, found["empty"], found["warm"])
    )
    monkeypatch.setattr(
        _cpu_bench, "endure", lambda c: Endurance(c.label, c.name, 10_000, 4e-5, found["kernels"], 0, 0, 0)
    )
    return found


def test_a_tiny_real_run_and_its_json(tmp_path):
    file = tmp_path / "bench.json"
    threads = torch.get_num_threads()
    result = run("--case", "62x100", "-o", "adam", "--rounds", 2, "--threads", 1, "--json", file)
    assert result.exit_code == 0
    assert "62 tensors of 100" in result.output
    assert torch.get_num_threads() == threads
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert figures["machine"]["threads"] == 1
    assert figures["dtype"] == "float32"
    [row] = figures["steps"]
    assert (row["case"], row["optimizer"], row["bytes_moved"]) == ("62x100", "adam", 28 * 6200)
    assert {"ravine", "default", "foreach", "fused"} == set(row["timings"])
    ratio = row["timings"]["fused"]["median"] / row["timings"]["ravine"]["median"]
    assert row["figures"]["torch fused"] == pytest.approx(ratio)


def test_first_steps_and_endurance_alone(long_parts):
    first = run("--first-step", "-o", "sgd", "--rounds", 1)
    assert "1.00 s" in first.output
    assert "steps, a new learning rate" not in first.output
    assert "10,000 steps" in run("--endurance", "-o", "sgd").output


def test_met_targets_exit_0_and_a_missed_one_1(long_parts):
    met = run("--targets", "--first-step", "-o", "rmsprop")
    assert (met.exit_code, "MISSED" in met.output) == (0, False)
    long_parts["warm"] = 0.5
    missed = run("--targets", "--first-step", "-o", "rmsprop")
    assert (missed.exit_code, missed.output.count("MISSED")) == (1, 1)
    long_parts["kernels"] = 1
    assert run("--targets", "--endurance", "-o", "rmsprop").exit_code == 1


def test_rounds_of_step_times_are_not_those_of_first_steps(monkeypatch, long_parts):
    seen = []
    make = _cpu_bench.time_first_step
    monkeypatch.setattr(_cpu_bench, "time_first_step", lambda c, rounds: seen.append(rounds) or make(c, rounds=rounds))
    run("--first-step", "-o", "sgd", "--rounds", 3)
    run("--first-step", "-o", "sgd")
    run("--targets", "--case", "62x100", "-o", "sgd", "--rounds", 2)
    assert seen == [3, 1, 1]


def test_targets_alone_run_all_parts(long_parts, monkeypatch):
    seen = []

    def refuse(case, configuration, **options):
        seen.append(case.name)
        raise OptionError("far enough")

    monkeypatch.setattr(_cpu_bench, "time_steps", refuse)
    with pytest.raises(OptionError, match="far enough"):
        run("--targets", "-o", "adam")
    assert seen == ["20x1M"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "admw"], "Did you mean 'adamw'"),
        (["mlp"], "mlp is a case, not a task: ravine bench --case mlp"),
        (["--case", "resnet"], "Did you mean 'resnet18'"),
        (["--endurance", "--case", "mlp"], "--case is for step times"),
        (["--endurance", "--rounds", "3"], "--rounds is for step times"),
        (["--first-step", "--compile"], "--compile is for step times"),
        (["--targets", "--dtype", "float64"], "for float32"),
        (["--json", "no/such/folder/file.json"], "no folder"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_runs(arguments, message):
    with pytest.raises(OptionError, match=message):
        run(*arguments)


def test_a_table_fits_a_narrow_terminal_without_breaking_a_word():
    made = Table(title="62 tensors")
    rows = ["sgd", "42.0 µs", "1,132 µs", "558 µs"], ["adam", "52.0 µs", "2,132 µs", "658 µs"]
    for head in ("optimizer", "ravine", "default", "foreach"):
        made.add_column(head, no_wrap=True)
    for row in rows:
        made.add_row(*row)
    for width in (100, 60, 30, 20):
        console = Console(file=io.StringIO(), width=width)
        _cpu_bench._print(console, made)
        text = console.file.getvalue()
        assert max(map(len, text.splitlines())) <= width
        assert all(word in text for row in rows for cell in row for word in cell.split())


def test_without_a_terminal_there_is_a_line_now_and_then(capsys, monkeypatch):
    now = 0.0

    def measure(configuration):
        nonlocal now
        now += 6.0
        return configuration

    monkeypatch.setattr(_cpu_bench, "ProgressLines", lambda: ProgressLines(lambda: now))
    assert _cpu_bench._each(["a", "b", "c", "d"], measure, "step times: {}") == ["a", "b", "c", "d"]
    assert capsys.readouterr() == ("", "step times:  (3 of 4)\n")


#: What a machine with a GPU may lack: it has torch, Triton, NumPy, click, rich and this project.
_LACKING = [
    "llvmlite",
    "matplotlib",
    "optuna",
    "platformdirs",
    "plotly",
    "pooch",
    "PIL",
    "safetensors",
    "scipy",
    "sklearn",
]


def test_a_gpu_is_measured_without_what_the_cpu_needs():
    """Here as far as the error that there is none."""
    code = f"""
import sys
sys.modules.update(dict.fromkeys({_LACKING}))
sys.argv = ["ravine", "bench", "--device", "cuda"]
import ravine.__main__
"""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "--device cuda: torch sees no CUDA device here" in found.stderr, found.stderr
