"""What a checkpoint holds of a training: model, optimizer, recorder, random states and the order of the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import ravine
from ravine._files import checkpoint
from ravine.errors import RavineError, StateError
from ravine.optim import Optimizer
from ravine.train import _parallel as parallel
from ravine.train._data_order import DataOrder, random_states, restore
from ravine.train._recorder import Recorder
from ravine.train._untrained import own_parameters

_MOST_NAMES = 6


@dataclass(frozen=True)
class TrainingState:
    """Everything that decides how a training continues, as one tree that a file can store."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    recorder: Recorder
    order: DataOrder
    train: Iterable[Any]
    valid: Iterable[Any] | None
    loss: Any = None

    def save(self, path: Path, fit: Mapping[str, Any] | None = None) -> None:
        """Write it to one file, whole or not at all; ``fit`` is what is known of a fit that runs."""
        tree = {
            "ravine": ravine.__version__,
            "torch": torch.__version__,
            "model": dict(self.model.state_dict()),
            **({"loss": dict(self.loss.state_dict())} if self._trains_loss() else {}),
            "optimizer_name": type(self.optimizer).__name__,
            "optimizer": self.optimizer.state_dict(),
            "watch": parallel.all_gather(self._watch()),
            "random": parallel.all_gather(random_states(self.train, self.valid)),
            "recorder": self.recorder.state_dict(),
            "trained_epochs": self.order.epochs,
            "fit": fit,
        }
        if parallel.is_main():
            checkpoint.save(path, tree)

    def load(self, path: Path, rewind: bool = False) -> None:
        """Go on from what :meth:`save` wrote; everything is checked before anything is changed.

        Args:
            path: the file.
            rewind: whether the recorder's journal loses what was written after the checkpoint.

        Raises:
            DataError: there is no such file, or it is damaged.
            StateError: it is another kind of file, or of another model or optimizer; nothing was loaded.
        """
        tree = checkpoint.load(path)
        if not isinstance(tree, dict) or not {"model", "optimizer", "random", "recorder"} <= tree.keys():
            message = f"{path} is not a Learner's checkpoint; learn.save writes those."
            if isinstance(tree, dict) and "model" in tree:
                message += (
                    " It has weights alone, which are loaded by model.load_state_dict({name[7:-2]: tensor for name, tensor in "
                    f"safetensors.torch.load_file({str(path)!r}).items() if name.startswith('model[')}})."
                )
            raise StateError(message)
        _check_model(self.model.state_dict(), tree["model"], path)
        if self._trains_loss():
            _check_model(self.loss.state_dict(), tree.get("loss", {}), path, "loss")
        here, there = type(self.optimizer).__name__, tree["optimizer_name"]
        if here != there:  # torch's optimizers would take each other's states, and break at the next step
            raise StateError(f"{path} is of the optimizer {there}, and this Learner has {here}. Nothing was loaded.")
        try:
            self.optimizer.load_state_dict(tree["optimizer"])
        except RavineError as error:
            raise type(error)(f"{path} does not fit the optimizer: {error}") from error
        except (ValueError, KeyError) as error:
            raise StateError(f"{path} does not fit the optimizer {here}: {error}") from error
        self.model.load_state_dict(tree["model"])
        if self._trains_loss():
            self.loss.load_state_dict(tree["loss"])
        restore(parallel.local(tree["random"]), self.train, self.valid)
        self.recorder.load_state_dict(tree["recorder"], rewind)
        watch = parallel.local(tree.get("watch") or [None])
        if watch is not None and isinstance(self.optimizer, Optimizer):
            self.optimizer.watch.load_state_dict(watch)
        self.order.epochs = tree["trained_epochs"]

    def _trains_loss(self) -> bool:
        return bool(own_parameters(self.loss, self.model))

    def _watch(self) -> dict[str, Any] | None:
        """What an optimizer of ours knows of its steps."""
        return self.optimizer.watch.state_dict() if isinstance(self.optimizer, Optimizer) else None


def _check_model(here: Mapping[str, Any], there: Mapping[str, Any], path: Path, what: str = "model") -> None:
    """The same names and shapes, or an error that names what differs."""
    differences = [
        *(f"only in the {what}: {n}" for n in here.keys() - there.keys()),
        *(f"only in the file: {n}" for n in there.keys() - here.keys()),
        *(
            f"{n}: {_shape(there[n])} in the file, {_shape(here[n])} in the {what}"
            for n in here
            if n in there and _shape(here[n]) != _shape(there[n])
        ),
    ]
    if differences:
        differences = sorted(differences)
        more = f" and {len(differences) - _MOST_NAMES} more" if len(differences) > _MOST_NAMES else ""
        raise StateError(
            f"{path} is of another {what}. {'; '.join(differences[:_MOST_NAMES])}{more}. Nothing was loaded."
        )


def _shape(value: Any) -> str:
    return (
        f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}" if isinstance(value, Tensor) else "no tensor"
    )
