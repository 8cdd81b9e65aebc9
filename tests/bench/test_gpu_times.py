"""What is timed on a GPU, as far as a CPU can tell."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ravine._bench import gpu_times
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
