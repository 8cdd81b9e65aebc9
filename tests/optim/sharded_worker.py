"""One of the processes of ``test_sharded.py``: trains sharded models, and keeps what they became for it to compare.

Run as ``sharded_worker.py RANK WORLD FOLDER``. Writes ``results.pt``: by name, tensors or the traceback of a failure.
"""

from __future__ import annotations

import copy
import io
import pickle
import sys
import traceback
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from sharded_cases import (
    BATCH,
    CASES,
    KEPT,
    NARROW,
    STEPS,
    Block,
    clip,
    everything,
    load,
    model,
    narrow,
    rows,
    save,
    train,
    trust,
    watched,
)
from sharded_on_device import nothing_waits_for_a_device, parts_between_addresses_are_named
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel

from ravine.backends import statistic
from ravine.backends._eight_bits import decode
from ravine.errors import ParameterError, StateError
from ravine.formula._compensation import rests_of
from ravine.optim import Adam, Optimizer, RMSprop, pieces
from ravine.optim._engine.formula import asks_ndim
from ravine.optim._engine.full_states import in_full

Tensors = dict[str, torch.Tensor]
#: Cases whose figures are compared, those of the kernel and those of torch's operations.
WATCHED = ("adam", "float64", "eager", "clip_norm")


def sharded(name: str = "", mesh: Any = None) -> Block:
    made = model(name)
    mesh = mesh or init_device_mesh("cpu", (dist.get_world_size(),))
    for module in (made.wide, made.narrow, made):
        fully_shard(module, mesh=mesh)
    return made


def go(made: nn.Module, optimizer: Optimizer, steps: range = range(STEPS)) -> Tensors:
    # The eigenvectors and the small mean squares of a gradient are decided by its rounding: where formulas have such, all
    # processes have the whole batch, and so the gradient of one process.
    share = (0, 1) if asks_ndim(type(optimizer)) else (dist.get_rank(), dist.get_world_size())
    train(made, optimizer, steps, *share)
    return everything(made, optimizer)


def case(name: str) -> Tensors:
    made = sharded(name)
    return go(made, CASES[name](made.parameters()))


def watched_by_two(name: str) -> Tensors:
    made = sharded(name)
    optimizer = CASES[name](made.parameters())
    go(made, optimizer)
    return watched(optimizer)


def watched_under_ddp() -> Tensors:
    made = DistributedDataParallel(model("float64"))
    optimizer = CASES["float64"](made.parameters())
    go(made, optimizer)
    return watched(optimizer)


def skipped_by_all() -> None:
    """One process's part of a gradient is not finite: no process makes the step."""
    made = sharded()
    optimizer = Adam(made.parameters(), lr=0.01, nonfinite="skip")
    go(made, optimizer, range(2))
    before = everything(made, optimizer)
    for p in made.parameters():
        p.grad = torch.ones_like(p)
    if dist.get_rank() == 0:
        made.wide.weight.grad.to_local()[0, 0] = float("nan")
    with pytest.warns(UserWarning, match="skipped"):
        optimizer.step()
    after = everything(made, optimizer)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert optimizer.watch.skipped == 1


def rounding_is_that_of_the_first_part() -> None:
    """A sample is what begins a tensor, and the figure of a whole tensor that of the process that has it."""
    for options in ({}, {"fused": False}):
        made = sharded()
        optimizer = Adam(made.parameters(), lr=0.01, state_dtype="bfloat16", **options)
        go(made, optimizer, range(3))
        found = [row.state_rounding for row in optimizer.watch.last]
        mine = optimizer._monitor.record.last[statistic("state_rounding_square")[0]]
        assert all(0 < x < 1 for x in found)
        assert mine.sqrt().tolist() == (found if dist.get_rank() == 0 else [0.0] * len(found))


def saved_by_two(name: str, folder: Path) -> Tensors:
    """Half the steps, a checkpoint, and what goes on without it."""
    made = sharded(name)
    optimizer = CASES[name](made.parameters())
    go(made, optimizer, range(STEPS // 2))
    save(made, optimizer, folder / f"two {name}")
    return go(made, optimizer, range(STEPS // 2, STEPS))


def loaded_by_two(name: str, folder: Path) -> Tensors:
    """The second half after a checkpoint that one process wrote."""
    made = sharded(name)
    optimizer = CASES[name](made.parameters())
    load(made, optimizer, folder / f"one {name}")
    return go(made, optimizer, range(STEPS // 2, STEPS))


def narrow_states_go_through_checkpoints(name: str, folder: Path) -> Tensors:
    """What one process saved as it is here, and what two save for one; in full precision too."""
    made = rows(name)
    for module in (made[0], made[2], made):
        fully_shard(module, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    optimizer = narrow(name, made)
    load(made, optimizer, folder / f"one {name}")
    found = {f"loaded {key}": value for key, value in everything(made, optimizer).items()}
    go(made, optimizer, range(2))
    save(made, optimizer, folder / f"two {name}")
    saved = everything(made, optimizer)
    full = optimizer.state_dict(full=True)["state"]
    for i, (parameter, p) in enumerate(made.named_parameters()):
        rests = {key: saved[f"{parameter} {key}"] for key in rests_of(NARROW[name].get("param_bits"))}
        if rests:
            assert full[i]["param"].placements == p.placements
            assert torch.equal(full[i]["param"].full_tensor(), in_full(saved[parameter], rests))
        if p.numel() > 4096 and "codes" in name:
            codes, scales = (saved[f"{parameter} {key}"] for key in ("exp_avg", "exp_avg.scale"))
            assert torch.equal(full[i]["exp_avg"].full_tensor(), decode(codes, scales))
    optimizer.load_state_dict(optimizer.state_dict(full=True))
    optimizer.bytes_moved()  # asks for what the next step needs: codes
    again = everything(made, optimizer)
    # -128 is the code of a 0 that was negative.
    values = [{k: v.where(v != -128, 0) if v.dtype is torch.int8 else v for k, v in x.items()} for x in (saved, again)]
    assert all(torch.equal(values[1][key], value) for key, value in values[0].items())
    whole = get_optimizer_state_dict(made, optimizer, options=StateDictOptions(full_state_dict=True))
    assert all(type(t) is torch.Tensor for states in whole["state"].values() for t in states.values())
    return found | {f"saved {key}": value for key, value in saved.items()}


def states_lie_as_their_parameters() -> None:
    made = sharded()
    optimizer = RMSprop(made.parameters(), fused=True)  # every part takes the kernel, the empty ones too
    go(made, optimizer, range(2))
    for p in made.parameters():
        state = optimizer.state[p]
        assert type(state["step"]) is torch.Tensor
        assert float(state["step"]) == 2
        assert isinstance(state["square_avg"], DTensor)
        assert state["square_avg"].placements == p.placements
        assert state["square_avg"].to_local().shape == p.to_local().shape
    assert made.last.weight.to_local().numel() == (0 if dist.get_rank() else 3)


def parts_of_several_kinds_equal_wholes() -> None:
    """Several batches on one process, sums over all of them, missing gradients, and memory that moves."""
    mesh = init_device_mesh("cpu", (2,))
    torch.manual_seed(0)
    wholes = [torch.randn(n, 3, dtype=d) for n in (5, 1, 4) for d in (torch.float64, torch.float32)]
    for fused in (None, False):
        mine = [nn.Parameter(t.clone()) for t in wholes]
        split = [nn.Parameter(distribute_tensor(t, mesh, [Shard(0)])) for t in wholes]
        optimizers = [
            Optimizer(p, [clip, pieces.momentum, trust, pieces.descend], lr=0.1, limit=0.5, momentum=0.9, fused=fused)
            for p in (mine, split)
        ]
        for step in range(5):
            for i, (p, q) in enumerate(zip(mine, split, strict=True)):
                p.grad = None if step and (step + i) % 3 == 0 else torch.randn_like(p)
                q.grad = None if p.grad is None else distribute_tensor(p.grad, mesh, [Shard(0)])
            if step == 3:
                for q in split:
                    q._local_tensor = q._local_tensor.clone()  # as fully_shard does where a model moves
            before = [q._version for q in split]
            for optimizer in optimizers:
                optimizer.step()
            for p, q, version in zip(mine, split, before, strict=True):
                torch.testing.assert_close(q.full_tensor(), p)
                assert optimizers[0].state[p]["step"] == optimizers[1].state[q]["step"]
                assert (q._version > version) == (p.grad is not None)


def states_are_made_without_a_step() -> None:
    """torch.distributed.checkpoint makes states by a step of its own, unless they are there: it leaves the optimizer new."""
    made = sharded()
    optimizer = RMSprop(made.parameters(), lr=0.1, square_avg_start=1.0)
    optimizer.init_state()
    found = get_optimizer_state_dict(made, optimizer)
    assert set(found["state"]) == {name for name, _ in made.named_parameters()}
    for p in made.parameters():
        assert float(optimizer.state[p]["step"]) == 0
        assert torch.equal(optimizer.state[p]["square_avg"].full_tensor(), torch.ones(p.shape))
        assert p.grad is None
    assert optimizer.param_groups[0]["lr"] == 0.1


def whole_states_are_split_by_torch() -> Tensors:
    """A whole state dict, as one process would keep it, set on two."""
    made = sharded()
    optimizer = Adam(made.parameters(), lr=0.01)
    go(made, optimizer, range(STEPS // 2))
    options = StateDictOptions(full_state_dict=True)
    found = get_optimizer_state_dict(made, optimizer, options=options)
    assert all(type(t) is torch.Tensor for states in found["state"].values() for t in states.values())
    second = Adam(made.parameters(), lr=0.5)
    second.zero_grad()  # torch asks for states only where there are no gradients
    set_optimizer_state_dict(made, second, found, options=options)
    assert second.param_groups[0]["lr"] == 0.01
    return go(made, second, range(STEPS // 2, STEPS))


def copies_go_on() -> None:
    """deepcopy, a pickle, and the state dict from a file or a copy: each gives the same next steps.

    With DTensors that nobody manages: torch cannot deepcopy the parameters of ``fully_shard`` with their gradients.
    """
    mesh = init_device_mesh("cpu", (2,))
    params = [nn.Parameter(distribute_tensor(p.detach(), mesh, [Shard(0)])) for p in model().parameters()]
    optimizer = Adam(params, lr=0.01, fused=True)
    give_gradients(optimizer, 0)
    optimizer.step()
    optimizer.zero_grad()
    others = [copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    for found in (optimizer.state_dict(), torch.load(file, weights_only=True)):
        others.append(Adam([p.detach().clone().requires_grad_() for p in params], lr=0.01))
        others[-1].load_state_dict(found)
    for step in (1, 2):
        for each in (optimizer, *others):
            give_gradients(each, step)
            each.step()
    for other in others:
        for p, q in zip(params, other.param_groups[0]["params"], strict=True):
            assert torch.equal(p.to_local(), q.to_local())
            assert optimizer.state[p].keys() == other.state[q].keys()
            for name, value in optimizer.state[p].items():
                twin = other.state[q][name]
                assert torch.equal(*(t.to_local() if name != "step" else t for t in (value, twin)))
                assert type(value) is type(twin)


def give_gradients(optimizer: Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    for p in optimizer.param_groups[0]["params"]:
        p.grad = distribute_tensor(torch.randn(p.shape), p.device_mesh, p.placements)


def what_does_not_fit_is_an_error() -> None:
    made = sharded()
    optimizer = Adam(made.named_parameters(), lr=0.01)
    go(made, optimizer, range(1))
    before = everything(made, optimizer)
    whole = optimizer.state_dict()
    whole["state"][0]["exp_avg"] = torch.zeros(5)
    with pytest.raises(
        StateError, match="exp_avg of parameter 'norm.weight'.* is not split over processes in the state"
    ):
        optimizer.load_state_dict(whole)
    p = made.norm.weight
    p.grad = torch.zeros(5)
    with pytest.raises(ParameterError, match="'norm.weight'.* its gradient is not split over processes"):
        optimizer.step()
    p.grad = None
    optimizer.state[p]["exp_avg"] = torch.zeros(5)
    with pytest.raises(ParameterError, match="'norm.weight'.* its state exp_avg is not split over processes"):
        optimizer.step()
    optimizer.state[p]["exp_avg"] = torch.zeros_like(p.detach())
    after = everything(made, optimizer)
    assert all(torch.equal(before[name], after[name]) for name in before if name != "norm.weight exp_avg")


def replaced_states_are_used() -> Tensors:
    """States that are replaced between steps."""
    made = sharded()
    optimizer = Adam(made.parameters(), lr=0.01)
    go(made, optimizer, range(STEPS // 2))
    for state in optimizer.state.values():
        state["exp_avg"] = state["exp_avg"].clone()
    return go(made, optimizer, range(STEPS // 2, STEPS))


def copied_to_all_and_split_over_one() -> Tensors:
    """A mesh of 2 x 1: every process has everything, and no sum may count it twice."""
    made = sharded("float64", mesh=init_device_mesh("cpu", (2, 1), mesh_dim_names=("copies", "shards")))
    return go(made, CASES["norm float64"](made.parameters()))


def tensor_parallel() -> Tensors:
    """Gradients that still are parts of a sum, one on each process (of the norm), beside split ones."""
    mesh = init_device_mesh("cpu", (2,))
    made = parallel_model()
    plan = {
        "0": SequenceParallel(sequence_dim=0),
        "1": PrepareModuleInput(input_layouts=Shard(0), desired_input_layouts=Replicate()),
        "1.0": ColwiseParallel(),
        "1.2": RowwiseParallel(output_layouts=Replicate()),
    }
    parallelize_module(made, mesh, plan)
    optimizer = CASES["norm float64"](made.parameters())
    for step in range(STEPS):
        local = BATCH // 2
        x = batch(step)[dist.get_rank() * local : (dist.get_rank() + 1) * local]
        optimizer.zero_grad()
        made(x).square().mean().backward()
        assert made[0].weight.grad.placements != made[0].weight.placements
        grad = made[0].weight.grad.to_local().clone()
        optimizer.step()
        assert torch.equal(made[0].weight.grad.to_local(), grad)
    return everything(made, optimizer)


def parallel_model() -> nn.Sequential:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 5))
    return nn.Sequential(nn.LayerNorm(5), block).double()


def batch(step: int) -> torch.Tensor:
    return torch.randn(BATCH, 5, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def data_parallel() -> Tensors:
    made = DistributedDataParallel(model("float64"))
    return {k.removeprefix("module."): v for k, v in go(made, CASES["norm float64"](made.parameters())).items()}


CHECKS = {
    f.__name__: f
    for f in (
        states_lie_as_their_parameters,
        parts_of_several_kinds_equal_wholes,
        states_are_made_without_a_step,
        whole_states_are_split_by_torch,
        copies_go_on,
        what_does_not_fit_is_an_error,
        replaced_states_are_used,
        copied_to_all_and_split_over_one,
        tensor_parallel,
        data_parallel,
        skipped_by_all,
        rounding_is_that_of_the_first_part,
        nothing_waits_for_a_device,
        parts_between_addresses_are_named,
    )
}


def main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), world)
    # Where one process fails, the other waits for it: not for long.
    dist.init_process_group("gloo", rank=rank, world_size=world, store=store, timeout=timedelta(seconds=30))
    tasks = {name: (case, name) for name in CASES}
    tasks |= {f"two {name}": (saved_by_two, name, folder) for name in KEPT}
    tasks |= {f"one {name}": (loaded_by_two, name, folder) for name in KEPT}
    tasks |= {name: (narrow_states_go_through_checkpoints, name, folder) for name in NARROW}
    tasks |= {name: (check,) for name, check in CHECKS.items()}
    tasks |= {f"watched {name}": (watched_by_two, name) for name in WATCHED}
    tasks["watched ddp"] = (watched_under_ddp,)
    results: dict[str, Any] = {}
    try:
        for name, (function, *args) in tasks.items():
            results[name] = function(*args)
    except BaseException:
        results[name] = traceback.format_exc()  # the processes no longer are in step: nothing after this counts
    torch.save(results, folder / f"results-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
