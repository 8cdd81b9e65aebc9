"""``ravine bench --device cuda``: which cases are timed on a GPU, what must hold, and a table of it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch

import ravine
from ravine._bench import gpu_times as times
from ravine._bench.candidates import orthogonalizes
from ravine._bench.cases import Configuration
from ravine._bench.gpu_host_times import time_host
from ravine._bench.gpu_times import GpuRow
from ravine._bench.targets import SpeedTarget, Verdict, evaluate
from ravine.errors import OptionError
from ravine.optim import Optimizer
from ravine.optim import _registry as registry

#: Elements of the large case, in how many tensors; a device with less memory gets fewer.
_ELEMENTS, _TENSORS = 1 << 30, 16
#: A rate at which thousands of steps change little.
_QUIET = 1e-7

# Where a target names no class it holds for every optimizer that has the figure: a way of torch is timed where torch has it.
GPU_TARGETS = (
    SpeedTarget("large", "share of the stream", 0.90),
    SpeedTarget("large", "fused / ours", 1.0, tie=0.02),
    SpeedTarget("large", "foreach / ours", 2.4, ("RMSprop",)),
    SpeedTarget("300 small", "foreach / ours", 5.0, ("RMSprop",)),
    # Both of torch's calls as a user writes them. With its fused loop it can be no more than 1.4: the bytes say so.
    SpeedTarget("clipping", "clip + default / ours", 2.0),
    SpeedTarget("clipping", "alone / ours", 0.8),
    SpeedTarget("matrices", "foreach / ours", 1.0),
    SpeedTarget("gpt", "torch / ours", 1.0),
    SpeedTarget("no Triton", "foreach / ours", 1.0, tie=0.03),
    SpeedTarget("no Triton 62", "foreach / ours", 1.0, ("RMSprop", "AdamW"), tie=0.05),
    SpeedTarget("watch", "off / ours", 1 / 1.05),
    SpeedTarget("addresses", "unaligned / ours", 1.1, at_most=True),
    SpeedTarget("addresses", "half zero / ours", 1.05, at_most=True),
    SpeedTarget("host 62", "ours, us", 60, at_most=True),
    SpeedTarget("host 62", "upload, us", 80, at_most=True),
    SpeedTarget("host 500", "ours, us", 350, at_most=True),
    SpeedTarget("graph 62", "foreach / ours", 1.0),
    SpeedTarget("first step", "ours, us", 3e6, at_most=True),
    SpeedTarget("first step", "warm, us", 0.3e6, at_most=True),
)


class _Named:
    """A row as ``evaluate`` sees it, with the figures in microseconds that host times are judged by."""

    def __init__(self, row: GpuRow) -> None:
        self.case, self.optimizer, self.name = row.case, f"{row.optimizer} {row.dtype}", row.name
        self.figures = {**row.figures, **{f"{k}, us": v * 1e6 for k, v in row.seconds.items() if k != "ravine"}}


def elements_here(wanted: int | None) -> int:
    """Elements of the large case: at most an eighth of the free memory, in float32."""
    free = torch.cuda.mem_get_info()[0]
    return wanted or min(_ELEMENTS, free // 32 // _TENSORS * _TENSORS)


def run(names: Sequence[str], elements: int | None, say: Callable[[str], None]) -> tuple[list[GpuRow], list[Verdict]]:
    """Time everything; each row is said as soon as it is there.

    Raises:
        OptionError: there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise OptionError("--device cuda: torch sees no CUDA device here")
    say(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, ravine {ravine.__version__}")
    count = elements_here(elements)
    stream = times.stream_rate(count)
    say(f"memory stream: {stream / 1e9:.0f} GB/s (mul_ in place on {count:,} float32)")
    rows = []
    for row in _rows(names, count, stream):
        rows.append(row)
        say(line(row))
        gc.collect()
        torch.cuda.empty_cache()
    return rows, evaluate([_Named(row) for row in rows], GPU_TARGETS)


def _made(label: str) -> Optimizer:
    named = registry.lookup(label)
    return named.cls([torch.zeros(2, 2, requires_grad=True)], **named.options)


def of_matrices(label: str) -> bool:
    """Whether an optimizer does something else with matrices: on long rows of numbers it is AdamW, or something near it."""
    optimizer = _made(label)
    return optimizer.program(ndim=2) != optimizer.program(ndim=1)


def by_case(labels: Sequence[str]) -> dict[str, list[str]]:
    """Which of these optimizers are timed in a case of vectors (``large``) and in those of matrices.

    ``matrices`` has those that kernels step alone, ``gpt`` what torch has too, and what orthogonalizes.
    """
    matrices = [label for label in labels if of_matrices(label)]
    configured = {label: _configuration(label) for label in matrices}
    return {
        "large": [label for label in labels if label not in matrices],
        "matrices": [
            label for label in matrices if not any(each.calls for each in _made(label).program(ndim=2).passes)
        ],
        "gpt": [label for label, one in configured.items() if hasattr(torch.optim, one.name) or orthogonalizes(one)],
    }


def _gpt2() -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The matrices of twelve transformer blocks of width 768, and two embeddings."""
    width = 768
    block: list[tuple[int, ...]] = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)]
    return block * 12, [(50_304, width), (1024, width)]


def _configuration(label: str, **options: Any) -> Configuration:
    named = registry.lookup(label)
    return Configuration(label, named.cls.__name__, {**named.options, **options})


def _rows(names: Sequence[str], count: int, stream: float) -> Iterator[GpuRow]:
    timed = by_case([name for name in registry.names() if registry.lookup(name).timed])
    shapes = [(count // _TENSORS,)] * _TENSORS
    for dtype in (torch.float32, torch.bfloat16):
        params = times.parameters(shapes, dtype)
        for name in names or timed["large"]:
            yield times.time_steps_on_gpu("large", _configuration(name, lr=_QUIET), params, stream)
        if not names:
            for name in ("rmsprop", "adam"):
                yield times.time_watch("watch", name, params)
            if dtype is torch.float32:
                yield times.time_clipping("clipping", params)
                part = params[: max(1, len(params) // 4)]
                for name in ("rmsprop", "sgd", "adamw"):
                    yield times.time_without_triton("no Triton", name, part)
        del params
    if names:
        return
    side = int((count // _TENSORS) ** 0.5) // 128 * 128
    matrices = times.parameters([(side, side)] * _TENSORS, torch.float32)
    for name in timed["matrices"]:
        yield times.time_steps_on_gpu("matrices", _configuration(name, lr=_QUIET), matrices, stream)
    del matrices
    for name in timed["gpt"]:
        yield times.time_matrices("gpt", name, *_gpt2())
    yield times.time_addresses("addresses", "rmsprop", count // 4, 16)
    small = times.parameters([(1000,)] * 300, torch.float32)
    for label in ("rmsprop", "adamw"):
        yield times.time_steps_on_gpu("300 small", _configuration(label, lr=1e-6), small, None)
    small = times.parameters([(100,)] * 62, torch.float32)
    for label in ("rmsprop", "sgd", "adamw"):
        yield times.time_without_triton("no Triton 62", label, small)
    for tensors in (62, 500):
        for label in ("rmsprop", "adamw"):
            yield time_host(f"host {tensors}", label, tensors, 100)
    for label in ("rmsprop", "adamw"):
        yield times.time_graph("graph 62", label, 62, 100)
    for label in ("adamw", "rmsprop"):
        yield times.time_first_step_on_gpu(label)


def _duration(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us" if seconds < 1e-3 else f"{seconds * 1e3:.3f} ms"


def line(row: GpuRow) -> str:
    """A row in one line."""
    taken = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in row.seconds.items())
    share = row.figures["share of the stream"]
    more = [f"{share:.3f} of the stream"] if share else []
    more += [f"{key} {value:.2f}" for key, value in row.figures.items() if key.endswith("/ ours") and value]
    more += [f"{way}: {why}" for way, why in row.failures.items()]
    return f"{row.case:10s} {row.optimizer:18s} {row.dtype:8s} {taken}; {', '.join(more)}"


def verdict_lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """What was held against the targets, the missed ones marked."""
    for v in verdicts:
        if v.value is not None:
            bound = f"{'at most' if v.target.at_most else 'at least'} {v.target.bound:.3g}"
            word = "met" if v.met else "MISSED"
            yield f"{word:6s} {v.target.case:10s} {v.target.figure:22s} {bound:16s} {v.optimizer}: {v.value:.3g}"


def as_json(rows: Sequence[GpuRow], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Everything that was measured, for ``json.dump``: times in seconds, rates in bytes/s."""
    import triton

    properties = torch.cuda.get_device_properties(0)
    machine = {
        "device": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "memory": properties.total_memory,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "ravine": ravine.__version__,
    }
    return {
        "machine": machine,
        "rows": [{**asdict(row), "figures": row.figures} for row in rows],
        "targets": [{**asdict(v), "met": v.met} for v in verdicts],
    }
