"""What a Learner knows of its run, as evidence for a diagnosis: losses, hyperparameters, history and dead units."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ravine import _randomness as randomness
from ravine._compat.torch import is_compiled
from ravine.diagnose._evidence import Evidence, traces_in
from ravine.diagnose._optimizer_evidence import watched
from ravine.errors import OptionError, shown
from ravine.train import _parallel as parallel
from ravine.train._batches import Batches
from ravine.train._callback import Callback
from ravine.train._data_content import nonfinite
from ravine.train._fit import Fit
from ravine.train._forward import pair, row_count
from ravine.train._learner import Learner
from ravine.train._recorder import Recorder

DeadUnits = dict[str, tuple[int, int]]
"""By layer: how many units come into it, and how many of them are 0 for every row."""

#: Layers whose inputs are units of the layer before, and the dimension of the input that counts the units.
_LAYERS: dict[type[nn.Module], int] = {nn.Linear: -1, nn.Conv1d: 1, nn.Conv2d: 1, nn.Conv3d: 1}


_EVERY = 2.0  # seconds at least between two times that evidence is written in the middle of an epoch
_SHARE = 0.004  # of a training's time that this may take


class EvidenceObserver(Callback):
    """Counts dead units after each epoch, and keeps the evidence of the run in the Learner's folder, if it has one.

    It is written after each epoch and, for those who look at a run with long epochs, now and then in between: so seldom that
    it takes less than half a percent of the time.

    Args:
        clock: seconds since some moment.

    Attributes:
        dead_units: when the last epoch ended.
        magnitudes: of what came into the layers in the first batch.
        shapes: of outputs and targets in the first batch of a fit, if the loss broadcasts them.
        left_out: the parameters that require a gradient and that the optimizer does not have, when a fit began to train.
        bad_data: which data have NaN or infinity, in a fit with a loss that was not finite.
    """

    order: ClassVar[int] = -1000  # after an epoch before a checkpoint is written, and after a fit as the last one
    passive: ClassVar[bool] = True

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock, self._due = clock, math.inf
        self.dead_units: DeadUnits = {}
        self.magnitudes: dict[str, float] = {}
        self.shapes: tuple[tuple[int, ...], ...] = ()
        self.left_out: tuple[str, ...] = ()
        self.bad_data = ""
        self._looked = False
        self._inputs = _Magnitudes()

    def before_fit(self, fit: Fit) -> None:
        self._looked = False
        alone = fit.folder is not None and parallel.size() == 1
        self._due = self._clock() + _EVERY if alone else math.inf

    def before_batch(self, fit: Fit) -> None:
        if not self._looked and not self.magnitudes and parallel.size() == 1:
            self._inputs.begin(fit.model)

    def after_loss(self, fit: Fit) -> None:
        self.magnitudes = self._inputs.end() or self.magnitudes

    def before_step(self, fit: Fit) -> bool | None:
        if not self._looked:
            self._looked = True
            self.shapes = fit.broadcast
            taken = {id(p) for group in fit.optimizer.param_groups for p in group["params"]}
            named = fit.model.named_parameters()
            self.left_out = tuple(name for name, p in named if p.requires_grad and id(p) not in taken)
        return None

    def after_batch(self, fit: Fit) -> None:
        began = self._clock()
        if began >= self._due:
            self._write(fit)
            now = self._clock()
            self._due = now + max(_EVERY, (now - began) / _SHARE)

    def after_epoch(self, fit: Fit) -> None:
        self.dead_units = count_dead_units(fit, self.dead_units)
        self._look_at_data(fit)
        self._write(fit)

    def after_fit(self, fit: Fit) -> None:
        self._inputs.end()  # the first forward pass may have failed
        self._look_at_data(fit)
        if len(fit.recorder) and parallel.size() == 1:  # one process may fail alone, and must not wait for others
            self._write(fit)

    def _look_at_data(self, fit: Fit) -> None:
        """Once, where a loss was not finite, which is when the data are worth a look."""
        if self.bad_data or not len(fit.recorder):
            return
        losses = {"training": fit.recorder.losses[-1], "validation": fit.row.get("valid_loss", 0.0)}
        for name, data in (("training", fit.train), ("validation", fit.valid)):
            if not math.isfinite(losses[name]) and (rows := nonfinite(data)):
                self.bad_data = f"the {name} data have NaN or infinity in the {rows}"
                return

    def _write(self, fit: Fit) -> None:
        if fit.folder is None:
            return
        evidence = _evidence(fit.recorder, fit.optimizer, self, fit.folder)
        if fit.is_main:
            evidence.save(fit.folder)


def evidence_of(learn: Learner) -> Evidence:
    """The evidence of a Learner as it is now; where parameters are split over processes, all must ask.

    Raises:
        OptionError: it is no Learner.
    """
    if not isinstance(learn, Learner):
        raise OptionError(
            f"evidence_of({shown(learn)}): give a ravine.train.Learner. diagnose(run) also takes an optimizer or a folder."
        )
    observer = next((c for c in learn.observers if isinstance(c, EvidenceObserver)), EvidenceObserver())
    return _evidence(learn.recorder, learn.optimizer, observer, learn.folder)


def _evidence(
    recorder: Recorder, optimizer: torch.optim.Optimizer, observer: EvidenceObserver, folder: Path | None
) -> Evidence:
    known: dict[str, Any] = {
        "optimizer": type(optimizer).__name__,
        "losses": recorder.losses,
        "epochs": list(recorder.epochs),
        "hypers": {name: recorder.hyper(name) for name in recorder.hyper_names},
        "dead_units": observer.dead_units,
        "magnitudes": observer.magnitudes,
        "shapes": observer.shapes,
        "left_out": observer.left_out,
        "bad_data": observer.bad_data,
        "traces": traces_in(folder),
    }
    return Evidence(**known, **watched(optimizer))


class _Magnitudes:
    """Reads the mean magnitude of what comes into each layer, in a forward pass that is made anyway."""

    def __init__(self) -> None:
        self._hooks: list[Any] = []
        self._seen: dict[str, Tensor] = {}

    def begin(self, model: nn.Module) -> None:
        """Look at the passes from now on; a compiled model is left alone, which hooks would have compiled again."""
        self.end()
        kinds: tuple[type[nn.Module], ...] = tuple(_LAYERS)
        layers = [(name, m) for name, m in model.named_modules() if isinstance(m, kinds)]
        if not any(is_compiled(m) for m in model.modules()):
            self._hooks = [m.register_forward_pre_hook(lambda _, x, n=n: self._see(n, x)) for n, m in layers]

    def end(self) -> dict[str, float]:
        """Look no longer; what was seen in the first call of each layer, without the first layer, whose inputs are data."""
        for hook in self._hooks:
            hook.remove()
        seen, self._hooks, self._seen = list(self._seen.items())[1:], [], {}
        values = torch.stack([value for _, value in seen]).tolist() if seen else []
        return dict(zip((name for name, _ in seen), values, strict=True))

    def _see(self, name: str, inputs: tuple[Any, ...]) -> None:
        x = inputs[0] if inputs else None
        if name not in self._seen and isinstance(x, Tensor) and x.is_floating_point() and x.numel():
            # float32, because a sum in float16 overflows
            self._seen[name] = x.detach().abs().mean(dtype=torch.float32)


@torch.no_grad()
def count_dead_units(fit: Fit, before: DeadUnits) -> DeadUnits:
    """Dead units by layer, in the order of the calls; ``before``, where the model cannot be run for it.

    The rows are those of the first batch of validation, or of the last batch of training where that is no ``Batches``.
    What comes into the first layer is data, and left out.
    """
    counts: DeadUnits = {}
    called: list[str] = []

    def count(name: str, dimension: int, inputs: tuple[Any, ...]) -> None:
        x = inputs[0] if inputs else None
        called.append(name)
        if len(called) > 1 and name not in counts and isinstance(x, Tensor) and x.ndim > 1 and x.numel():
            dead = (x == 0).movedim(dimension, 0).flatten(1).all(1)
            counts[name] = (len(dead), int(dead.sum()))

    layers = [(n, m, d) for n, m in fit.model.named_modules() for kind, d in _LAYERS.items() if isinstance(m, kind)]
    hooks = [m.register_forward_pre_hook(lambda _, x, n=n, d=d: count(n, d, x)) for n, m, d in layers]
    batch: Any = (fit.inputs, fit.targets)
    if isinstance(fit.valid, Batches) and parallel.size() == 1:
        batch = next(fit.valid.epoch(0))
    if batch[0] is None:  # a resumed fit in which nothing was left to train
        return before
    try:
        with randomness.isolated(), fit.forward.eval_mode():
            inputs, targets = pair(batch, fit.device)
            fit.forward.outputs(inputs, row_count(targets))
    except Exception:  # a model need not be able to be run once more, and must not fail by it
        return before
    finally:
        for hook in hooks:
            hook.remove()
    return counts
