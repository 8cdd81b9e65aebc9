"""What is timed on a GPU, as far as a CPU can tell."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ravine._bench import gpu_bench, gpu_host_times, gpu_times
from ravine._bench.cases import Configuration


def test_a_way_of_torch_that_fails_in_its_step_is_said_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's fused Adagrad can be made for a GPU, and raises when it steps."""

    def step_of(configuration: Any, params: Any, way: str) -> Any:
        def fails() -> None:
            raise RuntimeError("`fused=True` requires other tensors\nand more")

        return fails if way == "fused" else lambda: None

    monkeypatch.setattr(gpu_times, "torch_step", step_of)
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    timed: list[str] = []

    def measure(steps: Any, sparing: Any) -> dict[str, float]:
        timed.extend(steps)
        return dict.fromkeys(steps, 1e-3)

    row = gpu_times.time_steps_on_gpu("large", Configuration("adagrad", "Adagrad", {"lr": 0.1}), [p], None, measure)
    assert timed == ["ravine", "foreach"]
    assert row.failures == {"fused": "RuntimeError: `fused=True` requires other tensors"}


def test_which_optimizers_are_timed_on_matrices_is_asked_of_their_formulas() -> None:
    labels = ["adafactor", "adamw", "came", "muon", "normuon", "rmsprop-centered", "soap", "sparseadam", "stableadamw"]
    assert gpu_bench.by_case(labels) == {
        "large": ["adamw", "rmsprop-centered", "sparseadam", "stableadamw"],
        "matrices": ["adafactor", "came"],
        "gpt": ["adafactor", "muon", "normuon"],
    }


def test_a_target_without_names_holds_for_those_that_have_the_figure() -> None:
    rows = [
        gpu_times.GpuRow("large", "adamw", "AdamW", "float32", {"ravine": 1.0, "fused": 0.5, "foreach": 2.0}),
        gpu_times.GpuRow("large", "lion", "Lion", "float32", {"ravine": 1.0}),
    ]
    target = next(t for t in gpu_bench.GPU_TARGETS if (t.case, t.figure) == ("large", "fused / ours"))
    assert [(v.optimizer, v.met) for v in gpu_bench.evaluate([*map(gpu_bench._Named, rows)], [target])] == [
        ("adamw float32", False)
    ]


def test_on_the_host_contenders_take_turns_and_what_they_prepare_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only steps and preparations move."""
    clock, order = 0.0, list[str]()

    def act(name: str, seconds: float) -> None:
        nonlocal clock
        clock += seconds
        order.append(name)

    monkeypatch.setattr(gpu_host_times.time, "perf_counter", lambda: clock)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("waited"))
    turns = gpu_host_times.on_host(
        {"a": lambda: act("a", 1.0), "b": lambda: act("b", 2.0)}, {"b": lambda: act("moved", 8.0)}
    )
    of_a, of_b = ["waited", "a"] * gpu_host_times._STEPS, ["moved", "waited", "b"] * gpu_host_times._STEPS
    assert order == (of_a + of_b) * (gpu_host_times._TURNS + gpu_host_times._UNCOUNTED)
    shape = gpu_host_times._TURNS, gpu_host_times._STEPS
    assert torch.equal(torch.tensor(turns["a"]), torch.full(shape, 1.0))
    assert torch.equal(torch.tensor(turns["b"]), torch.full(shape, 2.0))
