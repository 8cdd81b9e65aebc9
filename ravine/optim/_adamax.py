"""Adamax: Adam with the largest gradient in the place of the root of their squares."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import maximum, squares
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def adamax(
    update: Value, exp_avg: Value = 0.0, exp_inf: Value = squares(0.0), *, betas: Value, eps: Value, step: Value
) -> tuple[Value, Value, Value]:
    """Unbiased average of gradients over a decaying maximum of their magnitudes (algorithm 2; eps as in torch)."""
    beta1, beta2 = betas
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_inf = maximum(beta2 * exp_inf, abs(update) + eps)
    return exp_avg / (1 - beta1**step) / exp_inf, exp_avg, exp_inf


class Adamax(Optimizer):
    """Adamax: Adam with a decaying maximum of gradients, so that one large gradient bounds the steps after it.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the average of gradients and of their maximum.
        eps: added to the magnitude of each gradient; the paper has none.
        weight_decay: L2 coefficient, added to the gradient.
        foreach, capturable: change nothing: they choose between torch's own loops.
        maximize: ascend.
        differentiable: only False: a step is not recorded by autograd.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The numbers and state dicts are those of ``torch.optim.Adamax``.
    """

    reference: ClassVar = "Kingma and Ba, 2015, Adam: A Method for Stochastic Optimization, algorithm 2"
    advice: ClassVar = (
        "Where a few gradients are far larger than the others, as those of rare words: the largest bounds the "
        "steps after it. A maximum is larger than a root of a mean, so the rate may be twice Adam's."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
    }
    rates: ClassVar = {"digits": 0.05, "breast-cancer": 0.2, "rosenbrock": 1, "beale": 1, "ravine": 0.2}

    def __init__(
        self,
        params: Params,
        lr: Any = 2e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            capturable=capturable,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float) -> Pieces:
        return [*([pieces.decay_weights] if weight_decay else []), adamax, pieces.descend]
