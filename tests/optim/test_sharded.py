"""Parameters split over two processes (``fully_shard``, tensor parallelism) against one process that has them whole.

Not: that torch splits models rightly, or GPUs. Two processes run ``sharded_worker.py`` once for all tests here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("torch.distributed")
if not torch.distributed.is_available() or sys.platform == "win32":
    pytest.skip("needs torch.distributed with gloo", allow_module_level=True)

import kinds
import sharded_worker
from forked import PIPE, Forked
from sharded_cases import CASES, KEPT, NARROW, STEPS, everything, load, model, narrow, rows, save, train, watched
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

from ravine.errors import StateError
from ravine.optim import Adam, RMSprop

#: Slow: two processes, which wait for each other at every step.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

#: The sums of a gradient over a batch have other roundings on two processes, and the steps carry them on: up to 2e-6 and
#: 4e-15 of the largest element were seen. A shard forgotten or counted twice shows in the first digits.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
SECONDS = 240
IMPORTED = (
    "pytest",
    "torch.distributed.checkpoint.state_dict",
    "torch.distributed.fsdp",
    "torch.distributed.tensor.parallel",
    "torch._dynamo",
)


def one_process(name: str) -> tuple[Any, Any]:
    made = model(name)
    return made, CASES[name](made.parameters())


def whole_run(name: str) -> dict[str, torch.Tensor]:
    made, optimizer = one_process(name)
    train(made, optimizer, range(STEPS))
    return everything(made, optimizer)


def assert_same(found: Any, wanted: dict[str, torch.Tensor]) -> None:
    assert isinstance(found, dict), found
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].shape == value.shape
        assert found[name].dtype == value.dtype
        error = float((found[name] - value).abs().max())
        of_gradients = wanted[name.partition(" ")[0]].dtype  # numbers are doubles, made of what the gradients are
        assert error <= TOLERANCE[of_gradients] * float(value.abs().max()), name


class Results(dict[str, Any]):
    """By name: tensors, None or the traceback of a failure, after which nothing more was run."""

    def __missing__(self, name: str) -> Any:
        failed = [other for other, found in self.items() if isinstance(found, str)]
        return f"{name} was not reached, because {failed} failed"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def one() -> dict[str, dict[str, torch.Tensor]]:
    """What one process finds, by case."""
    return {name: whole_run(name) for name in CASES}


@pytest.fixture(scope="module")
def one_narrow(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """What one process saved of narrow states and parameters, by name."""
    found = {}
    for name in NARROW:
        made = rows(name)
        optimizer = narrow(name, made)
        train(made, optimizer, range(3))
        with alone():
            save(made, optimizer, folder / f"one {name}")
        found[name] = everything(made, optimizer)
    return found


@pytest.fixture(scope="module")
def two(folder: Path, one: dict[str, Any], one_narrow: dict[str, Any]) -> dict[str, Any]:
    """What two processes found, by name, after one process has left its checkpoints, and its kernels in the cache."""
    for name in KEPT:
        made, optimizer = one_process(name)
        train(made, optimizer, range(STEPS // 2))
        with alone():
            save(made, optimizer, folder / f"one {name}")
    # Signals of an outer launcher (torchrun) are not for these processes.
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
    env["PYTHONPATH"] = os.pathsep.join([kinds.__file__.rpartition(os.sep)[0], *filter(None, [env.get("PYTHONPATH")])])
    processes = [
        Forked([sharded_worker.__file__, str(rank), "2", folder], after=IMPORTED, env=env, stderr=PIPE, text=True)
        for rank in range(2)
    ]
    try:
        errors = [p.communicate(timeout=SECONDS)[1] for p in processes]
    finally:
        for p in processes:
            p.kill()
            p.wait()
    assert [p.returncode for p in processes] == [0, 0], errors
    first, second = (torch.load(folder / f"results-{rank}.pt", weights_only=True) for rank in range(2))
    failures = {name: found for name, found in second.items() if isinstance(found, str)}
    return Results(
        {**first, **{name: f"{first.get(name)}\nThe second process:\n{found}" for name, found in failures.items()}}
    )


def alone() -> Any:
    return pytest.warns(UserWarning, match="single process")


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(name, one, two):
    assert_same(two[name], one[name])


@pytest.mark.parametrize("name", [*sharded_worker.WATCHED, "ddp"])
def test_figures_are_those_of_the_whole_tensors(name, two):
    case = "float64" if name == "ddp" else name
    made, optimizer = one_process(case)
    train(made, optimizer, range(STEPS))
    found, wanted = two[f"watched {name}"], watched(optimizer)
    assert isinstance(found, dict), found
    for figure, values in wanted.items():
        assert torch.allclose(found[figure], values, rtol=1e-10 if case == "float64" else 1e-4, equal_nan=True), figure


@pytest.mark.parametrize("name", KEPT)
def test_a_checkpoint_of_two_processes_goes_on_in_one(name, two, folder):
    made, optimizer = one_process(name)
    with alone():
        load(made, optimizer, folder / f"two {name}")
    train(made, optimizer, range(STEPS // 2, STEPS))
    assert_same(two[f"two {name}"], everything(made, optimizer))
    assert_same(two[f"two {name}"], whole_run(name))


@pytest.mark.parametrize("name", KEPT)
def test_a_checkpoint_of_one_process_goes_on_in_two(name, two):
    assert_same(two[f"one {name}"], whole_run(name))


@pytest.mark.parametrize("name", NARROW)
def test_narrow_states_go_to_two_processes_and_back_to_one(name, two, one_narrow, folder):
    found = two[name]
    assert isinstance(found, dict), found
    assert all(torch.equal(found[f"loaded {key}"], value) for key, value in one_narrow[name].items())
    made = rows(name)
    optimizer = narrow(name, made)
    with alone():
        load(made, optimizer, folder / f"two {name}")
    again = everything(made, optimizer)
    kept = "param.rest" if "bfloat16" in name else "exp_avg.scale"
    assert any(value.any() for key, value in again.items() if key.endswith(kept))
    assert all(torch.equal(found[f"saved {key}"], value) for key, value in again.items())


@pytest.mark.parametrize("name", [n for n, c in sharded_worker.CHECKS.items() if c.__annotations__["return"] == "None"])
def test_on_both_processes(name, two):
    assert two[name] is None, two[name]


@pytest.mark.parametrize("name", ["whole_states_are_split_by_torch", "replaced_states_are_used"])
def test_adam_interrupted_equals_adam(name, two):
    assert_same(two[name], whole_run("adam"))


@pytest.mark.parametrize("name", ["copied_to_all_and_split_over_one", "data_parallel"])
def test_sums_count_every_element_once(name, two):
    assert_same(two[name], whole_run("norm float64"))


def test_gradients_that_are_parts_of_a_sum_are_added(two):
    made = sharded_worker.parallel_model()
    optimizer = CASES["norm float64"](made.parameters())
    for step in range(STEPS):
        optimizer.zero_grad()
        made(sharded_worker.batch(step)).square().mean().backward()
        optimizer.step()
    assert_same(two["tensor_parallel"], everything(made, optimizer))


def test_states_are_made_without_a_step_in_one_process():
    """torch.distributed.checkpoint steps an optimizer without states, with lr and gradients 0, and that counts."""
    made = model()
    optimizer = RMSprop(made.parameters(), square_avg_start=1.0, weight_decay=0.1)
    optimizer.init_state()
    get_optimizer_state_dict(made, optimizer)
    for p, q in zip(made.parameters(), model().parameters(), strict=True):
        assert torch.equal(p, q)
        assert float(optimizer.state[p]["step"]) == 0
        assert torch.equal(optimizer.state[p]["square_avg"], torch.ones_like(p))


@pytest.mark.parametrize("cls", [Adam, torch.optim.Adam])
@pytest.mark.parametrize(("lr", "grad"), [(0.0, 0.0), (torch.tensor(0.0), 0.0), (0.1, 0.0), (0.0, 1.0)])
def test_every_step_counts_as_in_torch(cls, lr, grad):
    p = torch.zeros(2, requires_grad=True)
    optimizer = cls([p], lr=lr)
    p.grad = torch.tensor([0.0, grad])
    for step in (1, 2):
        optimizer.step()
        assert float(optimizer.state[p]["step"]) == step


def test_a_checkpoint_of_other_options_is_an_error(folder):
    """It keeps no formula, but options and the names of states."""
    made = model()
    optimizer = Adam(made.parameters(), amsgrad=True)
    train(made, optimizer, range(1))
    with alone():
        save(made, optimizer, folder / "amsgrad")
    with alone(), pytest.raises(StateError, match="no 'max_exp_avg_sq' for parameter 0 .*other options"):
        fresh = model()
        load(fresh, Adam(fresh.parameters()), folder / "amsgrad")
