"""Schedule-Free SGD and AdamW: an average of the steps in the place of a schedule of the rate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from ravine.backends._eight_bits import values_of
from ravine.formula import maximum, minimum, param_copy, scalar, sqrt, squares, where
from ravine.formula._compensation import REST
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.average import averaged_inside
from ravine.optim._engine.full_states import in_full, set_params
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def count(k: Value = scalar(0.0, per="group")) -> Value:
    """The number of this step of the group."""
    return k + 1


def averaging(
    param: Value,
    z: Value = param_copy,
    weight_sum: Value = scalar(0.0, per="group"),
    lr_max: Value = scalar(-1.0, per="group"),
    *,
    update: Value,
    lr: Value,
    momentum: Value,
    warmup_steps: Value,
    r: Value,
    weight_lr_power: Value,
    k: Value,
) -> tuple[Value, Value, Value, Value]:
    """Step z, and move the point of the gradients between z and the average of all z (Defazio et al., 2024, eq. 8-10)."""
    rate = lr * minimum(1.0, k / warmup_steps)
    lr_max = maximum(rate, lr_max)
    weight = k**r * lr_max**weight_lr_power
    weight_sum = weight_sum + weight
    share = where(weight_sum > 0, weight / weight_sum, 0.0)
    param = param + share * (z - param) - rate * (1 - momentum * (1 - share)) * update
    return param, z - rate * update, weight_sum, lr_max


def averaging_of_betas(
    param: Value,
    z: Value = param_copy,
    weight_sum: Value = scalar(0.0, per="group"),
    lr_max: Value = scalar(-1.0, per="group"),
    *,
    update: Value,
    lr: Value,
    betas: Value,
    warmup_steps: Value,
    r: Value,
    weight_lr_power: Value,
    k: Value,
) -> tuple[Value, Value, Value, Value]:
    """``averaging`` with the first beta for the momentum (algorithm 1)."""
    return averaging(
        param, z, weight_sum, lr_max, update=update, lr=lr, momentum=betas[0], warmup_steps=warmup_steps, r=r,
        weight_lr_power=weight_lr_power, k=k,
    )  # fmt: skip


def root_of_squares(
    update: Value, exp_avg_sq: Value = squares(0.0), *, betas: Value, eps: Value, k: Value
) -> tuple[Value, Value]:
    """The gradient over the root of the average of squares, unbiased."""
    exp_avg_sq = betas[1] * exp_avg_sq + (1 - betas[1]) * update**2
    return update / (sqrt(exp_avg_sq) / sqrt(1 - betas[1] ** k) + eps), exp_avg_sq


class _ScheduleFree(Optimizer):
    """What both have: a point where gradients are taken, and the average, where the model is evaluated."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as every optimizer; ``"train_mode"`` in it says which weights its parameters hold."""
        super().add_param_group(param_group)
        known = self.param_groups[0].get("train_mode", True)
        self.param_groups[-1].setdefault("train_mode", known)

    def train(self) -> None:
        """The parameters are the points where gradients are taken, from now on: as they are when the optimizer is made."""
        self._hold(True)

    def eval(self) -> None:
        """The parameters are the averages, from now on: to evaluate and to save the model. ``train`` undoes it."""
        self._hold(False)

    @torch.no_grad()
    def _hold(self, training: bool) -> None:
        for group in self.param_groups:
            if group["train_mode"] is not training:
                momentum = self._momentum_of(group)
                for p in self._started(group):
                    share = 1 - momentum if training else 1 - 1 / momentum
                    kept = self.state[p]
                    whole = in_full(p, kept) if REST in kept else p
                    whole.lerp_(values_of(kept, "z").to(whole.dtype), share)
                    if whole is not p:
                        set_params([(p, whole)], self.state, self._storage.param_bits)
        self._mark(training)
        self._averaged = not training

    @staticmethod
    def _momentum_of(group: dict[str, Any]) -> float:
        """How near the point of the gradients is to the average, between 0 and 1."""
        return float(group["betas"][0] if "betas" in group else group["momentum"])

    def _started(self, group: dict[str, Any]) -> list[Tensor]:
        return [p for p in group["params"] if "z" in self.state.get(p, {})]

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside ``with optimizer.averaged():`` the parameters are the averages, as after ``eval``; outside what they were."""
        if self._averaged:
            yield
            return
        with averaged_inside(self, self._pairs):
            self._mark(False)
            try:
                yield
            finally:
                self._mark(True)

    def _mark(self, training: bool) -> None:
        """Note in the groups which weights the parameters hold: a state dict tells by it which it goes with."""
        for group in self.param_groups:
            group["train_mode"] = training

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("train_mode", True)
        self._averaged = not all(group["train_mode"] for group in self.param_groups)

    @torch.no_grad()
    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Every parameter with its average."""
        pairs = []
        for group in self.param_groups:
            share = 1 - 1 / self._momentum_of(group)
            pairs += [(p, p.detach().lerp(self.state[p]["z"].to(p.dtype), share)) for p in self._started(group)]
        return pairs


class SGDScheduleFree(_ScheduleFree):
    """Schedule-Free SGD: as good as SGD with a schedule, without knowing when training ends.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate; leave it constant, but for ``warmup_steps``.
        momentum: how near to the average of all steps gradients are taken; above 0.
        weight_decay: L2 coefficient, added to the gradient.
        warmup_steps: steps in which the rate rises.
        r: exponent of the step's number in the weights of the average.
        weight_lr_power: exponent of the largest rate so far in them.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The numbers are those of the authors' ``schedulefree``, and so are ``group["k"]``, ``"weight_sum"`` and ``"lr_max"``. While it
    trains, the parameters are where gradients are taken: evaluate and save the model after ``optimizer.eval()``, or inside
    ``with optimizer.averaged():``, and call ``optimizer.train()`` before training goes on. The Learner does. With batch
    normalization its statistics must be taken anew at the averages.
    """

    reference: ClassVar = "Defazio et al., 2024, The Road Less Scheduled, eq. 8-10"
    advice: ClassVar = (
        "Where the length of a training is not known before, or many lengths are wanted of one run: at any moment the average is "
        "about as good as a run with a schedule that ends there. Rates are larger than SGD's, the default is the authors'."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-2, 100.0)),
        "momentum": Hyper(low=0, high=1, zero=False, search=complement(0.5, 0.99)),
        "warmup_steps": Hyper(low=0),
        "r": Hyper(low=0),
        "weight_lr_power": Hyper(low=0),
    }
    rates: ClassVar = {"digits": 1.0, "breast-cancer": 5, "rosenbrock": 0.001, "beale": 0.02, "ravine": 0.1}

    def __init__(
        self,
        params: Params,
        lr: Any = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            r=r,
            weight_lr_power=weight_lr_power,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float) -> Pieces:
        return [count, *([pieces.decay_weights] if weight_decay else []), averaging]


class AdamWScheduleFree(_ScheduleFree):
    """Schedule-Free AdamW: as good as AdamW with a schedule, without knowing when training ends.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate; leave it constant, but for ``warmup_steps``.
        betas: how near to the average of all steps gradients are taken, above 0; decay of the average of squares.
        eps: added to the root.
        weight_decay: shrinks the parameter by ``lr * weight_decay`` of where gradients are taken.
        warmup_steps: steps in which the rate rises.
        r: exponent of the step's number in the weights of the average.
        weight_lr_power: exponent of the largest rate so far in them.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The numbers are those of the authors' ``schedulefree``; for the weights that the parameters hold see ``SGDScheduleFree``.
    """

    reference: ClassVar = "Defazio et al., 2024, The Road Less Scheduled, algorithm 1"
    advice: ClassVar = (
        "In AdamW's place where the length of a training is not known before, with a warm-up of a few percent of it. Rates are 1 to "
        "10 times AdamW's. It keeps no average of gradients, so its state is as large as AdamW's."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-4, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, zero=False, length=2, search=(complement(0.5, 0.99), None)),
        "warmup_steps": Hyper(low=0),
        "r": Hyper(low=0),
        "weight_lr_power": Hyper(low=0),
    }
    rates: ClassVar = {"digits": 0.05, "breast-cancer": 0.2, "rosenbrock": 0.02, "beale": 0.02, "ravine": 0.5}

    def __init__(
        self,
        params: Params,
        lr: Any = 0.0025,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            r=r,
            weight_lr_power=weight_lr_power,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float) -> Pieces:
        return [count, root_of_squares, *([pieces.decay_weights] if weight_decay else []), averaging_of_betas]
