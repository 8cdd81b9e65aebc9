"""AdEMAMix: Adam with a second, slow average of gradients."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import exp, log, maximum, minimum, sqrt, squares
from ravine.optim import pieces
from ravine.optim import search as ranges
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value


def ademamix(
    update: Value,
    exp_avg: Value = 0.0,
    exp_avg_slow: Value = 0.0,
    exp_avg_sq: Value = squares(0.0),
    *,
    betas: Value,
    alpha: Value,
    eps: Value,
    step: Value,
) -> tuple[Value, Value, Value, Value]:
    """Adam's average of gradients plus alpha times a slower one, which is not corrected for its start (algorithm 1)."""
    beta1, beta2, beta3 = betas
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_slow = beta3 * exp_avg_slow + (1 - beta3) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update**2
    denominator = sqrt(exp_avg_sq) / sqrt(1 - beta2**step) + eps
    return (exp_avg / (1 - beta1**step) + alpha * exp_avg_slow) / denominator, exp_avg, exp_avg_slow, exp_avg_sq


def ademamix_warmup(
    update: Value,
    exp_avg: Value = 0.0,
    exp_avg_slow: Value = 0.0,
    exp_avg_sq: Value = squares(0.0),
    *,
    betas: Value,
    alpha: Value,
    warmup: Value,
    eps: Value,
    step: Value,
) -> tuple[Value, Value, Value, Value]:
    """The same while alpha grows from 0, and the slow average's half-life from the fast one's (algorithm 1)."""
    beta1, beta2, beta3 = betas
    done = minimum(step / warmup, 1.0)
    fast, slow = log(maximum(beta1, 1e-8)), log(beta3)
    beta3 = exp(fast * slow / ((1 - done) * slow + done * fast))
    return ademamix(
        update, exp_avg, exp_avg_slow, exp_avg_sq, betas=(beta1, beta2, beta3), alpha=alpha * done, eps=eps, step=step
    )


class AdEMAMix(Optimizer):
    """AdEMAMix: Adam that also remembers gradients of thousands of steps ago.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the fast average of gradients, of their squares, and of the slow average.
        alpha: weight of the slow average.
        eps: added to the root.
        weight_decay: decoupled: the parameter shrinks by ``lr * weight_decay`` of itself.
        warmup: the steps in which alpha and the third beta reach their values; the paper takes all steps. None: they have
            them at once.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.
    """

    reference: ClassVar = "Pagliardini et al., 2024, The AdEMAMix Optimizer: Better, Faster, Older, algorithm 1"
    advice: ClassVar = (
        "For long trainings of language models: a second average looks back ten thousand steps. In trainings "
        "shorter than that give alpha and the slow beta their schedules."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=ranges.log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=3, search=(ranges.complement(0.0, 0.99), None, None)),
        "alpha": Hyper(low=0),
        "warmup": Hyper(low=0, zero=False, optional=True),
    }
    rates: ClassVar = {"digits": 0.02, "breast-cancer": 0.05, "rosenbrock": 0.1, "beale": 0.5, "ravine": 5}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[Any, Any, Any] = (0.9, 0.999, 0.9999),
        alpha: float = 5.0,
        eps: float = 1e-8,
        weight_decay: float = 0,
        warmup: float | None = None,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            warmup=warmup,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float, warmup: float | None) -> Pieces:
        return [
            *([pieces.decay_weights_decoupled] if weight_decay else []),
            ademamix if warmup is None else ademamix_warmup,
            pieces.descend,
        ]
