"""Prodigy: Adam that finds its rate by itself, from how far the parameters have gone down the gradients."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, ClassVar, Unpack

from torch import Tensor

from ravine.formula import Piece, dot, maximum, minimum, param_copy, scalar, sqrt, squares, sum, where
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._engine.plan import Plan
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import log


@cache
def adam_of_distance(d0: float, beta3: float, corrected: bool, safeguarded: bool, decoupled: bool) -> Piece:
    """The piece that steps with Adam at the rate ``d``, and estimates d anew; what it is made of is part of the formula."""

    def prodigy(
        update: Value,
        exp_avg: Value = 0.0,
        exp_avg_sq: Value = squares(0.0),
        s: Value = 0.0,
        p0: Value = param_copy,
        d: Value = scalar(d0, per="group"),
        d_max: Value = scalar(d0, per="group"),
        d_numerator: Value = scalar(0.0, per="group"),
        k: Value = scalar(0.0, per="group"),
        *,
        param: Value,
        lr: Value,
        betas: Value,
        eps: Value,
        weight_decay: Value,
        d_coef: Value,
        growth_rate: Value,
    ) -> tuple[Value, ...]:
        # Without a rate, as a warm-up begins, nothing is learned of the distance.
        beta1, beta2, kept = (where(lr > 0, beta, 1.0) for beta in (*betas, beta3))
        rate = d * sqrt(1 - betas[1] ** (k + 1)) / (1 - betas[0] ** (k + 1)) if corrected else d
        weight = where(lr > 0, d / d0 * (d if safeguarded else rate * lr), 0.0)
        exp_avg = beta1 * exp_avg + d * (1 - beta1) * update
        exp_avg_sq = beta2 * exp_avg_sq + d**2 * (1 - beta2) * update**2
        s = kept * s + weight * update
        numerator = beta3 * d_numerator + dot(d / d0 * rate * lr * update, p0 - param, over="all")
        length = sum(abs(where(lr > 0, s, 0.0)), over="all")
        known = length > 0  # else all gradients have been 0
        d_hat = where(known, d_coef * numerator / length, d)
        d_max = maximum(d_max, d_hat)
        d = minimum(d_max, growth_rate * where(d == d0, maximum(d, d_hat), d))
        update = rate * exp_avg / (sqrt(exp_avg_sq) + d * eps)
        if decoupled:
            update = update + rate * weight_decay * param
        return update, exp_avg, exp_avg_sq, s, p0, d, d_max, where(known, numerator, d_numerator), k + 1

    return Piece(prodigy)


class Prodigy(Optimizer):
    """Prodigy: AdamW without a learning rate to tune: it estimates the distance to the solution, and steps by that.

    Args:
        params: parameters, named parameters or groups.
        lr: factor of the rate that it finds; leave it at 1, or let a schedule move it. 0 in a group freezes it.
        betas: decay of the average of gradients and of their squares.
        beta3: decay of the sums that the distance is estimated from; None: the root of the second beta.
        eps: added to the root, times the distance.
        weight_decay: shrinks the parameter by the rate times ``weight_decay``; without ``decouple`` an L2 coefficient.
        decouple: decay the parameter apart from the gradient.
        use_bias_correction: correct Adam's averages for starting at 0.
        safeguard_warmup: leave lr out of the weights of the estimate, for schedules with a warm-up.
        d0: the distance that it begins with.
        d_coef: factor of the estimate: 0.5 and 2 are what to try first.
        growth_rate: the most that the distance grows by in a step; 1.02 makes a kind of warm-up.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The numbers are those of the authors' ``prodigyopt``. As there, one estimate is of all groups, and stands in each of them:
    ``group["d"]``, ``"d_max"``, ``"d_numerator"`` and ``"k"``. Beyond it, groups may have rates of their own, which weigh their
    parts of the estimate; a step in which all gradients are 0 still decays the weights; ``s`` and ``p0`` have the
    parameter's shape, so its state dicts are not taken. The paper's algorithm has no d_coef, growth_rate or safeguard, and
    multiplies eps by the distance of before the step.
    """

    reference: ClassVar = (
        "Mishchenko and Defazio, 2024, Prodigy: An Expeditiously Adaptive Parameter-Free Learner, algorithm 4"
    )
    advice: ClassVar = (
        "Where nobody wants to tune a rate: leave lr at 1 and give it a cosine schedule. d_coef of 0.5 or 2 "
        "is what to try if the estimate is too large or small; safeguard_warmup where a schedule warms up."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0),
        "betas": Hyper(low=0, high=1, below=True, length=2),
        "beta3": Hyper(low=0, high=1, below=True, optional=True),
        "d0": Hyper(low=0, zero=False),
        "d_coef": Hyper(low=0, zero=False, search=log(0.1, 10.0)),
        "growth_rate": Hyper(low=1, infinite=True),
    }
    rates: ClassVar = {"digits": 0.5, "breast-cancer": 0.2, "rosenbrock": 0.05, "beale": 0.1, "ravine": 0.5}

    def __init__(
        self,
        params: Params,
        lr: Any = 1.0,
        betas: tuple[Any, Any] = (0.9, 0.999),
        beta3: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0,
        decouple: bool = True,
        use_bias_correction: bool = False,
        safeguard_warmup: bool = False,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        growth_rate: float = math.inf,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            beta3=beta3,
            eps=eps,
            weight_decay=weight_decay,
            decouple=decouple,
            use_bias_correction=use_bias_correction,
            safeguard_warmup=safeguard_warmup,
            d0=d0,
            d_coef=d_coef,
            growth_rate=growth_rate,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(
        betas: tuple[float, float],
        beta3: float | None,
        weight_decay: float,
        decouple: bool,
        use_bias_correction: bool,
        safeguard_warmup: bool,
        d0: float,
    ) -> Pieces:
        own = math.sqrt(betas[1]) if beta3 is None else float(beta3)
        rule = adam_of_distance(float(d0), own, use_bias_correction, safeguard_warmup, bool(weight_decay) and decouple)
        return [*([pieces.decay_weights] if weight_decay and not decouple else []), rule, pieces.descend]

    def _make_plan(self, extra: dict[str, Any]) -> Plan:
        """Give the estimate to groups that have made no step: those added later, and those that were frozen."""
        first = max(self.param_groups, key=lambda group: float(group.get("k", 0.0)))
        for group in self.param_groups:
            if not group.get("k") and first.get("k"):
                names = ("d", "d_max", "d_numerator", "k")
                group.update({n: first[n].clone() if isinstance(first[n], Tensor) else first[n] for n in names})
        return super()._make_plan(extra)
