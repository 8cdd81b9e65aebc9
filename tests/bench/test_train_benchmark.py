"""benchmarks/train.py on a handful of pictures: it runs to its end and writes what it says it writes."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from forked import TRAINS, run_forked

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "train.py"


@pytest.mark.slow  # the whole script
def test_the_three_loops_take_turns(tmp_path):
    random = np.random.default_rng(0)
    for kind, count in (("train", 130), ("t10k", 10)):
        for what, values in (
            ("images-idx3", random.integers(0, 256, (count, 28, 28), dtype=np.uint8)),
            ("labels-idx1", random.integers(0, 10, count, dtype=np.uint8)),
        ):
            head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
            (tmp_path / f"{kind}-{what}-ubyte").write_bytes(head + values.tobytes())
    arguments = ["--epochs", "2", "--threads", "1", "--data", str(tmp_path), "--json", str(tmp_path / "figures.json")]
    ended = run_forked([SCRIPT, *arguments], after=TRAINS, timeout=120)
    assert ended.returncode in (0, 1), ended.stderr  # 1: a target is missed, as so few pictures may
    assert "Traceback" not in ended.stderr
    (run,) = json.loads((tmp_path / "figures.json").read_text())["runs"]
    assert {name: len(seconds) for name, seconds in run["seconds"].items()} == dict.fromkeys(
        ("tutorial", "careful", "ravine"), 2
    )
    assert all(second > 0 for seconds in run["seconds"].values() for second in seconds)
    heads, row = ended.stdout.splitlines()[-6:], ended.stdout.split()
    assert any("ravine" in line for line in heads)
    assert f"{run['median']['ravine']:.2f}" in row
