"""Step counts: set by hand, and in memory that processes share (asynchronous actor-critic)."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch.nn import Parameter

import ravine.optim
from ravine.optim._stacked_step import StackedStep


def shared_adam(library, shape=(), fused=None):
    """Two parameters and an Adam whose states other processes see."""
    params = [Parameter(torch.ones(3, dtype=torch.float64).share_memory_()) for _ in range(2)]
    optimizer = library.Adam(params, lr=0.1, fused=fused)
    for p in params:
        optimizer.state[p] = {
            "step": torch.zeros(shape).share_memory_(),
            "exp_avg": torch.zeros_like(p).detach().share_memory_(),
            "exp_avg_sq": torch.zeros_like(p).detach().share_memory_(),
        }
    return params, optimizer


def work(params, optimizer, steps):
    torch.set_num_threads(1)
    for _ in range(steps):
        for i, p in enumerate(params):
            p.grad = torch.full_like(p, i + 1.0) if i == 0 or steps > 1 else None
        optimizer.step()


def in_processes(start, params, optimizer, plan=(2, 1, 3)):
    for steps in plan:
        worker = mp.get_context(start).Process(target=work, args=(params, optimizer, steps))
        worker.start()
        worker.join()
        assert worker.exitcode == 0


@pytest.mark.parametrize(
    ("start", "shape", "fused", "plan", "wanted"),
    [
        ("fork", (), None, (2, 1, 3), [9, 7]),
        ("fork", (1,), False, (2, 1, 3), [9, 7]),
        # Slow: each process imports torch, and so there are two, and torch's own optimizer steps in forked ones.
        pytest.param("spawn", (), None, (3,), [6, 5], marks=pytest.mark.slow),
    ],
)
def test_workers_share_the_count_and_so_the_numbers_of_torch(start, shape, fused, plan, wanted):
    runs = []
    for library in (torch.optim, ravine.optim):
        params, optimizer = shared_adam(library, shape, fused if library is ravine.optim else None)
        counts = [optimizer.state[p]["step"] for p in params]
        how = start if library is ravine.optim else "fork"
        in_processes(how, params, optimizer, plan)
        work(params, optimizer, 2)  # and this process knows what the others did
        in_processes(how, params, optimizer, (1,))
        assert [optimizer.state[p]["step"] for p in params] == counts
        assert all(a is optimizer.state[p]["step"] for a, p in zip(counts, params, strict=True))
        assert [float(c) for c in counts] == wanted
        runs.append([p.detach() for p in params])
    assert all(torch.allclose(a, b, rtol=1e-12, atol=0) for a, b in zip(*runs, strict=True))


def test_counts_that_are_shared_after_some_steps_are_shared_from_then_on():
    """As ``init_state()``, or a first step, and then ``share_memory_()`` of every state."""
    params = [Parameter(torch.ones(3).share_memory_()) for _ in range(2)]
    optimizer = ravine.optim.Adam(params, lr=0.1)
    work(params, optimizer, 2)
    for states in optimizer.state.values():
        for tensor in states.values():
            tensor.share_memory_()
    in_processes("fork", params, optimizer)
    work(params, optimizer, 2)
    assert [float(optimizer.state[p]["step"]) for p in params] == [10, 9]
    saved = optimizer.state_dict()
    assert [float(s["step"]) for s in saved["state"].values()] == [10, 9]


def test_copies_of_shared_counts_go_their_own_way_as_torchs():
    for library in (torch.optim, ravine.optim):
        params, optimizer = shared_adam(library)
        work(params, optimizer, 2)
        other = copy.deepcopy(optimizer)
        work(params, optimizer, 2)
        assert [float(s["step"]) for s in other.state.values()] == [2, 2]


@pytest.mark.parametrize(
    "count",
    [4, 4.0, np.int64(4), np.float32(4), torch.tensor(4), torch.tensor([4.0]), torch.tensor(4.0).double()],
    ids=repr,
)
@pytest.mark.parametrize("fused", [None, False])
def test_a_count_set_by_hand_is_the_number_of_steps_made(count, fused):
    """Before the first step, and in mid run: the bias correction of the next step is that of step 5."""
    p, q = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    ours, theirs = ravine.optim.Adam([p], lr=0.1, fused=fused), torch.optim.Adam([q], lr=0.1)
    states = {"exp_avg": torch.full((3,), 0.5), "exp_avg_sq": torch.full((3,), 0.5)}
    for stage in range(2):
        ours.state[p] = {"step": count, **copy.deepcopy(states)} if stage == 0 else ours.state[p]
        theirs.state[q] = {"step": torch.tensor(4.0), **copy.deepcopy(states)} if stage == 0 else theirs.state[q]
        ours.state[p]["step"], theirs.state[q]["step"] = count, torch.tensor(4.0)
        for optimizer, parameter in ((ours, p), (theirs, q)):
            for _ in range(2):
                parameter.grad = torch.tensor([1.0, -2.0, 3.0])
                optimizer.step()
        assert torch.allclose(p, q, rtol=1e-6)
        assert float(ours.state[p]["step"]) == float(theirs.state[q]["step"]) == 6
    assert ours.state_dict()["state"][0]["step"] == 6


def test_a_count_that_is_added_to():
    p = Parameter(torch.ones(3))
    optimizer = ravine.optim.Adam([p], lr=0.1)
    for _ in range(2):
        p.grad = torch.ones(3)
        optimizer.step()
        optimizer.state[p]["step"] += 10
    assert float(optimizer.state[p]["step"]) == 22


def test_several_optimizers_in_one_step_keep_shared_counts():
    made = [shared_adam(ravine.optim) for _ in range(2)]
    for params, _ in made:
        for p in params:
            p.grad = torch.ones_like(p)
    counts = [o.state[p]["step"] for params, o in made for p in params]
    StackedStep([o for _, o in made])()
    assert [float(c) for c in counts] == [1.0] * 4
