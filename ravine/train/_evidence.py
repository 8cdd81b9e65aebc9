"""What a Learner knows of its run, for the diagnosis (ravine.watch): losses, hyperparameters, figures, idle units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ravine import _randomness as randomness
from ravine.diagnose._evidence import Evidence
from ravine.optim import Optimizer
from ravine.train import _check as check
from ravine.train import _parallel as parallel
from ravine.train._batches import Batches
from ravine.train._evaluate import looking

if TYPE_CHECKING:
    from ravine.train._learner import Learner

#: Layers whose inputs are units of the layer before, and the dimension of the input that counts the units.
_LAYERS: dict[type[nn.Module], int] = {nn.Linear: -1, nn.Conv1d: 1, nn.Conv2d: 1, nn.Conv3d: 1}


def of(learn: Learner) -> Evidence:
    """The evidence of a Learner as it is now; where parameters are split over processes, all must ask."""
    recorder = learn.recorder
    known: dict[str, Any] = {
        "losses": recorder.losses,
        "epochs": list(recorder.epochs),
        "hypers": {name: recorder.hyper(name) for name in recorder.hyper_names},
        "units": learn.units,
    }
    optimizer = learn._optimizer
    if optimizer is None:
        return Evidence(**known)
    known["optimizer"] = type(optimizer).__name__
    if isinstance(optimizer, Optimizer):
        watch = optimizer.watch
        known["skipped"] = watch.skipped
        if watch.on:
            known["history"] = watch.history
            known["first_nonfinite"] = watch.first_nonfinite
            known["dims"] = tuple(p.ndim for p in watch.params)
            known["dtypes"] = tuple(str(p.dtype).removeprefix("torch.") for p in watch.params)
            known["trained"] = tuple(p.requires_grad for p in watch.params)
    return Evidence(**known)


def keep(learn: Learner) -> None:
    """Write the evidence into the Learner's folder, if it has one."""
    if learn.folder is None:
        return
    evidence = of(learn)
    if learn.main:
        evidence.save(learn.folder)


@torch.no_grad()
def units(learn: Learner) -> dict[str, tuple[int, int]]:
    """By layer, in the order of the calls: how many units come into it, and how many of them are 0 for every row.

    The rows are those of the first batch of validation, or of the last batch of training where that is no ``Batches``.
    What comes into the first layer is data, and left out.
    """
    found: dict[str, tuple[int, int]] = {}
    called: list[str] = []

    def look(name: str, dimension: int, inputs: tuple[Any, ...]) -> None:
        x = inputs[0] if inputs else None
        called.append(name)
        if len(called) > 1 and name not in found and isinstance(x, Tensor) and x.ndim > 1 and x.numel():
            idle = (x == 0).movedim(dimension, 0).flatten(1).all(1)
            found[name] = (len(idle), int(idle.sum()))

    layers = [(n, m, d) for n, m in learn.model.named_modules() for kind, d in _LAYERS.items() if isinstance(m, kind)]
    hooks = [m.register_forward_pre_hook(lambda _, x, n=n, d=d: look(n, d, x)) for n, m, d in layers]
    batch: Any = (learn.inputs, learn.targets)
    if isinstance(learn.valid, Batches) and parallel.size() == 1:
        batch = next(learn.valid.epoch(0))
    if batch[0] is None:  # a fit that goes on where nothing was left to train
        return learn.units
    try:
        with randomness.aside(), looking(learn):
            learn.outputs_for(check.pair(batch, learn.device)[0])
    except Exception:  # a model need not be able to be looked at, and must not fail by it
        return learn.units
    finally:
        for hook in hooks:
            hook.remove()
    return found
