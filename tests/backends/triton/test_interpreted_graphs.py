"""Steps that a CUDA graph captures, in Triton's interpreter: what is refused, and what a captured step leaves as it was.

There is no graph: ``recording`` says that there is one, and the step then does what it does in a capture.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
from interpreted_steps import give, parameters
from torch.nn import Parameter

from ravine import backends
from ravine.errors import BackendError
from ravine.optim import Adam, Optimizer


@contextlib.contextmanager
def capturing() -> Iterator[None]:
    """What is in here is captured, as far as it asks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "recording", lambda device: True)
        yield


def stepped(options: dict[str, object] | None = None, steps: int = 2) -> tuple[list[Parameter], Optimizer]:
    params = parameters(torch.float32)
    optimizer = Adam(params, lr=0.01, **(options or {}))  # type: ignore[arg-type]
    for step in range(steps):
        give(params, step)
        optimizer.step()
    return params, optimizer


def test_a_capture_for_which_a_plan_would_have_to_be_made_is_refused_and_loses_nothing(interpreter: None) -> None:
    params, optimizer = stepped()
    _, other = stepped()
    plan, kept = optimizer._plan, params[0].data
    assert plan is not None and plan.buffer_index == 2
    params[0].data = kept.clone()
    with capturing(), pytest.raises(BackendError, match="before these parameters were stepped"):
        optimizer.step()
    assert optimizer._plan is plan
    assert plan.buffer_index == 2  # nothing was combined inside the capture
    params[0].data = kept
    assert optimizer.watch.last["0"] == other.watch.last["0"]
    optimizer.step()
    assert optimizer._plan is plan


def test_an_error_while_a_plan_is_asked_leaves_it_to_be_asked_again(interpreter: None) -> None:
    params, optimizer = stepped()
    plan = optimizer._plan
    optimizer.param_groups[0]["betas"] = (2.0, 0.9)
    with pytest.raises(ValueError, match="betas"):
        optimizer.step()
    optimizer.param_groups[0]["betas"] = (0.9, 0.999)
    optimizer.step()
    assert optimizer._plan is plan
    assert float(optimizer.state[params[0]]["step"]) == 3
