"""What a step does where numbers stay with the tensors: on a device, here stood in for by tensors on the CPU or on meta.

Nothing in a step may wait for the device: no number is read on the host. And the numbers are those of the host.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from no_reading import between_addresses, no_reading
from torch import Tensor
from torch.nn import Parameter

from ravine import backends
from ravine.errors import BackendError, OptionError, ParameterError
from ravine.optim import Adam, Optimizer, RMSprop, pieces
from ravine.optim import _registry as registry
from ravine.optim._engine import prepare


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on the CPU count as a device's."""
    monkeypatch.setattr(backends, "on_host", lambda device: False)


def some(seed: int = 0) -> list[Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [Parameter(torch.randn(shape, generator=generator)) for shape in ((5, 3), (7,), (), (0,))]


def give(params: list[Parameter], step: int, value: float | None = None) -> None:
    generator = torch.Generator().manual_seed(step)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator)
    if value is not None:
        params[1].grad[3] = value  # type: ignore[index]


def scaled(optimizer: Optimizer, scale: float, found: float) -> None:
    """What GradScaler does to an optimizer that takes its scale."""
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(scale), torch.tensor(found)  # type: ignore[attr-defined]


def trust(update: Any, *, param: Any) -> Any:
    from ravine.formula import norm

    return update * norm(param) / (norm(update) + 1e-3)


def made(params: list[Parameter], **options: Any) -> Optimizer:
    """Norms of each tensor and of all, a state, a count of steps, clipping."""
    return Optimizer(
        params, [trust, pieces.momentum, pieces.descend], lr=0.1, momentum=0.9, clip_norm=0.5, fused=False, **options
    )


OPTIMIZERS = {
    "norms": made,
    "adam": lambda params, **kw: Adam(params, lr=0.01, clip_norm=1.0, weight_decay=0.1, fused=False, **kw),
    "ema": lambda params, **kw: RMSprop(params, lr=0.01, ema_decay=0.9, fused=False, **kw),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("policy", ["propagate", "skip"])
def test_no_step_reads_a_number_on_the_host(name, policy, on_device, monkeypatch):
    params = some()
    optimizer = OPTIMIZERS[name](params, nonfinite=policy)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    for step in range(6):
        give(params, step)
        if step:
            params[0].grad = None if step == 3 else params[0].grad  # a gradient that is missing changes the counts
        scaled(optimizer, 8.0, float(step == 4))
        with no_reading(monkeypatch):
            optimizer.step()
            optimizer._monitor.flush(optimizer._plan)
        scheduler.step()
    assert optimizer.watch.overflowed == 1
    assert optimizer.watch.last["1"].grad_norm > 0


@pytest.mark.parametrize("device", [False, True])
def test_a_skipped_step_has_a_place_in_the_history_of_a_device_only(device, monkeypatch):
    """As docs/watch.md says."""
    if device:
        monkeypatch.setattr(backends, "on_host", lambda device: False)
    params = some()
    optimizer = RMSprop(params, nonfinite="skip", fused=False)
    for step in range(3):
        give(params, step, float("nan") if step == 1 else None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer.step()
            assert optimizer.watch.skipped == (step >= 1)
    history = optimizer.watch.history
    assert history.steps[:, 0].tolist() == ([1, 0, 1] if device else [1, 1])
    assert optimizer.watch.steps == len(history)


def test_a_step_on_meta_has_nothing_to_read(monkeypatch):
    """No value exists there, so what would wait for a device raises."""
    monkeypatch.setattr(prepare, "_check", lambda *_: None)
    params = [Parameter(torch.zeros(s, device="meta")) for s in ((3, 2), (4,))]
    lr = torch.zeros((), device="meta")
    optimizer = Adam(params, lr=0.1, clip_norm=1.0, nonfinite="skip")
    optimizer.param_groups[0]["lr"] = lr
    for _ in range(3):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.grad_scale = torch.zeros((), device="meta")
        optimizer.found_inf = torch.zeros((), device="meta")
        optimizer.step()
    assert optimizer.state[params[0]]["exp_avg"].device.type == "meta"
    assert optimizer.state[params[0]]["step"].device.type == "meta"


def run(make: Any, **options: Any) -> tuple[list[Tensor], Optimizer]:
    params = some()
    optimizer = make(params, **options)
    for step in range(8):
        give(params, step, float("nan") if step == 5 and options.get("nonfinite") == "skip" else None)
        if step == 3:
            params[0].grad = None
        scaled(optimizer, 4.0, float(step == 2))
        if step == 6:
            optimizer.param_groups[0]["lr"] = 0.03
        optimizer.step()
    states = [optimizer.state[p][n] for p in params for n in sorted(optimizer.state[p])]
    return [p.detach().clone() for p in params] + [t.detach().clone() for t in states], optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("policy", ["propagate", "skip"])
@pytest.mark.filterwarnings("ignore:nonfinite='skip'")
def test_the_numbers_are_those_of_the_host(name, policy, monkeypatch):
    wanted, host = run(OPTIMIZERS[name], nonfinite=policy)
    monkeypatch.setattr(backends, "on_host", lambda device: False)
    got, device = run(OPTIMIZERS[name], nonfinite=policy)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    assert device.watch.overflowed == host.watch.overflowed == 1
    assert device.watch.skipped == host.watch.skipped == (1 if policy == "skip" else 0)
    assert device.watch.last["1"].grad_norm == pytest.approx(host.watch.last["1"].grad_norm, rel=1e-6)


@pytest.mark.parametrize("name", [n for n in registry.names() if "-" not in n])
def test_every_optimizer_gives_the_numbers_of_the_host(name, monkeypatch):
    named = registry.lookup(name)

    def make(params: list[Parameter], **options: Any) -> Optimizer:
        return named.cls(params, **{**named.options, "lr": 0.05, "fused": False, **options})

    wanted, _ = run(make)
    monkeypatch.setattr(backends, "on_host", lambda device: False)
    got, _ = run(make)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_raise_waits_and_writes_nothing(on_device):
    params = some()
    optimizer = OPTIMIZERS["adam"](params, nonfinite="raise")
    give(params, 0)
    optimizer.step()
    before = [p.detach().clone() for p in params]
    give(params, 1, float("inf"))
    with pytest.raises(ArithmeticError, match=r"parameter 1 of group 0 \(shape \(7,\)\) has 1 of 7"):
        optimizer.step()
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))
    assert float(optimizer.state[params[1]]["step"]) == 1


def test_after_raise_the_next_steps_go_on(on_device):
    """Also where the step that was refused filled the last place for statistics."""
    params = some()
    optimizer = OPTIMIZERS["adam"](params, nonfinite="raise")
    give(params, 0)
    optimizer.step()
    buffer_size = optimizer._plan.buffer_size
    for step in range(1, 2 * buffer_size):
        give(params, step, float("nan") if step % buffer_size == buffer_size - 1 else None)
        if step % buffer_size == buffer_size - 1:
            with pytest.raises(ArithmeticError):
                optimizer.step()
        else:
            optimizer.step()
    assert float(optimizer.state[params[1]]["step"]) == 2 * buffer_size - 2


def test_an_overflow_that_gradscaler_found_is_not_raised(on_device):
    params = some()
    optimizer = OPTIMIZERS["adam"](params, nonfinite="raise")
    give(params, 0, float("inf"))
    scaled(optimizer, 8.0, 1.0)
    optimizer.step()
    assert optimizer.watch.overflowed == 1
    assert optimizer.watch.skipped == 0


def test_a_rate_of_several_numbers_is_refused(on_device):
    params = some()
    optimizer = OPTIMIZERS["adam"](params)
    optimizer.param_groups[0]["lr"] = torch.ones(3)
    give(params, 0)
    with pytest.raises(OptionError, match="lr="):
        optimizer.step()


def test_a_rate_on_the_device_is_followed_where_it_is(on_device, monkeypatch):
    params, lr = some(), torch.tensor(0.1)
    optimizer = RMSprop(params, lr=0.1, fused=False)
    optimizer.param_groups[0]["lr"] = lr
    give(params, 0)
    optimizer.step()
    lr.zero_()
    before = [p.detach().clone() for p in params]
    give(params, 1)
    with no_reading(monkeypatch):
        optimizer.step()
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))


@pytest.mark.usefixtures("on_device")
@pytest.mark.parametrize("which", ["", "the gradient of ", "state exp_avg of ", "state exp_avg_sq.scale of "])
def test_an_address_in_the_middle_of_an_element_is_an_error_by_name(which):
    p = Parameter(torch.ones(100, 50))
    if not which:
        p = Parameter(between_addresses(p.detach()))
    p.grad = torch.ones(100, 50)
    optimizer = Adam([p], state_dtype={"exp_avg_sq": "8bit"})
    if "gradient" in which:
        p.grad = between_addresses(p.grad)
    if "state" in which:
        optimizer.step()
        name = which.split()[1]
        optimizer.state[p][name] = between_addresses(optimizer.state[p][name])
    before = p.detach().clone()
    with pytest.raises(ParameterError, match=f"^{which}parameter 0 of group 0 .*middle of an element.*clone"):
        optimizer.step()
    assert torch.equal(p, before)


def test_raising_in_a_graph_is_refused_before_anything_is_written(on_device, monkeypatch):
    p = Parameter(torch.ones(5))
    p.grad = torch.ones(5)
    optimizer = Adam([p], nonfinite="raise", fused=False)
    optimizer.step()
    before = p.detach().clone()
    monkeypatch.setattr(backends, "recording", lambda device: True)
    with pytest.raises(BackendError, match="nonfinite='raise' .*graph"):
        optimizer.step()
    assert torch.equal(p, before)


@pytest.mark.parametrize("device", [False, True])
@pytest.mark.filterwarnings("ignore:nonfinite")
def test_steps_that_were_left_out_are_counted_for_schedulers(device, monkeypatch):
    if device:
        monkeypatch.setattr(backends, "on_host", lambda device: False)
    p = Parameter(torch.ones(5))
    optimizer = Adam([p], lr=0.1, nonfinite="skip", watch=False)
    counts = []
    for bad in (0.0, math.nan, 0.0, math.inf, math.nan):
        p.grad = torch.ones(5) + bad
        optimizer.step()
        counts.append(optimizer.skipped)
    optimizer.found_inf = torch.tensor(1.0)
    p.grad = torch.ones(5)
    optimizer.step()
    del optimizer.found_inf
    assert [*counts, optimizer.skipped] == [0, 1, 1, 2, 3, 4]


def test_capturable_is_accepted_and_changes_nothing():
    results = []
    for capturable in (False, True):
        p = Parameter(torch.ones(5))
        p.grad = torch.ones(5)
        Adam([p], lr=0.1, capturable=capturable).step()
        results.append(p.detach())
    assert torch.equal(*results)


def test_fused_says_what_the_device_lacks_before_what_a_gradient_does(on_device, monkeypatch):
    monkeypatch.setattr(prepare, "why_not", lambda tensor: "Triton is not installed: pip install triton")
    p = Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    with pytest.raises(
        BackendError, match=r"parameter 0 .*: Triton is not installed: pip install triton\. Use fused=None"
    ):
        Adam([p], fused=True).step()
