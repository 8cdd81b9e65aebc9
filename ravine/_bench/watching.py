"""What watching costs: steps with the watch on against off, clipping inside the step against torch's, and whole fits."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ravine._bench import candidates
from ravine._bench.cases import Case, Configuration
from ravine._bench.measure import Step, Timing, alternate
from ravine.optim import RMSprop
from ravine.train import Batches, Learner, Recorder

CLIP = 1.0
#: The rows of a batch of the fit that is timed.
_ROWS = 64
_ROUNDS_OF_FIT = 61
_WARM_UP = 5


@dataclass(frozen=True)
class Watching:
    """What one optimizer takes with and without.

    Attributes:
        case, optimizer, name: the case's name, the configuration's label and its class.
        timings: seconds of a step, or of a batch of a fit: ``on`` and ``off``; of a step also ``clip``, ours with
            ``clip_norm``, and ``torch``, the best of ``clip_grad_norm_`` followed by torch's ways to step.
    """

    case: str
    optimizer: str
    name: str
    timings: dict[str, Timing]

    def _ratio(self, one: str, other: str) -> float | None:
        have = one in self.timings and other in self.timings
        return self.timings[one].median / self.timings[other].median if have else None

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures that targets speak of."""
        return {"watch on / off": self._ratio("on", "off"), "torch's clipping / ours": self._ratio("torch", "clip")}


def time_watching(case: Case, configuration: Configuration, *, rounds: int | None = None) -> Watching:
    """Time the steps of one optimizer, float32, on torch's number of threads."""
    gc.collect()
    grads = candidates.gradients(case, torch.float32)

    def ours(**options: Any) -> Step:
        optimizer = candidates.ravine_optimizer(configuration, candidates.parameters(case, grads), case, **options)
        optimizer.step()
        return candidates.as_in_a_long_run(optimizer)

    steps: dict[str, Step] = {"on": ours(), "off": ours(watch=False), "clip": ours(clip_norm=CLIP)}
    for way in candidates.torch_ways(configuration):
        params = candidates.parameters(case, grads)
        theirs = partial(_clip_and_step, params, candidates.torch_step(configuration, params, way, case))
        try:
            theirs()
        except RuntimeError as error:
            if "dense gradients" not in str(error):  # torch's SparseAdam steps rows only
                raise
        else:
            steps[f"torch {way}"] = theirs
    for step in steps.values():
        for _ in range(_WARM_UP):
            step()
    rounds, least = candidates.turns(case, rounds)
    timings = alternate(steps, rounds, least=least)
    of_torch = [timings.pop(name) for name in list(timings) if name.startswith("torch ")]
    if of_torch:
        timings["torch"] = min(of_torch, key=lambda timing: timing.median)
    return Watching(case.name, configuration.label, configuration.name, timings)


def _clip_and_step(params: Sequence[Tensor], step: Step) -> None:
    torch.nn.utils.clip_grad_norm_(params, CLIP)
    step()


class _Deaf(Recorder):
    """A recorder that records no batch."""

    def batch(self, loss: Tensor, moments: Sequence[float], rows: int = 1) -> None: ...

    def hypers(self, optimizer: torch.optim.Optimizer) -> None: ...


def time_fit(*, rounds: int | None = None, batches: int = 100) -> Watching:
    """Time whole epochs of ``learn.fit`` on the MLP with RMSprop: watch and recorder on against both off.

    An epoch has so many ``batches``; that of the tutorials is longer.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(batches * _ROWS, 784, generator=generator)
    targets = torch.randint(10, (len(inputs),), generator=generator)

    def learner(on: bool) -> Step:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 10))
        opt_func = partial(RMSprop, lr=1e-4, watch=on)
        learn = Learner(model, (Batches(inputs, targets, _ROWS), None), cross_entropy, opt_func, quiet=True)
        if not on:
            learn.recorder = _Deaf()
        return partial(learn.fit, 1)

    timings = alternate({"on": learner(True), "off": learner(False)}, rounds or _ROUNDS_OF_FIT)
    one = {
        k: Timing(t.median / batches, t.low / batches, t.high / batches, t.steps, t.rounds) for k, t in timings.items()
    }
    return Watching("fit", "rmsprop", "RMSprop", one)
