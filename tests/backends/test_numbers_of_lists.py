"""The numbers of steps on lists: nothing is read from the device, wherever a learning rate and the step counts are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from no_reading import no_reading
from on_lists import count_from_numbers
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode

from ravine.formula import norm, scalar
from ravine.optim import NAdam, Optimizer
from ravine.optim import _registry as registry
from ravine.optim._engine.alike import Alike
from ravine.optim._engine.step_counts import DeviceSteps, StagedSteps

pytestmark = pytest.mark.usefixtures("lists")
#: The host decides whether a step renews their factors, and for that they may wait (docs/gpu.md).
WAIT = {"shampoo", "soap", "psgdkron"}
RATES = {
    "host": lambda step: 0.01,
    "device": lambda step: torch.tensor(0.01),
    "later": lambda step: 0.01 if step < 2 else torch.tensor(0.01),
}


def stepped(name: str, rate: str, monkeypatch: pytest.MonkeyPatch | None, **options: Any) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    params = [Parameter(torch.randn(s, generator=generator)) for s in ((4, 3), (5,), ())]
    named = registry.lookup(name)
    optimizer = named.cls(params, **{"lr": 0.01, **named.options, **options})
    for step in range(5):
        for i, p in enumerate(params):
            grad = torch.randn(p.shape, generator=generator)
            p.grad = None if step in (1, 3) and i == step // 2 else grad
        if "lr" in optimizer.param_groups[0]:
            optimizer.param_groups[0]["lr"] = RATES[rate](step)
        if monkeypatch is None or step in (0, 2):  # the counts with which a plan is made are on the host
            optimizer.step()
            continue
        with no_reading(
            monkeypatch, allowed=["numpy", "_local_scalar_dense"]
        ):  # counts on the host; _foreach_add there
            optimizer.step()
    return [p.detach() for p in params]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", registry.names())
def test_a_rate_on_the_device_and_missing_gradients(name: str, rate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in WAIT:
        pytest.skip("the host decides")
    for options in ({}, {"clip_norm": 0.5}):
        found = stepped(name, rate, monkeypatch, **options)
        wanted = stepped(name, "host", None, fused=False, **options)
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


class Numbers(TorchDispatchMode):
    """Numbers on the device that an operation on a list is given: of another dtype than the list, or one for each tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: list[str] = []

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        name = function.__name__
        if name.startswith("_foreach") and not name.startswith(("_foreach_copy", "_foreach_norm")):
            tensors = args[0]
            for other in args[1:]:
                if isinstance(other, torch.Tensor) and other.dtype is not tensors[0].dtype:
                    self.slow.append(name)
                if isinstance(other, list) and any(
                    isinstance(o, torch.Tensor) and o.shape != t.shape for o, t in zip(other, tensors, strict=True)
                ):
                    self.slow.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "options",
    [{"clip_norm": 0.5}, {"nonfinite": "skip"}, {"clip_norm": 0.5, "nonfinite": "skip"}, {"lr": torch.tensor(0.01)}],
    ids=["clipped", "skipping", "both", "rate"],
)
@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw", "radam", "nadam", "asgd", "lion"])
def test_torch_launches_no_operation_for_each_tensor(name: str, options: dict[str, Any]) -> None:
    params = [Parameter(torch.ones(n)) for n in (3, 4, 5)]
    named = registry.lookup(name)
    optimizer = named.cls(params, **{"lr": 0.01, **named.options, **options})
    count_from_numbers(optimizer)
    for _ in range(7):
        for p in params:
            p.grad = torch.ones_like(p)
        with Numbers() as numbers:
            optimizer.step()
    assert numbers.slow == []


def test_kept_numbers_follow_a_rate_that_becomes_a_tensor() -> None:
    found = []
    for late in (False, True):
        p = Parameter(torch.ones(3))
        optimizer: Optimizer = NAdam([p], lr=0.1)
        for step in range(4):
            p.grad = torch.full((3,), 1.0 + step)
            if late and step == 2:
                optimizer.param_groups[0]["lr"] = torch.tensor(0.1)
            optimizer.step()
        found.append([p.detach(), optimizer.state[p]["mu_product"].double(), optimizer.state[p]["step"].double()])
    torch.testing.assert_close(*found)


def mixed(param, *, grad, lr, step):
    """A number of a sum and a count."""
    return param - lr * grad / (norm(grad) * step + 1)


def grown(param, kept=scalar(1.0), *, grad, lr):
    """A kept number that depends on neither."""
    return param - lr * kept * grad, 2 * kept


def own(param, kept=scalar(1.0), *, grad, lr):
    """One that depends on a sum of each tensor."""
    return param - lr * kept * grad, norm(grad) + 0 * kept


@pytest.mark.parametrize("options", [{}, {"nonfinite": "skip"}], ids=str)
@pytest.mark.parametrize("missing", [None, 1])
@pytest.mark.parametrize("formula", [mixed, grown, own])
def test_numbers_of_sums_and_counts(formula: Any, missing: int | None, options: dict[str, Any]) -> None:
    params = [Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = Optimizer(params, formula, lr=0.1, **options)
    count_from_numbers(optimizer)
    values, steps, kept = [1.0, 1.0], [0, 0], [1.0, 1.0]
    for step in range(4):
        for i, p in enumerate(params):
            if i == 1 and step == missing:
                p.grad = None
                continue
            grad = 1.0 + i + step
            p.grad = torch.full((3,), grad)
            steps[i] += 1
            size = math.sqrt(3) * grad
            values[i] -= 0.1 * grad * (1 / (size * steps[i] + 1) if formula is mixed else kept[i])
            kept[i] = 2 * kept[i] if formula is grown else size
        optimizer.step()
    assert [p.tolist() for p in params] == [pytest.approx([value] * 3, rel=1e-5) for value in values]


@pytest.mark.parametrize("per", ["tensor", "group"])
def test_a_number_of_the_host_that_is_kept_is_not_copied(per: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """From memory that is not pinned a copy waits: ``torch.full`` writes it there."""

    def late(param, last=scalar(0.0, per=per), *, grad, lr):
        return param - last * grad, lr

    p = Parameter(torch.ones(3))
    optimizer = Optimizer([p], late, lr=0.25, nonfinite="skip")
    for step in range(3):
        p.grad = torch.ones(3)
        with monkeypatch.context() as patch:
            if step:
                patch.setattr(torch, "as_tensor", lambda *_, **__: pytest.fail("a copy waits"))
            optimizer.step()
    assert p.tolist() == [0.5] * 3


def test_counts_that_are_alike_stay_so_in_a_new_plan() -> None:
    params = [Parameter(torch.ones(n)) for n in (2, 3)]
    optimizer = NAdam(params, lr=0.1, nonfinite="skip")
    count_from_numbers(optimizer)
    late = Parameter(torch.ones(4))
    for step in range(6):
        if step == 2:
            optimizer.add_param_group({"params": [late]})
        for p in (*params, late):
            p.grad = torch.ones_like(p)
        if step == 4:
            params[1].grad = None
        with Numbers() as numbers:
            optimizer.step()
        assert bool(numbers.slow) is (step >= 4)  # from there on the two have other counts


def test_what_is_known_to_be_alike() -> None:
    three, one = torch.full((2,), 3.0), torch.ones(2)
    assert Alike(three, [3.0, 3.0])
    assert Alike(one, [1.0, 1.0])
    views, others = three.unbind(), one.unbind()
    new = torch.empty(2)
    assert Alike(new, views)
    assert not Alike(new, [views[0], others[0]])  # each is alike with others
    assert not Alike(new, [views[0], views[1].clone()])
    assert not Alike(new, [3.0, 1.0])
    views[1].add_(1)
    assert not Alike(new, views)


def test_counts_that_kernels_raised_are_not_known_to_be_alike() -> None:
    states: list[dict[str, Any]] = [{"step": 0.0}, {"step": 0.0}]
    raised = StagedSteps(states, torch.device("cpu"))
    raised._tensor.numpy()[1] += 1  # as a kernel does, of which torch does not know
    assert DeviceSteps(states, torch.device("cpu")).next(None).tolist() == [1, 2]
