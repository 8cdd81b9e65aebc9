"""Schedule-Free optimizers against their authors' package (``pip install schedulefree``): the time of a step, in turns.

Run: ``python benchmarks/schedule_free.py [--case 20x1M] [--rounds 15] [--threads 2]``. It prints our time and how many times as long
the package's step takes, with ``foreach`` (its default) and without.
"""

from __future__ import annotations

import argparse
import importlib

import torch

from ravine._bench.candidates import gradients, parameters
from ravine._bench.cases import CASES
from ravine._bench.measure import alternate
from ravine.optim import AdamWScheduleFree, SGDScheduleFree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case", choices=CASES, action="append", help="which tensors; repeatable (default: 20x1M, 62x100)"
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    package = importlib.import_module("schedulefree")
    for name in options.case or ["20x1M", "62x100"]:
        case = CASES[name]
        grads = gradients(case, torch.float32)
        for ours in (AdamWScheduleFree, SGDScheduleFree):
            theirs = getattr(package, ours.__name__)
            made = {
                "ours": ours(parameters(case, grads), lr=1e-3),
                "foreach": theirs(parameters(case, grads), lr=1e-3, foreach=True),
                "loop": theirs(parameters(case, grads), lr=1e-3, foreach=False),
            }
            for optimizer in made.values():
                if hasattr(optimizer, "train"):
                    optimizer.train()
                optimizer.step()
            found = alternate({way: optimizer.step for way, optimizer in made.items()}, options.rounds)
            ratios = ", ".join(f"{way} {found[way].median / found['ours'].median:.2f}" for way in ("foreach", "loop"))
            print(
                f"{case.title}: {ours.__name__} {found['ours'].median * 1e3:.3f} ms; times as long: {ratios}",
                flush=True,
            )


if __name__ == "__main__":
    main()
