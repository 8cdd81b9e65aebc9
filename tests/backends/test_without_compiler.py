"""Where llvmlite cannot be used, torch's operations step: the same numbers, one warning, and ``fused=True`` says why."""

from __future__ import annotations

import subprocess
import sys

import pytest

STEPS = """
import warnings
import torch
from ravine.errors import BackendError
from ravine.optim import Adam, SGD
from ravine.optim._stacked_step import StackedStep

def run(fused):
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(n)) for n in (5, 40)] + [torch.nn.Parameter(torch.randn(3).half())]
    adam, sgd = Adam(params, lr=0.1, clip_norm=1.0, fused=fused), SGD(params, lr=0.1, fused=fused)
    for _ in range(3):
        for p in params:
            p.grad = torch.ones_like(p)
        adam.step()
        sgd.step()
    return params, adam

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    params, adam = run(None)
    torch.nn.Parameter(torch.ones(2))
    alone = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    for p in alone:
        p.grad = torch.ones(3)
    StackedStep([SGD([p], lr=0.5) for p in alone])()
assert all(torch.equal(p, q) for p, q in zip(params, run(False)[0]))
assert all(p.tolist() == [0.5] * 3 for p in alone)
assert adam.watch.last["0"].grad_norm == torch.tensor(5.0).sqrt()
try:
    run(True)
except BackendError as error:
    print(error)
print(len(caught), caught[0].message)
"""


def stub(text):
    """Makes an llvmlite that cannot be imported."""

    def place(folder):
        (folder / "llvmlite").mkdir()
        (folder / "llvmlite" / "__init__.py").write_text(text)

    return place


def absent(folder):
    """Makes Python find no llvmlite."""
    missing = ("llvmlite", "llvmlite.binding")
    (folder / "sitecustomize.py").write_text(f"import sys; sys.modules |= dict.fromkeys({missing})")


def no_target(folder):
    """Makes an LLVM that does not know this processor."""
    (folder / "sitecustomize.py").write_text(
        "import llvmlite.binding as llvm\n"
        "def unknown(*_, **__):\n    raise RuntimeError('no such processor')\n"
        "llvm.Target.create_target_machine = unknown\n"
    )


UNUSABLE = {
    "its library does not load": (
        stub("raise OSError('Could not find libllvmlite.so')"),
        "Could not find libllvmlite.so",
    ),
    "not installed": (absent, "llvmlite cannot be loaded"),
    "it cannot compile": (no_target, "no such processor"),
}


@pytest.mark.slow  # a fresh process, which imports torch
@pytest.mark.parametrize(("place", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_steps_are_those_of_torchs_operations(place, reason, tmp_path, monkeypatch):
    place(tmp_path)
    monkeypatch.setenv("RAVINE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ":".join(p for p in sys.path if p))
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    refused, warned = done.stdout.splitlines()
    assert reason in refused
    assert refused.startswith("no kernel can be had")
    assert warned.startswith("1 no kernel can be had")
    assert reason in warned
    assert warned.endswith("Torch's operations step these tensors, in several passes")
