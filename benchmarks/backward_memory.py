"""Peak memory of training steps with ``in_backward()`` and without, on a GPT of 12 layers.

Each case is a process of its own; what it had in memory before the model was made does not count. glibc is told to give memory
back as soon as it is free (``MALLOC_MMAP_THRESHOLD_``), in all cases: else it keeps a part of what gradients have left.

Run: ``python benchmarks/backward_memory.py [--width 384] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

LAYERS, WORDS, LENGTH = 12, 1000, 32
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "AdamW": ("AdamW", {}),
    "AdamW, bfloat16 states": ("AdamW", {"state_dtype": "bfloat16"}),
    "RMSprop": ("RMSprop", {}),
    "SGD": ("SGD", {"lr": 1e-3}),
}


def peak(name: str, options: dict[str, Any], width: int, inside: bool) -> float:
    """MB above what was in memory before, after three steps."""
    import torch
    from torch import nn

    import ravine.optim

    torch.manual_seed(0)
    warm = nn.Linear(2, 2)
    optimizer = getattr(ravine.optim, name)(warm.parameters(), **options)
    warm(torch.ones(1, 2)).sum().backward()
    optimizer.step()  # what is imported at the first step is no part of it
    before = _kilobytes("VmRSS")
    layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
    net = nn.Sequential(nn.Embedding(WORDS, width), nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False))
    net.append(nn.Linear(width, WORDS))
    del layer
    optimizer = getattr(ravine.optim, name)(net.parameters(), **options)
    if inside:
        optimizer.in_backward()
    words = torch.randint(WORDS, (1, LENGTH))
    for _ in range(3):
        nn.functional.cross_entropy(net(words)[0, :-1], words[0, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
    return (_kilobytes("VmHWM") - before) / 1024


def _kilobytes(row: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=768, help="of the model")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(peak(*json.loads(chosen.child))))
        return
    print(f"{'MB at the peak':<28}{'after':>8}{'inside':>8}{'ratio':>7}")
    rows = []
    for title, (name, options) in CASES.items():
        made = []
        for inside in (False, True):
            child = json.dumps([name, options, chosen.width, inside])
            command = [sys.executable, __file__, "--child", child]
            environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 18)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            made.append(float(done.stdout))
        rows.append({"case": title, "after": made[0], "inside": made[1], "ratio": made[1] / made[0]})
        print(f"{title:<28}{made[0]:8.0f}{made[1]:8.0f}{made[1] / made[0]:7.2f}", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps({"width": chosen.width, "layers": LAYERS, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
