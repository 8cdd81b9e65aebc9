"""Yogi: Adam whose average of squares moves by a bounded amount."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import sign, sqrt, squares, start
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def yogi(
    update: Value, exp_avg: Value = 0.0, exp_avg_sq: Value = squares(1e-6), *, betas: Value, eps: Value
) -> tuple[Value, Value, Value]:
    """Average of gradients over the root of squares that go towards the new one by a share of it (algorithm 2)."""
    beta1, beta2 = betas
    square = update**2
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = exp_avg_sq - (1 - beta2) * sign(exp_avg_sq - square) * square
    return exp_avg / (sqrt(exp_avg_sq) + eps), exp_avg, exp_avg_sq


class Yogi(Optimizer):
    """Yogi: Adam that forgets large gradients slowly, so its rates do not jump where gradients become small.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the average of gradients, and how slowly the squares follow.
        eps: added to the root.
        weight_decay: decoupled: the parameter shrinks by ``lr * weight_decay`` of itself.
        initial_accumulator_value: what the squares start from.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    As in the paper, averages are not corrected for their start; some implementations (torch-optimizer, pytorch_optimizer, Keras)
    correct them as Adam does.
    """

    reference: ClassVar = "Zaheer et al., 2018, Adaptive Methods for Nonconvex Optimization, algorithm 2"
    advice: ClassVar = (
        "In Adam's place where gradients are rare or change their size by much: the average of squares moves "
        "by a bounded amount, so rates do not jump. eps is large, as in the paper."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-4, 1.0)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
        "initial_accumulator_value": Hyper(low=0),
    }
    rates: ClassVar = {"digits": 0.01, "breast-cancer": 0.05, "rosenbrock": 0.2, "beale": 0.1, "ravine": 0.1}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-2,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-3,
        weight_decay: float = 0,
        initial_accumulator_value: float = 1e-6,
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
            initial_accumulator_value=initial_accumulator_value,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float, initial_accumulator_value: float) -> Pieces:
        return [
            *([pieces.decay_weights_decoupled] if weight_decay else []),
            start(yogi, exp_avg_sq=initial_accumulator_value),
            pieces.descend,
        ]
