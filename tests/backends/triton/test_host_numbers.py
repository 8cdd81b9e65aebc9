"""Which numbers of a device's step the host knows: functions that decide by them do not wait."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from interpreted_steps import Context, close, give
from torch.nn import Parameter

from ravine.formula import norm, scalar, tensor_function, where
from ravine.optim import Optimizer, pieces


def counted(seen: list[type], follows_norm: bool) -> Any:
    """A rule whose function doubles the update in every third step, by a number that the formula keeps."""

    @tensor_function(batched=True)
    def doubled(x: Any, due: Any) -> Any:
        seen.append(type(due))
        return 2 * x if due else 1 * x

    def rule(update: Any, since: Any = scalar(0.0), *, every: Any) -> Any:
        since = since + (where(norm(update) > 0, 1, 0) if follows_norm else 1)
        due = where(since >= every, 1, 0)
        return doubled(3 * update, due), (1 - due) * since

    return rule


def matrices() -> list[Parameter]:
    return [Parameter(torch.ones(3, 2, dtype=torch.float64)) for _ in range(2)]


@pytest.mark.parametrize("follows_norm", [False, True])
def test_numbers_that_a_formula_keeps_are_kept_on_the_host_too(follows_norm: bool, interpreting: Context) -> None:
    """Where they follow from what the host knows: not from a norm."""
    seen: list[type] = []
    one, other = matrices(), matrices()
    kernels = Optimizer(one, [counted(seen, follows_norm), pieces.descend], lr=0.1, every=3.0)
    eager = Optimizer(other, [counted([], follows_norm), pieces.descend], lr=0.1, every=3.0, fused=False)
    for step in range(14):
        missing = [1] if step == 10 else []
        give(one, step, missing)
        give(other, step, missing)
        for optimizer, params in ((kernels, one), (eager, other)):
            if step == 5:  # written by the user, in place
                for p in params:
                    optimizer.state[p]["since"].fill_(1.0)
            if step == 8:
                optimizer.param_groups[0]["every"] = 2.0
        with interpreting():
            kernels.step()
        eager.step()
        close(kernels, eager, 1e-12)
    known = [kind is float for kind in seen]
    # From the step on in which a gradient was missing, the two tensors are not alike.
    assert known == ([False] * len(known) if follows_norm else [True] * 10 + [False] * (len(known) - 10))


def test_a_step_that_may_be_skipped_leaves_what_is_kept_to_the_device(interpreting: Context) -> None:
    seen: list[type] = []
    params = matrices()
    optimizer = Optimizer(params, [counted(seen, False), pieces.descend], lr=1.0, every=3.0, nonfinite="skip")
    before = [p.detach().clone() for p in params]
    for step in range(6):
        for p in params:
            p.grad = torch.full((3, 2), float("nan") if step in (1, 2) else 1.0, dtype=torch.float64)
        with interpreting():
            optimizer.step()
    # Four steps were made, of which the third is doubled; each is 3 * grad.
    for p, b in zip(params, before, strict=True):
        torch.testing.assert_close(b - p.detach(), torch.full((3, 2), 15.0, dtype=torch.float64))
    assert not any(kind is float for kind in seen[1:])


def test_a_kept_number_that_follows_from_a_tensor_is_the_devices(interpreting: Context) -> None:
    """On the host that hyperparameter is unknown, and a comparison with what is unknown looks like an answer."""
    seen: list[type] = []

    @tensor_function(batched=True)
    def doubled(x: Any, due: Any) -> Any:
        seen.append(type(due))
        return 2 * x if due else 1 * x

    def rule(update: Any, flag: Any = scalar(0.0), *, high: Any) -> Any:
        return doubled(3 * update, flag), where(high > 0.5, 1, 0)

    one, other = matrices(), matrices()
    kernels, eager = (
        Optimizer(params, [rule, pieces.descend], lr=0.1, high=torch.tensor(1.0), fused=fused)
        for params, fused in ((one, None), (other, False))
    )
    for step in range(3):
        give(one, step)
        give(other, step)
        with interpreting():
            kernels.step()
        eager.step()
        close(kernels, eager, 1e-12)
