"""A run with narrow states and parameters that is killed between steps, and goes on from its last file."""

from __future__ import annotations

import sys

import pytest
import torch
from forked import run_forked

_TRAINS = """
import os, signal, sys, torch
from ravine.optim import AdamW
folder, stop = sys.argv[1], int(sys.argv[2])
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 600), torch.nn.Tanh(), torch.nn.Linear(600, 16)).bfloat16()
optimizer = AdamW(model.parameters(), lr=1e-3, param_bits=24, state_dtype="8bit")
first = 0
if os.path.exists(folder + "/saved.pt"):
    saved = torch.load(folder + "/saved.pt", weights_only=True)
    model.load_state_dict(saved["model"]); optimizer.load_state_dict(saved["optimizer"]); first = saved["step"]
for step in range(first, 12):
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(step)).bfloat16()
    model(x).square().mean().backward()
    optimizer.step(); optimizer.zero_grad()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, folder + "/new.pt")
    os.replace(folder + "/new.pt", folder + "/saved.pt")
    if step == stop:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow  # processes that train
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_run_that_is_killed_between_steps_goes_on_bit_for_bit(tmp_path):
    (tmp_path / "train.py").write_text(_TRAINS)
    ends = {}
    for name, stops in (("whole", [99]), ("killed", [4, 8, 99])):
        folder = tmp_path / name
        folder.mkdir()
        codes = [run_forked([str(tmp_path / "train.py"), str(folder), str(stop)]).returncode for stop in stops]
        assert codes == [*[-9] * (len(stops) - 1), 0]
        ends[name] = torch.load(folder / "saved.pt", weights_only=True)
    whole, killed = ends["whole"], ends["killed"]
    for name, value in whole["model"].items():
        assert torch.equal(value, killed["model"][name])
    for i, kept in whole["optimizer"]["state"].items():
        for name, value in kept.items():
            assert torch.equal(value, killed["optimizer"]["state"][i][name]), (i, name)
