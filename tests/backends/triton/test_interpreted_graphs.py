"""Steps that a CUDA graph captures, in Triton's interpreter: what is refused, and what a captured step leaves as it was.

There is no graph: ``recording`` says that there is one, and the step then does what it does in a capture.
"""

from __future__ import annotations

import contextlib
import gc
import math
import pickle
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import pytest
import torch
from interpreted_steps import give, parameters
from torch.nn import Parameter

from ravine import backends
from ravine.errors import BackendError
from ravine.formula import amax, maximum, mean, norm, scalar
from ravine.optim import Adam, Optimizer, pieces
from ravine.optim._engine.kernels import captured
from ravine.optim._engine.step_counts import StagedSteps


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
    assert plan is not None
    assert plan.buffer_index == 2
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


class Placed:
    """A batch, as far as a capture asks: tensors on the CPU cannot be on two devices."""

    in_graphs = True

    def __init__(self, device: str | None) -> None:
        self.on_device = None if device is None else torch.device(device)


@pytest.mark.parametrize(
    ("devices", "words"),
    [(("cuda:0", None), "parameters on the CPU"), (("cuda:0", "cuda:1"), r"several devices \(cuda:0, cuda:1\)")],
)
def test_a_capture_of_parameters_in_several_places_is_refused(devices: tuple[str | None, ...], words: str) -> None:
    batches: list[Any] = [Placed(device) for device in devices]
    assert not captured(batches, False)
    with capturing():
        assert captured(batches[:1], False)
        with pytest.raises(BackendError, match=words):
            captured(batches, False)


def test_a_step_of_parameters_here_and_there_is_refused_before_anything_is_written() -> None:
    """Of two groups one counts as a device's."""
    p, q = Parameter(torch.ones(5)), Parameter(torch.ones(5, dtype=torch.float64))
    optimizer = Adam([p, q], lr=0.1)
    p.grad, q.grad = torch.ones(5), torch.ones(5, dtype=torch.float64)
    optimizer.step()
    plan = optimizer._plan
    assert plan is not None
    plan._entries[0].batch.on_device, plan._any_device = torch.device("cpu"), True
    before = p.detach().clone(), q.detach().clone()
    with capturing(), pytest.raises(BackendError, match="parameters on the CPU"):
        optimizer.step()
    assert torch.equal(p, before[0])
    assert torch.equal(q, before[1])
    assert float(optimizer.state[p]["step"]) == 1


def test_each_device_is_asked_for_its_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were two, of which a graph is captured on the second."""
    current = [0]

    @contextlib.contextmanager
    def on(device: torch.device) -> Iterator[None]:
        current[0], before = device.index, current[0]
        yield
        current[0] = before

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[0])
    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: current[0] == 1)
    asked = [backends.recording(torch.device(name)) for name in ("cpu", "cuda:0", "cuda:1")]
    assert asked == [False, False, True]
    assert current == [0]


def memory(optimizer: Optimizer) -> list[weakref.ref[Any]]:
    """What a captured step of it works on."""
    assert optimizer._plan is not None
    (entry,) = optimizer._plan._entries
    batch: Any = entry.batch
    tables = batch._tables
    return [
        weakref.ref(x)
        for x in (batch._numbers, batch._no_skip, batch._figures, tables.address, tables.size, tables.first_chunk)
    ] + [weakref.ref(group) for group in tables.launches]


def another_group(optimizer: Optimizer, params: list[Parameter]) -> None:
    optimizer.add_param_group({"params": [Parameter(torch.ones(3))]})


def scaled(optimizer: Optimizer, params: list[Parameter]) -> None:
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(2.0), torch.tensor(0.0)  # type: ignore[attr-defined]
    optimizer.step()


DROPPING: dict[str, Callable[[Optimizer, list[Parameter]], object]] = {
    "a parameter elsewhere": lambda o, ps: (setattr(ps[0], "data", ps[0].data.clone()), o.step()),
    "a group": another_group,
    "a state dict": lambda o, ps: o.load_state_dict(o.state_dict()),
    "a policy": lambda o, ps: setattr(o, "nonfinite", "skip"),
    "GradScaler": scaled,
}


@pytest.mark.parametrize("change", DROPPING)
def test_the_memory_of_a_captured_step_outlives_its_plan_and_a_warning_says_so(
    change: str, interpreter: None, recwarn: pytest.WarningsRecorder
) -> None:
    params, optimizer = stepped()
    with capturing():
        optimizer.step()
    used = memory(optimizer)
    assert len(used) == 7
    optimizer.step()
    assert not recwarn.list
    DROPPING[change](optimizer, params)
    (warning,) = recwarn.list
    assert "capture again" in str(warning.message)
    gc.collect()
    assert all(each() is not None for each in used)
    optimizer.step()
    assert len(recwarn.list) == 1


def test_a_plan_that_no_graph_captured_is_dropped_whole(interpreter: None) -> None:
    params, optimizer = stepped()
    used = memory(optimizer)
    params[0].data = params[0].data.clone()
    optimizer.step()
    gc.collect()
    assert not any(each() is not None for each in used[:-1])


def test_bytes_moved_leaves_a_captured_step_as_it_is(interpreter: None) -> None:
    params, optimizer = stepped()
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(2.0), torch.tensor(0.0)  # type: ignore[attr-defined]
    optimizer.step()
    plan = optimizer._plan
    del optimizer.grad_scale, optimizer.found_inf  # type: ignore[attr-defined]
    assert optimizer.bytes_moved() == 28 * sum(p.numel() for p in params)
    assert optimizer._plan is plan
    optimizer.step()
    assert optimizer._plan is not plan


def test_groups_of_a_captured_launch_are_kept_when_many_patterns_were_seen(interpreter: None) -> None:
    _, optimizer = stepped()
    with capturing():
        optimizer.step()
    assert optimizer._plan is not None
    batch: Any = optimizer._plan._entries[0].batch
    groups = [weakref.ref(group) for group in batch._tables.launches]
    optimizer._plan._entries[0].batch._tables._places.clear()  # type: ignore[attr-defined]
    batch._launches.clear()
    batch._tables.launches = []
    gc.collect()
    assert groups
    assert all(group() is not None for group in groups)


def test_a_step_of_torchs_operations_in_a_capture_writes_to_no_row_of_the_watch(interpreter: None) -> None:
    """Its replays would write there again, over the figures of another step."""
    _, optimizer = stepped({"fused": False})
    with capturing():
        optimizer.step()
    assert optimizer._plan is not None
    batch: Any = optimizer._plan._entries[0].batch
    assert batch._statistics[:2].any()
    assert not batch._statistics[2:].any()
    assert len(optimizer.watch.history) == 2


def test_counters_of_skipped_steps_are_there_before_a_capture_and_are_not_pickled(interpreter: None) -> None:
    params, optimizer = stepped({"nonfinite": "skip"}, steps=1)
    kept = dict(optimizer._monitor._skips)
    assert {name for name, _ in kept} == {"skipped", "overflowed"}
    params[0].grad[3] = float("nan")  # type: ignore[index]
    with capturing():
        optimizer.step()
    assert all(optimizer._monitor._skips[key] is count for key, count in kept.items())
    with pytest.warns(UserWarning, match="skip"):
        copied = pickle.loads(pickle.dumps(optimizer))
    assert copied.skipped == optimizer.skipped == 1
    assert copied._monitor._skips == {}


def _scaled(per: Literal["tensor", "group"]) -> Callable[..., Any]:
    def rule(update: Any, largest: Any = scalar(0.0, per=per)) -> Any:
        largest = maximum(0.9 * largest, amax(update, over=per))
        return update / largest, largest

    return rule


@pytest.mark.parametrize("kept", [True, False], ids=["a number kept for a group", "torch's operations"])
def test_a_missing_gradient_that_the_host_counts_is_not_captured(kept: bool, interpreter: None) -> None:
    """Which parameters count the step would be copied from the host, once."""
    params = parameters(torch.float32)
    rules = [_scaled("group"), pieces.descend] if kept else [pieces.descend]
    optimizer = Optimizer(params, rules, lr=0.01, fused=None if kept else False)
    for step in range(2):
        give(params, step)
        optimizer.step()
    before = [p.detach().clone() for p in params]
    params[0].grad = None
    with (
        capturing(),
        pytest.raises(BackendError, match="no gradient, if torch's operations make it or the formula keeps"),
    ):
        optimizer.step()
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))
    give(params, 3)
    with capturing():
        optimizer.step()


def test_numbers_kept_for_a_parameter_are_those_of_eager_also_where_a_gradient_is_missing(
    interpreting: Callable[[], AbstractContextManager[None]],
) -> None:
    """A captured step and one that is skipped too: the batch's own kernel reads and writes them."""
    found = []
    for fused in (None, False):
        params = parameters(torch.float32)
        with interpreting():
            rules = [_scaled("tensor"), pieces.descend]
            optimizer = Optimizer(params, rules, lr=0.01, fused=fused, nonfinite="skip")
            for step in range(6):
                give(params, step, [0] if step > 2 else [])
                if step == 5:
                    params[1].grad[:] = torch.inf
                with capturing() if step == 4 and fused is None else nullcontext():
                    optimizer.step()
            if fused is None:
                assert optimizer._plan is not None
                assert isinstance(optimizer._plan._entries[0].steps, StagedSteps)
        kept = [(float(optimizer.state[p]["largest"]), float(optimizer.state[p]["step"])) for p in params]
        found.append((kept, [p.detach().clone() for p in params]))
    (kernel, stepped_by_kernel), (eager, stepped_by_eager) = found
    assert kernel == eager
    assert all(math.isfinite(number) for number, _ in kernel)
    assert [steps for _, steps in kernel] == [3.0, *[5.0] * (len(kernel) - 1)]
    for one, other in zip(stepped_by_kernel, stepped_by_eager, strict=True):
        torch.testing.assert_close(one, other)


def test_sums_of_rows_do_not_read_the_host_in_a_capture(interpreter: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a gradient is missing: a copy would be read again at every replay."""

    def rule(update: Any) -> Any:
        return update / (1 + norm(mean(update, dim=-1)))

    params = parameters(torch.float32, ((3, 4), (5, 2)))
    optimizer = Optimizer(params, [rule, pieces.descend], lr=0.01)
    for step in range(2):
        give(params, step, [1] if step else [])
        optimizer.step()
    monkeypatch.setattr(torch, "from_numpy", lambda array: pytest.fail("it reads the host"))
    with capturing():
        optimizer.step()
