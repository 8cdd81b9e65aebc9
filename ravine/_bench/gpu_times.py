"""Times on a GPU: events around steps on the device. What a step costs the host stands in ``gpu_host_times``.

Candidates of one row step the same parameters and gradients, so that a thousand million elements fit; they take turns.
"""

from __future__ import annotations

import inspect
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from ravine._bench.candidates import as_in_a_long_run, torch_step, torch_ways
from ravine._bench.cases import Configuration
from ravine._bench.measure import Step
from ravine.backends._foreach import Foreach
from ravine.errors import BackendError
from ravine.optim import _registry as registry
from ravine.optim._engine import batches
from ravine.watch._record import APART

#: Milliseconds that one turn lasts at least, and how many turns.
_TURN, _ROUNDS = 10.0, 7
CLIP = 1.0


@dataclass(frozen=True)
class GpuRow:
    """What candidates took in one case.

    Attributes:
        case, optimizer, name, dtype: what was stepped, and by whom: the configuration's label and its class.
        seconds: of a step, by candidate: medians over the turns.
        rate: bytes per second that ours moved; None where memory is no limit.
        stream: bytes per second that ``mul_`` in place moved in the same run.
        failures: why a candidate has no time.
    """

    case: str
    optimizer: str
    name: str
    dtype: str
    seconds: dict[str, float]
    rate: float | None = None
    stream: float | None = None
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures that targets speak of."""
        over = {f"{way} / ours": self.seconds[way] / self.seconds["ravine"] for way in self.seconds if way != "ravine"}
        share = self.rate / self.stream if self.rate and self.stream else None
        return {"share of the stream": share, "ours, us": self.seconds["ravine"] * 1e6, **over}


def on_device(steps: Mapping[str, Step], sparing: Collection[str] = ()) -> dict[str, float]:
    """Seconds that each step takes the device: they take turns, each of some milliseconds, between two events.

    ``sparing``: the candidates of which one step of ``APART`` is looked at in full: their turns have that share of them.
    """
    counts: dict[str, int] = {}
    for name, step in steps.items():
        for _ in range(3):
            step()
        counts[name] = max(1, min(1000, round(_TURN / max(1e-3, _turn(step, 2)))))
        if name in sparing:
            counts[name] = -(-counts[name] // APART) * APART
    turns: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(_ROUNDS):
        for name, step in steps.items():
            turns[name].append(_turn(step, counts[name]) / 1e3)
    return {name: statistics.median(times) for name, times in turns.items()}


def _turn(step: Step, count: int) -> float:
    """Milliseconds of one of so many steps."""
    before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    step()  # while the device is at it, the host gets ahead: no step that is timed waits for its first launch
    before.record()
    for _ in range(count):
        step()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / count


def in_a_long_run(optimizer: torch.optim.Optimizer) -> Step:
    """The step of one of ours, as it is after thousands."""
    optimizer.step()
    return as_in_a_long_run(optimizer)


def stream_rate(elements: int) -> float:
    """Bytes per second that ``mul_`` in place reads and writes."""
    x = torch.ones(elements, device="cuda")
    return 2 * x.nbytes / on_device({"stream": lambda: x.mul_(1.0)})["stream"]


def parameters(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype) -> list[torch.nn.Parameter]:
    """Parameters with small gradients."""
    torch.manual_seed(0)
    params = []
    for shape in shapes:
        p = torch.nn.Parameter(torch.randn(shape, device="cuda", dtype=dtype))
        p.grad = torch.randn(shape, device="cuda", dtype=dtype).mul_(0.01)
        params.append(p)
    return params


def time_steps_on_gpu(
    case: str,
    configuration: Configuration,
    params: Sequence[torch.nn.Parameter],
    stream: float | None,
    measure: Callable[..., dict[str, float]] = on_device,
    **options: Any,
) -> GpuRow:
    """Ours against torch's ways of stepping the same."""
    named = registry.lookup(configuration.label)
    ours = named.cls(params, **{**configuration.options, **options})
    steps: dict[str, Step] = {"ravine": in_a_long_run(ours)}
    failures: dict[str, str] = {}
    for way in torch_ways(configuration):
        if way == "default":
            continue  # on a GPU that is foreach
        try:
            step = torch_step(configuration, params, way)
            step()
            steps[way] = step
        except Exception as error:  # a dtype or an option that torch has no kernel for: said in the row
            failures[way] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    seconds = measure(steps, ["ravine"])
    moved = ours.bytes_moved()
    return GpuRow(
        case,
        configuration.label,
        configuration.name,
        str(params[0].dtype)[6:],
        seconds,
        moved / seconds["ravine"] if stream else None,
        stream,
        failures,
    )


def time_matrices(
    case: str, label: str, matrices: Sequence[tuple[int, ...]], embeddings: Sequence[tuple[int, ...]]
) -> GpuRow:
    """An optimizer of matrices on those of a transformer, AdamW on its embeddings: ours, and torch's two."""
    cls = registry.lookup(label).cls
    params = parameters([*matrices, *embeddings], torch.float32)
    first, rest = params[: len(matrices)], params[len(matrices) :]
    apart = "orthogonalize" in inspect.signature(cls).parameters
    given: Any = [{"params": first}, {"params": rest, "orthogonalize": False}] if apart else params
    ours = cls(given, lr=1e-7)
    steps: dict[str, Step] = {"ravine": in_a_long_run(ours)}
    if (theirs := getattr(torch.optim, cls.__name__, None)) is not None:
        made = [theirs(first if apart else params, lr=1e-7)]
        made += [torch.optim.AdamW(rest, lr=1e-7)] if apart else []
        steps["torch"] = lambda: [one.step() for one in made]
    return GpuRow(case, label, cls.__name__, "float32", on_device(steps, ["ravine"]))


def time_clipping(case: str, params: Sequence[torch.nn.Parameter]) -> GpuRow:
    """AdamW clipped by the norm of all gradients: ours, ours without, and torch's two calls, with each of its loops."""
    cls = registry.lookup("adamw").cls
    ours, alone = cls(params, lr=1e-6, clip_norm=CLIP), cls(params, lr=1e-6)

    def two_calls(fused: bool | None = None) -> Step:
        theirs = torch.optim.AdamW(params, lr=1e-6, fused=fused)

        def step() -> None:
            torch.nn.utils.clip_grad_norm_(params, CLIP)
            theirs.step()

        return step

    steps = {"ravine": in_a_long_run(ours), "alone": in_a_long_run(alone), "clip + default": two_calls()}
    seconds = on_device({**steps, "clip + fused": two_calls(fused=True)}, ["ravine", "alone"])
    return GpuRow(case, "adamw", "AdamW", str(params[0].dtype)[6:], seconds)


def time_without_triton(case: str, name: str, params: Sequence[torch.nn.Parameter]) -> GpuRow:
    """What steps where there is no Triton, torch's operations on lists: the formula's, watched or not, and torch's own."""
    named = registry.lookup(name)
    options = {**named.options, "lr": 1e-6}

    def listed(program: Any, params: Any, states: Any, grad_dtype: Any, fused: Any, buffer_size: int) -> Foreach:
        return Foreach(program, params, states, buffer_size)

    plain, watched = named.cls(params, watch=False, **options), named.cls(params, **options)
    with mock.patch.object(batches, "kernel_batch", listed):
        plain.step()
        in_a_long_run(watched)
    theirs = torch_step(Configuration(name, named.cls.__name__, options), params, "foreach")
    seconds = on_device({"ravine": plain.step, "watched": watched.step, "foreach": theirs}, ["watched"])
    return GpuRow(case, name, named.cls.__name__, str(params[0].dtype)[6:], seconds)


def time_watch(case: str, name: str, params: Sequence[torch.nn.Parameter]) -> GpuRow:
    """The watch on (``ravine``) and off."""
    cls = registry.lookup(name).cls
    steps = {"ravine": in_a_long_run(cls(params, lr=1e-6)), "off": cls(params, lr=1e-6, watch=False).step}
    return GpuRow(case, name, cls.__name__, str(params[0].dtype)[6:], on_device(steps, ["ravine"]))


def time_graph(case: str, name: str, count: int, elements: int) -> GpuRow:
    """A step that a CUDA graph replays: ours, and torch's ways."""
    cls = registry.lookup(name).cls
    params = parameters([(elements,)] * count, torch.float32)
    made: dict[str, torch.optim.Optimizer] = {"ravine": cls(params, lr=1e-6)}
    made["foreach"] = getattr(torch.optim, cls.__name__)(params, lr=1e-6, capturable=True, foreach=True)
    if "fused" in torch_ways(Configuration(name, cls.__name__, {})):
        made["fused"] = getattr(torch.optim, cls.__name__)(params, lr=1e-6, capturable=True, fused=True)
    steps: dict[str, Step] = {}
    for way, optimizer in made.items():
        for _ in range(3):
            optimizer.step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            optimizer.step()
        steps[way] = graph.replay
    steps["no graph"] = made["ravine"].step
    return GpuRow(case, name, cls.__name__, "float32", on_device(steps))


def time_addresses(case: str, name: str, elements: int, tensors: int) -> GpuRow:
    """Tensors anywhere in flat buffers, and gradients half of which are 0, against aligned ones."""
    cls, sizes = registry.lookup(name).cls, [elements // tensors] * tensors

    def flat(offset: int) -> list[Tensor]:
        buffer = torch.randn(sum(sizes) + tensors * 4 + 4, device="cuda").mul_(0.01)
        return [buffer[i * (sizes[0] + 4) + offset :][: sizes[0]] for i in range(tensors)]

    def made(offset: int, zeros: bool = False) -> Step:
        params = [torch.nn.Parameter(v) for v in flat(offset)]
        for p, g in zip(params, flat(offset), strict=True):
            p.grad = g.mul_(torch.rand_like(g) > 0.5) if zeros else g
        return in_a_long_run(cls(params, lr=1e-6))

    steps = {"ravine": made(0), "unaligned": made(1), "half zero": made(0, zeros=True)}
    seconds = on_device(steps, list(steps))
    return GpuRow(case, name, cls.__name__, "float32", seconds)


def time_first_step_on_gpu(name: str) -> GpuRow:
    """Seconds of the first step in fresh processes, with an empty cache of Triton's (``ravine``) and a warm one."""
    code = (
        "import sys, time, torch, triton\n"
        "from ravine.optim import _registry as registry\n"
        "import ravine.backends.triton._language, triton.compiler\n"
        "p = torch.nn.Parameter(torch.ones(1000, device='cuda')); p.grad = torch.ones_like(p)\n"
        "torch.optim.SGD([p]).step(); torch.cuda.synchronize()\n"
        "start = time.perf_counter()\n"
        "registry.lookup(sys.argv[1]).cls([p]).step(); torch.cuda.synchronize()\n"
        "print(time.perf_counter() - start)\n"
    )
    seconds = []
    with tempfile.TemporaryDirectory(prefix="ravine-bench-") as folder:
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", code, name],
                env={**os.environ, "TRITON_CACHE_DIR": folder},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                last = " ".join(done.stderr.strip().splitlines()[-1:])
                raise BackendError(f"the first step of {name} failed in a new process: {last}")
            seconds.append(float(done.stdout))
    cls = registry.lookup(name).cls
    return GpuRow("first step", name, cls.__name__, "float32", {"ravine": seconds[0], "warm": seconds[1]})
