"""Steps with states and parameters of 16 and 8 bits against float32, on 20 tensors of a million elements.

All take turns in one run; ratios of medians to the float32 states of the same optimizer, and the bytes that a step moves for each
element.

Run: ``python benchmarks/narrow_states.py [--rounds 15] [--threads 2] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from ravine import optim
from ravine._bench.machine import facts

WAYS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"state_dtype": "bfloat16"},
    "bfloat16, stochastic": {"state_dtype": "bfloat16", "rounding": "stochastic"},
    "8bit, nearest": {"state_dtype": "8bit", "rounding": "nearest"},
    "8bit": {"state_dtype": "8bit"},
}
#: Of parameters and gradients in bfloat16.
PARAMS: dict[str, dict[str, Any]] = {
    "bfloat16, 32 bits": {"param_bits": 32},
    "bfloat16, 24 bits": {"param_bits": 24},
    "bfloat16, 24 bits, 8bit": {"param_bits": 24, "state_dtype": "8bit"},
    "bfloat16, stochastic, 8bit": {"param_bits": "stochastic", "state_dtype": "8bit"},
}
TENSORS, SIZE = 20, 1_000_000


def prepared(name: str, options: dict[str, Any]) -> optim.Optimizer:
    """An optimizer that has made its first steps."""
    torch.manual_seed(0)
    dtype = torch.bfloat16 if "param_bits" in options else torch.float32
    params = [torch.nn.Parameter(torch.randn(SIZE).to(dtype)) for _ in range(TENSORS)]
    for p in params:
        p.grad = torch.randn(SIZE).to(dtype)
    made: optim.Optimizer = getattr(optim, name)(params, lr=1e-4, watch=False, **options)
    for _ in range(2):
        made.step()
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    made = {
        (name, way): prepared(name, options) for name in ("Adam", "RMSprop", "Lion") for way, options in WAYS.items()
    }
    made |= {("Adam", f"param: {way}"): prepared("Adam", options) for way, options in PARAMS.items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in made}
    for _ in range(chosen.rounds):
        for key, optimizer in made.items():
            began = time.perf_counter()
            optimizer.step()
            times[key].append(time.perf_counter() - began)
    rows = []
    print(f"{'':<10}{'states':<36}{'bytes':>6}{'ms':>8}{'ratio':>7}")
    for (name, way), each in times.items():
        median, base = statistics.median(each), statistics.median(times[name, "float32"])
        moved = made[name, way].bytes_moved() / (TENSORS * SIZE)
        rows.append({"optimizer": name, "states": way, "bytes": moved, "ms": median * 1e3, "ratio": median / base})
        print(f"{name:<10}{way:<36}{moved:>6.0f}{median * 1e3:>8.2f}{median / base:>7.2f}")
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": facts(), "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
