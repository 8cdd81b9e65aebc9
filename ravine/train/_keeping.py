"""Checkpoints of a Learner: what is in them, when they are written, and how a run goes on from one.

A run that goes on is bit for bit the run that was never stopped, also from the middle of an epoch. The file itself
is checkpoint.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

import ravine
from ravine import _files as files
from ravine import _randomness as randomness
from ravine._files import checkpoint
from ravine.errors import OptionError, RavineError, StateError
from ravine.optim import Optimizer
from ravine.train import _check as check
from ravine.train import _parallel as parallel
from ravine.train._callback import Callback

if TYPE_CHECKING:
    from ravine.train._learner import Learner

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"

_MOST_NAMES = 6


def save(learn: Learner, path: Path, fit: Mapping[str, Any] | None = None) -> None:
    """Write everything that decides how training goes on."""
    tree = {
        "ravine": ravine.__version__,
        "torch": torch.__version__,
        "model": dict(learn.model.state_dict()),
        "optimizer_name": type(learn.optimizer).__name__,
        "optimizer": learn.optimizer.state_dict(),
        "watch": parallel.gathered(_watch(learn.optimizer)),
        "random": parallel.gathered(start_of(learn.train, learn.valid)),
        "recorder": learn.recorder.state_dict(),
        "trained_epochs": learn._trained_epochs,
        "fit": fit,
    }
    if parallel.rank() == 0:
        checkpoint.save(path, tree)


def load(learn: Learner, path: Path, rewind: bool = False) -> dict[str, Any]:
    """Read what :func:`save` wrote; everything is looked at before anything is changed."""
    tree = checkpoint.load(path)
    if not isinstance(tree, dict) or not {"model", "optimizer", "random", "recorder"} <= tree.keys():
        raise StateError(f"{path} is not a Learner's checkpoint; learn.save writes those.")
    _same_model(learn.model.state_dict(), tree["model"], path)
    mine, kept = type(learn.optimizer).__name__, tree["optimizer_name"]
    if mine != kept:  # torch's optimizers would take each other's states, and break at the next step
        raise StateError(f"{path} is of the optimizer {kept}, and this Learner has {mine}. Nothing was loaded.")
    try:
        learn.optimizer.load_state_dict(tree["optimizer"])
    except RavineError as error:
        raise type(error)(f"{path} does not fit the optimizer: {error}") from error
    except (ValueError, KeyError) as error:
        raise StateError(f"{path} does not fit the optimizer {type(learn.optimizer).__name__}: {error}") from error
    learn.model.load_state_dict(tree["model"])
    go_to(parallel.share(tree["random"]), learn.train, learn.valid)
    learn.recorder.load_state_dict(tree["recorder"], rewind)
    watch = parallel.share(tree.get("watch") or [None])
    if watch is not None and isinstance(learn.optimizer, Optimizer):
        learn.optimizer.watch.load_state_dict(watch)
    learn._trained_epochs = tree["trained_epochs"]
    return tree


def _watch(optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """What an optimizer of ours knows of its steps."""
    return optimizer.watch.state_dict() if isinstance(optimizer, Optimizer) else None


def _same_model(mine: Mapping[str, Any], kept: Mapping[str, Any], path: Path) -> None:
    """The same names and shapes, or an error that names what differs."""
    differences = [
        *(f"only in the model: {n}" for n in mine.keys() - kept.keys()),
        *(f"only in the file: {n}" for n in kept.keys() - mine.keys()),
        *(
            f"{n}: {_shape(kept[n])} in the file, {_shape(mine[n])} in the model"
            for n in mine
            if n in kept and _shape(mine[n]) != _shape(kept[n])
        ),
    ]
    if differences:
        differences = sorted(differences)
        more = f" and {len(differences) - _MOST_NAMES} more" if len(differences) > _MOST_NAMES else ""
        raise StateError(
            f"{path} is of another model. {'; '.join(differences[:_MOST_NAMES])}{more}. Nothing was loaded."
        )


def _shape(value: Any) -> str:
    return (
        f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}" if isinstance(value, Tensor) else "no tensor"
    )


# --- the order of the data -------------------------------------------------------------------------------------------


def start_of(*loaders: Any) -> dict[str, Any]:
    """What decides the order that these are about to give their batches in."""
    return {"random": randomness.state(), "generators": [g.get_state() for g in _generators(loaders)]}


def batches_from(loader: Iterable[Any], first: int, start: dict[str, Any] | None, epoch: int) -> Iterator[Any]:
    """The batches of an epoch from number ``first`` on; those before are fetched again and dropped.

    ``start`` is what :func:`start_of` gave when the epoch began. Afterwards the random states are those of now.
    """
    sampler = getattr(loader, "sampler", None)
    if sampler is not None and hasattr(sampler, "set_epoch"):
        sampler.set_epoch(epoch)
    if first == 0:
        return iter(loader)
    now = start_of(loader)
    if start is not None:
        go_to(start, loader)
    batches = iter(loader)
    for _ in islice(batches, first):
        pass
    go_to(now, loader)
    return batches


def go_to(kept: dict[str, Any], *loaders: Any) -> None:
    """Be where :func:`start_of` was."""
    randomness.restore(kept["random"])
    for generator, one in zip(_generators(loaders), kept["generators"], strict=False):
        generator.set_state(one)


def _generators(loaders: Iterable[Any]) -> list[torch.Generator]:
    """The random generators that DataLoaders and their samplers have of their own."""
    holders = [h for one in loaders for h in (one, getattr(one, "sampler", None), getattr(one, "batch_sampler", None))]
    found = [getattr(holder, "generator", None) for holder in holders]
    unique = {id(g): g for g in found if isinstance(g, torch.Generator)}
    return list(unique.values())


# --- while a fit runs ------------------------------------------------------------------------------------------------


class Keeper:
    """Writes the checkpoints of one fit, and finds its way back into it."""

    def __init__(self, learn: Learner, plan: check.Plan) -> None:
        self.learn, self.plan = learn, plan
        self.path = None if plan.folder is None else plan.folder / CHECKPOINT
        self.callbacks: list[Callback] = [_Regularly(self)] if plan.checkpoint_every else []
        if plan.folder is not None and parallel.rank() == 0:
            files.claim(plan.folder, force=True)
        begun = learn.recorder.journal is not None and len(learn.recorder) == 0 and learn.recorder.journal.path.exists()
        if begun and not plan.resume:
            raise OptionError(
                f"The folder {plan.folder} already has a run. Go on with it by resume=True, or name another folder."
            )

    def write(self) -> None:
        """A checkpoint of this moment."""
        assert self.path is not None
        learn = self.learn
        fit = {
            **self._described(),
            "epoch": learn.epoch,
            "batch": learn.batch,
            "step": learn.step,
            "seconds": learn._seconds,
            "stopped": learn._why_stop,
            "epoch_start": parallel.gathered(learn._epoch_start),
            "callbacks": [[type(c).__name__, c.state_dict()] for c in _acting(learn)],
        }
        save(learn, self.path, fit)

    def _described(self) -> dict[str, Any]:
        """What must be the same in a fit that goes on."""
        plan = self.plan
        return {
            "epochs": plan.epochs,
            "lr": plan.lr,
            "batches": self.learn.batches,
            "batch size": getattr(self.learn.train, "batch_size", None),
            "seed": getattr(self.learn.train, "seed", None),
            "names": [repr(c) for c in _acting(self.learn) if not isinstance(c, _Regularly)],
        }

    def resume(self) -> bool:
        """Go to where the checkpoint was written; whether the run was already complete."""
        assert self.path is not None
        learn = self.learn
        if not self.path.exists():
            if len(learn.recorder) == 0 and learn.recorder.journal is not None:
                learn.recorder.journal.rewind(0)  # what a run that never reached a checkpoint wrote
            return False
        kept = checkpoint.load(self.path).get("fit")
        if kept is None:
            raise StateError(f"{self.path} was not written by a fit; load it with learn.load.")
        self._same_fit(kept)
        load(learn, self.path, rewind=True)
        for callback, (_, state) in zip(_acting(learn), kept["callbacks"], strict=True):
            callback.load_state_dict(state)
        learn.epoch, learn.batch, learn.step = kept["epoch"], kept["batch"], kept["step"]
        learn._seconds, learn._epoch_start = kept["seconds"], parallel.share(kept["epoch_start"])
        learn._why_stop = kept["stopped"]
        complete = learn.batch == 0 and bool(learn._why_stop or learn.epoch >= learn.epochs)
        if complete:
            self._tell()
            learn._display.say(
                f"The run in {self.plan.folder} is complete: {kept['stopped'] or 'all epochs are done'}."
            )
        return complete

    def _same_fit(self, kept: Mapping[str, Any]) -> None:
        differences = []
        for name, now in self._described().items():
            then = kept[name]
            if then != now:
                what = {"names": "callbacks and schedule", "batches": "batches in an epoch"}.get(name, name)
                differences.append(f"{what} {then!r} there, {now!r} here")
        if differences:
            raise OptionError(
                f"{self.path} is of another fit: {'; '.join(differences)}. Use the same to go on with it."
            )

    def _tell(self) -> None:
        """Say why a callback stopped the fit, unless that is already recorded."""
        learn = self.learn
        if learn._why_stop and (len(learn.recorder), learn._why_stop) not in learn.recorder.notes:
            learn.say(learn._why_stop)

    def ended(self, interrupted: bool) -> None:
        """The last epoch is done, a callback stopped the fit, or Ctrl-C was pressed.

        Raises:
            KeyboardInterrupt: it was.
        """
        learn = self.learn
        self._tell()
        keeps = bool(self.callbacks) and not learn.held  # gradients of a step that is held back are not kept
        if keeps:
            self.write()
        if interrupted:
            where = f" Wrote {self.path}." if keeps else ""
            when = (
                f"in epoch {learn.epoch} after {learn.batch} batches" if learn.batch else f"after epoch {learn.epoch}"
            )
            learn._display.say(f"Interrupted {when}.{where}")
            raise KeyboardInterrupt


def _acting(learn: Learner) -> list[Callback]:
    """The callbacks that a fit which goes on must have, too."""
    return [c for c in learn._active if not c.looks_only]


class _Regularly(Callback):
    """Writes a checkpoint after every so many steps, or after every epoch."""

    order: ClassVar[int] = 100  # after everything else has had its say about the step

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.every = keeper, keeper.plan.checkpoint_every

    def after_batch(self, learn: Learner) -> None:
        if isinstance(self.every, int) and not learn.held and learn.step % self.every == 0:
            self.keeper.write()

    def after_epoch(self, learn: Learner) -> None:
        if self.every == "epoch":
            self.keeper.write()
