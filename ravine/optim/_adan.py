"""Adan: Nesterov's momentum from differences of gradients."""

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


def adan(
    update: Value,
    exp_avg: Value = 0.0,
    exp_avg_diff: Value = 0.0,
    exp_avg_sq: Value = squares(0.0),
    previous_grad: Value = 0.0,
    *,
    betas: Value,
    eps: Value,
    step: Value,
) -> tuple[Value, Value, Value, Value, Value]:
    """Averages of gradients and of their differences, over the root of squares of what they foretell (algorithm 1)."""
    beta1, beta2, beta3 = betas
    difference = where(step == 1, 0.0, update - previous_grad)
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_diff = beta2 * exp_avg_diff + (1 - beta2) * difference
    exp_avg_sq = beta3 * exp_avg_sq + (1 - beta3) * (update + beta2 * difference) ** 2
    ahead = exp_avg / (1 - beta1**step) + beta2 * exp_avg_diff / (1 - beta2**step)
    denominator = sqrt(exp_avg_sq) / sqrt(1 - beta3**step) + eps
    return ahead / denominator, exp_avg, exp_avg_diff, exp_avg_sq, update


def decay_weights_proximal(param: Value, *, lr: Value, weight_decay: Value) -> Value:
    """Weight decay after the step, as a proximal one: divide instead of multiplying (algorithm 1)."""
    return param / (1 + lr * weight_decay)


class Adan(Optimizer):
    """Adan: Adam that looks ahead along the change of the gradient.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate; five to ten times Adam's.
        betas: decay of the averages of gradients, of their differences, and of squares; 1 minus the paper's.
        eps: added to the root.
        weight_decay: the parameter is divided by ``1 + lr * weight_decay`` after the step.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    Averages are corrected for starting at 0, as in the authors' code; the paper's algorithm 1 leaves that out. The authors'
    ``max_grad_norm`` is ``clip_norm``.
    """

    reference: ClassVar = (
        "Xie et al., 2022, Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models, algorithm 1"
    )
    advice: ClassVar = (
        "For vision and language models trained with large batches, at rates above AdamW's. It keeps three "
        "averages and the last gradient, twice the state of Adam. Its betas are decays here, 1 minus the "
        "paper's."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=3, search=(complement(0.0, 0.99), None, None)),
    }
    rates: ClassVar = {"digits": 0.05, "breast-cancer": 0.2, "rosenbrock": 0.005, "beale": 0.05, "ravine": 1}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[Any, Any, Any] = (0.98, 0.92, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0,
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
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float) -> Pieces:
        return [adan, pieces.descend, *([decay_weights_proximal] if weight_decay else [])]
