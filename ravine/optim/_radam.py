"""RAdam: Adam whose first steps wait for the average of squares to mean something."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import sqrt, squares, where
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def radam(
    update: Value, exp_avg: Value = 0.0, exp_avg_sq: Value = squares(0.0), *, betas: Value, eps: Value, step: Value
) -> tuple[Value, Value, Value]:
    """Adam times the rectification; a plain momentum while that has no value (algorithm 2; from 5 steps, as in torch)."""
    beta1, beta2 = betas
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update**2
    correction = 1 - beta2**step
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * beta2**step / correction
    rectification = sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
    adaptive = rectification * sqrt(correction) / (sqrt(exp_avg_sq) + eps)
    return exp_avg / (1 - beta1**step) * where(length > 5, adaptive, 1.0), exp_avg, exp_avg_sq


class RAdam(Optimizer):
    """RAdam: Adam with a warm-up of its own, as long as the average of squares has few gradients in it.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the average of gradients and of their squares.
        eps: added to the root.
        weight_decay: L2 coefficient, added to the gradient; with decoupled_weight_decay, shrinks the parameter.
        decoupled_weight_decay: decay the parameter by ``lr * weight_decay`` apart from the gradient, as AdamW.
        foreach, capturable: change nothing: they choose between torch's own loops.
        maximize: ascend.
        differentiable: only False: a step is not recorded by autograd.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The numbers and state dicts are those of ``torch.optim.RAdam``, which rectifies from a length of 5 on, where the paper
    says 4.
    """

    reference: ClassVar = "Liu et al., 2020, On the Variance of the Adaptive Learning Rate and Beyond, algorithm 2"
    advice: ClassVar = (
        "Adam without a warm-up of the rate: while the average of squares has few gradients in it, steps are "
        "those of momentum."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
    }
    rates: ClassVar = {"digits": 0.01, "breast-cancer": 0.2, "rosenbrock": 0.005, "beale": 0.01, "ravine": 0.5}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float, decoupled_weight_decay: bool) -> Pieces:
        decay = pieces.decay_weights_decoupled if decoupled_weight_decay else pieces.decay_weights
        return [*([decay] if weight_decay else []), radam, pieces.descend]
