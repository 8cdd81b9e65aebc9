"""Models, optimizers and training that ``test_sharded.py`` runs in one process and ``sharded_worker.py`` in two."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from kinds import one_of_each_kind
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.tensor import DTensor

from ravine.formula import dot, global_norm, maximum, mean, norm, param_copy, where
from ravine.optim import Adam, AdamW, Optimizer, RMSprop, pieces
from ravine.optim import _registry as registry
from ravine.optim.pieces import Value
from ravine.watch._history import FIGURES

STEPS = 4
BATCH = 6
KINDS = one_of_each_kind(name for name in registry.names() if name != "rmsprop-centered")
#: What goes through checkpoints: states that start at 0, at 1 and as a copy, and sums over whole tensors.
KEPT = ("rmsprop-timm", "amsgrad", "param_copy", "global_norm")


def clip(update: Value, *, limit: Value) -> Value:
    """A whole-tensor number over all tensors."""
    return update / maximum(global_norm(update) / limit, 1.0)


def trust(update: Value, *, param: Value) -> Value:
    """A whole-tensor number of each tensor, of its parameter and of its update."""
    size, length = norm(param), norm(update)
    return update * where(size > 0, where(length > 0, size / length, 1.0), 1.0)


def agree(update: Value, *, grad: Value, param: Value) -> Value:
    """Sums of each tensor, of a group and of all."""
    return update * mean(where(update * grad > 0, 1, 0)) / (1 + abs(dot(param, grad, "group")) + norm(param, "all"))


def pull_to_start(param: Value, anchor: Value = param_copy, *, pull: Value) -> tuple[Value, Value]:
    """A state that starts as a copy of its parameter."""
    return param - pull * (param - anchor), anchor


def named(name: str, params: Any) -> Optimizer:
    found = registry.lookup(name)
    return found.cls(params, **{**found.options, "lr": 0.01})


#: An optimizer of each kind, the options that make other formulas of it, and formulas of whole-tensor numbers.
CASES: dict[str, Callable[[Any], Optimizer]] = {
    **{name: functools.partial(named, name) for name in dict.fromkeys((*KINDS, "adam", "rmsprop-timm"))},
    # In single precision the gradients of two processes differ in digits that a small variance makes large.
    "rmsprop-centered float64": functools.partial(named, "rmsprop-centered"),
    "rmsprop centered": lambda params: RMSprop(params, centered=True, momentum=0.5),
    "rmsprop momentum": lambda params: RMSprop(params, momentum=0.9, weight_decay=0.1),
    "amsgrad": lambda params: Adam(params, lr=0.01, amsgrad=True),
    "global_norm": lambda params: Optimizer(
        params, [clip, pieces.momentum, pieces.descend], lr=0.1, momentum=0.9, limit=0.1
    ),
    "norm": lambda params: Optimizer(params, [pieces.momentum, trust, pieces.descend], lr=0.02, momentum=0.9),
    "sums": lambda params: Optimizer(params, [pieces.momentum, agree, pieces.descend], lr=0.1, momentum=0.9),
    "param_copy": lambda params: Optimizer(params, [pieces.descend, pull_to_start], lr=0.1, pull=0.1),
    "float64": lambda params: Adam(params, lr=0.01),
    "norm float64": lambda params: Optimizer(params, [clip, trust, pieces.descend], lr=0.02, limit=0.1),
    "clip_norm": lambda params: Adam(params, lr=0.01, clip_norm=0.1),
    "ema": lambda params: RMSprop(params, lr=0.01, ema_decay=0.9),
    "guarded": lambda params: Adam(params, lr=0.01, nonfinite="raise"),
    "eager": lambda params: Adam(params, lr=0.01, fused=False),
    "eager norm": lambda params: Optimizer(params, [clip, trust, pieces.descend], lr=0.02, limit=0.1, fused=False),
}


class Block(nn.Module):
    """Sizes that two processes cannot share equally: seven rows, three, and one, of which the second has none."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(5)
        self.wide = nn.Linear(5, 7)
        self.narrow = nn.Linear(7, 3)
        self.last = nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.narrow(torch.tanh(self.wide(self.norm(x)))))


def model(name: str = "") -> Block:
    """The model of a case: always the same weights, in the precision that its name says."""
    torch.manual_seed(0)
    return Block().to(next((d for d in (torch.float64, torch.bfloat16) if str(d)[6:] in name), torch.float32))


def rows(name: str) -> nn.Sequential:
    """A model with enough elements for states of 8 bits, whose rows two processes cannot share equally."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(5, 101), nn.Tanh(), nn.Linear(101, 67), nn.Tanh(), nn.Linear(67, 1))
    return made.bfloat16() if "bfloat16" in name else made


#: What goes through checkpoints to the last bit: options of AdamW, by the name of the model.
NARROW = {
    "bfloat16 compensated": {"param_bits": 32},
    "codes": {"state_dtype": "8bit"},
    "bfloat16 codes": {"param_bits": 24, "state_dtype": "8bit"},
}


def narrow(name: str, made: nn.Module) -> Optimizer:
    """The optimizer of one of these."""
    return AdamW(made.parameters(), lr=0.01, **NARROW[name])


def train(made: nn.Module, optimizer: Optimizer, steps: range, rank: int = 0, world: int = 1) -> None:
    """Train on this process's share of each step's batch; the mean of the gradients is that of the whole."""
    dtype = next(made.parameters()).dtype
    local = BATCH // world
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(BATCH, 5, generator=generator, dtype=torch.float64).to(dtype)
        mine = x[rank * local : (rank + 1) * local]
        optimizer.zero_grad()
        (made(mine) - mine.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def everything(made: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """Parameters and states, whole, by name; every process must ask."""
    found = {}
    for name, p in made.named_parameters():
        found[name] = whole(p)
        for key, value in optimizer.state[p].items():
            found[f"{name} {key}"] = whole(value)
    return found


def watched(optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """The history of the steps, as tensors; every process must ask."""
    history = optimizer.watch.history.tree()
    return {name: torch.from_numpy(history[name]) for name in FIGURES}


def save(made: nn.Module, optimizer: Optimizer, folder: Path) -> None:
    """A checkpoint as torch.distributed.checkpoint documents it, by as many processes as there are."""
    parameters, states = get_state_dict(made, optimizer)
    dcp.save({"model": parameters, "optim": states}, checkpoint_id=folder)


def load(made: nn.Module, optimizer: Optimizer, folder: Path) -> None:
    parameters, states = get_state_dict(made, optimizer)
    found = {"model": parameters, "optim": states}
    dcp.load(found, checkpoint_id=folder)
    set_state_dict(made, optimizer, model_state_dict=found["model"], optim_state_dict=found["optim"])
