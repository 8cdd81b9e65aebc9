"""Copies of a task's model as one: parameters of all copies in one tensor each, their losses and gradients in one pass.

Whether a task can be trained so is tried once. There are always ``WIDTH`` copies, however many are needed: every operation
then sees the same shapes, so what it computes for a copy cannot depend on how many others there are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from ravine import _randomness as randomness
from ravine._compat.torch import (
    BADDBMM,
    BMM,
    LOG_SOFTMAX,
    LOG_SOFTMAX_BACKWARD,
    OperationCount,
    traced,
    without_vmap_fallback,
)
from ravine._one_thread import one_thread
from ravine.comparison._study.trial import first_model
from ravine.errors import TrainingError
from ravine.tasks import Data, Task
from ravine.train._mean_weights import weighed
from ravine.train._untrained import own_parameters

#: How many copies there are: whole vectors of any processor, so that no operation ends with single elements, which some
#: functions compute in another way. The copies' layers stay in a processor's cache.
WIDTH = 32
#: What a task may take at most: floating-point operations of a step, and numbers in a model. Above, the overhead that
#: copies share is small, and copies that are not needed cost too much.
_MOST_OPERATIONS, _MOST_NUMBERS = 5_000_000, 100_000
#: Rows of each copy that are evaluated at once: so few that what layers make of all copies stays in a processor's cache.
EVALUATED = 96
#: Numbers that all copies may read at once.
_MOST_READ = 8_000_000
_TRIED = 4  # different models and batches
_CLOSE = 1e-3  # relative: the same numbers in another order of adding up
_LINE = 16  # numbers of a line of memory, where matrices are aligned
_LOOKED_AT, _SAME = 1024, 1e-4  # rows whose losses are added up, and how near the mean of their parts must be


def _log_softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    """Over the last dimension, where it is short, torch takes ten times as long as over the one before it."""
    if x.ndim < 2 or dim % x.ndim != x.ndim - 1:
        return NotImplemented
    turned = x.transpose(-1, -2).contiguous()
    return LOG_SOFTMAX(turned, x.ndim - 2, half_to_float).transpose(-1, -2)


def _log_softmax_backward(grad: Tensor, output: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    if output.ndim < 2 or dim % output.ndim != output.ndim - 1:
        return NotImplemented
    turned = [x.transpose(-1, -2).contiguous() for x in (grad, output)]
    return LOG_SOFTMAX_BACKWARD(*turned, output.ndim - 2, dtype).transpose(-1, -2)


def _bmm(x: Tensor, y: Tensor) -> Tensor:
    """The matrices of all copies begin at whole lines of memory: on some processors MKL rounds others differently."""
    m, k, n = *x.shape[-2:], y.shape[-1]
    more_k, more_n = (-k % _LINE if m * k % _LINE else 0), -n % _LINE
    if not more_k and not more_n:
        return NotImplemented
    product = torch.bmm(nn.functional.pad(x, (0, more_k)), nn.functional.pad(y, (0, more_n, 0, more_k)))
    return product[..., :n].contiguous()


def _baddbmm(bias: Tensor, x: Tensor, y: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return NotImplemented if (beta, alpha) != (1, 1) else bias + torch.bmm(x, y)


_QUICKER: dict[Any, Callable[..., Any]] = {
    LOG_SOFTMAX: _log_softmax,
    LOG_SOFTMAX_BACKWARD: _log_softmax_backward,
}
_ALIGNED: dict[Any, Callable[..., Any]] = {**_QUICKER, BMM: _bmm, BADDBMM: _baddbmm}

Stack = dict[str, Tensor]
"""Tensors of all copies, by the name of the parameter: shape (WIDTH, ...)."""


class StackedTask:
    """A task of which ``WIDTH`` copies are trained at once.

    Args:
        task: the task.
        model: one of its models, that nobody else uses.
        aligned: whether the matrices of each copy are aligned, which takes longer.

    Attributes:
        model: that model; whatever its parameters are, the functions here use those that they are given.
    """

    def __init__(self, task: Task, model: nn.Module, aligned: bool = False) -> None:
        self.task, self.model = task, model
        self._instead = _ALIGNED if aligned else _QUICKER
        self._traced: dict[Any, Callable[..., Any]] = {}

    def __repr__(self) -> str:
        return f"StackedTask({self.task!r}, {len(self._traced)} shapes)"

    def stack(self, models: Sequence[nn.Module]) -> Stack:
        """The parameters of so many models as one tensor each; copies that are not needed are like the last."""
        filled = [*models, *[models[-1]] * (WIDTH - len(models))]
        named = [dict(model.named_parameters()) for model in filled]
        return {name: torch.stack([each[name].detach() for each in named]) for name in named[0]}

    def rows(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the training data, a batch for each copy: ``chosen`` has shape (WIDTH, rows)."""
        flat = chosen.reshape(-1)
        data = self.task.train
        inputs, targets = data.inputs.index_select(0, flat), data.targets.index_select(0, flat)
        return inputs.view(*chosen.shape, *inputs.shape[1:]), targets.view(*chosen.shape, *targets.shape[1:])

    def step(self, params: Stack, inputs: Tensor, targets: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The loss of each copy on its batch, shape (WIDTH,), and the gradients in the order of ``params``."""
        losses, *gradients = self._run(True, params, inputs, targets)
        return losses, gradients

    def losses(self, params: Stack, inputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each copy in evaluation mode, shape (WIDTH,)."""
        losses: Tensor = self._run(False, params, inputs, targets)[0]
        return losses

    def load(self, params: Stack, copy: int) -> nn.Module:
        """The model with the parameters of one copy."""
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                p.copy_(params[name][copy])
        return self.model

    def _run(self, training: bool, params: Stack, inputs: Tensor, targets: Tensor) -> Sequence[Tensor]:
        arguments = (*params.values(), inputs, targets)
        key = (training, inputs.shape, targets.shape)
        if key not in self._traced:
            self.model.train(training)
            # The kernels of attention take no copies; its formula does.
            with without_vmap_fallback(), sdpa_kernel(SDPBackend.MATH):
                self._traced[key] = traced(self._function(list(params), training), *arguments, instead=self._instead)
        with torch.no_grad():
            made: Sequence[Tensor] = self._traced[key](*arguments)
        return made

    def _function(self, names: list[str], training: bool) -> Callable[..., list[Tensor]]:
        def loss_of(params: Stack, inputs: Tensor, targets: Tensor) -> Tensor:
            loss = self.task.loss(functional_call(self.model, params, (inputs,)), targets)
            if loss.numel() != 1:
                raise TrainingError("The loss is not one number.")
            return loss.reshape(())

        def run(*arguments: Tensor) -> list[Tensor]:
            *stacked, inputs, targets = arguments
            params = dict(zip(names, stacked, strict=True))
            if not training:
                return [vmap(loss_of)(params, inputs, targets)]
            gradients, losses = vmap(grad_and_value(loss_of))(params, inputs, targets)
            return [losses, *(gradients[name] for name in names)]

        return run


def stacked_task(task: Task) -> StackedTask | None:
    """The task, to be trained in copies; None where its models can only be trained one by one.

    They can be trained together where ``torch.func.vmap`` takes model and loss, they and their rows are small and one tensor, the loss of
    many rows is the mean of the losses of some, they have no buffers and draw no random numbers, all their parameters are trained, and a try shows: loss and gradients are those of the model alone (up
    to rounding), and not a bit of a copy depends on its place or on the other copies.
    """
    try:
        with randomness.isolated(), one_thread():
            return _tried(task)
    except MemoryError:
        raise
    except Exception:  # whatever a model or a loss does not allow
        return None


def _tried(task: Task) -> StackedTask | None:
    model = first_model(task, 0)
    params = list(model.parameters())
    if type(task.train) is not Data or task.drop_last or task.valid is not None or own_parameters(task.loss, model):
        return None
    if any(True for _ in model.buffers()) or sum(p.numel() for p in params) > _MOST_NUMBERS:
        return None
    tensors = [*params, task.train.inputs, task.train.targets]
    if not all(type(t) in (Tensor, nn.Parameter) and t.device.type == "cpu" for t in tensors):
        return None
    if not all(p.requires_grad and p.dtype in (torch.float32, torch.float64) for p in params):
        return None
    if not _is_small(task) or not _adds_up(task, model):
        return None
    models, tries = [first_model(task, seed) for seed in range(_TRIED)], []
    for size in {min(task.batch_size, len(task.train)), 1}:
        rows = [torch.arange(seed, seed + size) % len(task.train) for seed in range(_TRIED)]
        drawn = random.getstate(), repr(np.random.get_state())
        alone = [_alone(task, model, chosen) for model, chosen in zip(models, rows, strict=True)]
        if drawn != (random.getstate(), repr(np.random.get_state())):
            return None  # a traced model would draw no more
        if None in alone:
            return None
        tries.append((rows, alone))
    for aligned in (False, True):
        stacked = StackedTask(task, model, aligned)
        if all(_agree(stacked, models, rows, alone) for rows, alone in tries):
            return stacked
    return None


def _is_small(task: Task) -> bool:
    """Whether the rows that copies read at once take little memory."""
    numbers = sum(t[:1].numel() for t in (task.train.inputs, task.train.targets))
    return WIDTH * max(task.batch_size, EVALUATED) * numbers <= _MOST_READ


def _adds_up(task: Task, model: nn.Module) -> bool:
    """Whether the loss of rows is the mean of the losses of their parts: validation rows are evaluated in parts.

    Weights of classes, and targets that are ignored, may happen to give the same loss: they are looked at themselves.
    """
    every = torch.linspace(0, len(task.train) - 1, min(len(task.train), _LOOKED_AT)).long()
    model.eval()
    whole, weight = _loss_of(task, model, every)
    for cut in {max(1, len(every) * 5 // 8), max(1, len(every) // 3)}:
        first, rest = every[:cut], every[cut:]
        (loss, mine), (other, _) = _loss_of(task, model, first), _loss_of(task, model, rest)
        if not _close((cut * loss + len(rest) * other) / len(every), whole, _SAME):
            return False
        if weight is not None and (mine is None or abs(mine / weight - cut / len(every)) > _SAME):
            return False
    model.train()
    return True


def _loss_of(task: Task, model: nn.Module, rows: Tensor) -> tuple[Tensor, float | None]:
    """The loss of some rows, and what it is the mean over, if that is known."""
    if not len(rows):
        return torch.zeros(()), None
    with torch.no_grad():
        loss, weight = weighed(task.loss, model(task.train.inputs[rows]), task.train.targets[rows])
    return loss, None if weight is None else float(weight)


def _alone(task: Task, model: nn.Module, rows: Tensor) -> list[Tensor] | None:
    """Loss and gradients of one model; None if it takes too much, or a parameter has no part in the loss."""
    with OperationCount() as count:
        loss = task.loss(model(task.train.inputs[rows]), task.train.targets[rows])
        loss.backward()
    gradients = [p.grad for p in model.parameters()]
    model.zero_grad()
    present = [g for g in gradients if g is not None]
    if count.total > _MOST_OPERATIONS or len(present) < len(gradients):
        return None
    return [loss.detach().reshape(()), *present]


def _agree(
    stacked: StackedTask, models: Sequence[nn.Module], rows: Sequence[Tensor], alone: Sequence[list[Tensor] | None]
) -> bool:
    """Whether copies give what models give alone, in the same bits at any place and beside any others."""
    expected: dict[int, list[Tensor]] = {}
    for turn in range(2 * _TRIED):
        order = [(turn + place * (1 + turn % 3)) % _TRIED for place in range(WIDTH)]
        params = stacked.stack([models[i] for i in order])
        inputs, targets = stacked.rows(torch.stack([rows[i] for i in order]))
        spoilt = [place for place, i in enumerate(order) if turn % 2 and i == turn % _TRIED]
        for name in params:
            params[name][spoilt] = float("nan")
        losses, gradients = stacked.step(params, inputs, targets)
        evaluated = stacked.losses(params, inputs, targets)
        for place, i in enumerate(order):
            if place in spoilt:
                continue
            results = [losses[place], evaluated[place], *(g[place] for g in gradients)]
            if not all(map(torch.equal, results, expected.setdefault(i, results))):
                return False
    for i, results in expected.items():
        loss, _, *gradients = results
        if not all(_close(a, b) for a, b in zip([loss, *gradients], alone[i] or [], strict=True)):
            return False
    return True


def _close(one: Tensor, other: Tensor, tolerance: float = _CLOSE) -> bool:
    """Whether two tensors are the same up to rounding."""
    scale = float(other.abs().max()) if other.numel() else 0.0
    return bool(torch.isfinite(one).all()) and torch.allclose(
        one, other, rtol=tolerance, atol=tolerance * max(scale, 1e-6)
    )
