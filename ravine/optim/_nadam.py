"""NAdam: Adam that looks ahead along its average of gradients, as Nesterov's momentum does."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import scalar, sqrt, squares
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def nadam(
    update: Value,
    exp_avg: Value = 0.0,
    exp_avg_sq: Value = squares(0.0),
    mu_product: Value = scalar(1.0),
    *,
    betas: Value,
    eps: Value,
    momentum_decay: Value,
    step: Value,
) -> tuple[Value, Value, Value, Value]:
    """Adam's average, with the share of the gradient that it will have at the next step (algorithm 2, section 3)."""
    beta1, beta2 = betas
    mu = beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
    mu_product = mu_product * mu
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update**2
    denominator = sqrt(exp_avg_sq) / sqrt(1 - beta2**step) + eps
    ahead = (1 - mu) / (1 - mu_product) * update + mu_next / (1 - mu_product * mu_next) * exp_avg
    return ahead / denominator, exp_avg, exp_avg_sq, mu_product


class NAdam(Optimizer):
    """NAdam: Adam with Nesterov's look-ahead, and a momentum that grows from half of beta1.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the average of gradients and of their squares.
        eps: added to the root.
        weight_decay: L2 coefficient, added to the gradient; with decoupled_weight_decay, shrinks the parameter.
        momentum_decay: how fast the momentum grows: ``beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))``.
        decoupled_weight_decay: decay the parameter by ``lr * weight_decay`` apart from the gradient, as AdamW.
        foreach, capturable: change nothing: they choose between torch's own loops.
        maximize: ascend.
        differentiable: only False: a step is not recorded by autograd.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The numbers and state dicts are those of ``torch.optim.NAdam``; ``mu_product`` is kept in double precision, where torch keeps
    it in the default dtype. As in torch, the average of gradients decays by beta1 itself, where the paper has the momentum
    of the step.
    """

    reference: ClassVar = "Dozat, 2016, Incorporating Nesterov Momentum into Adam, algorithm 2 and section 3"
    advice: ClassVar = (
        "Adam with Nesterov's look ahead: often a little faster in the first epochs, and never far from Adam. "
        "It takes Adam's rates."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
        "momentum_decay": Hyper(low=0),
    }
    rates: ClassVar = {"digits": 0.02, "breast-cancer": 0.02, "rosenbrock": 0.02, "beale": 0.1, "ravine": 0.2}

    def __init__(
        self,
        params: Params,
        lr: Any = 2e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
            momentum_decay=momentum_decay,
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
        return [*([decay] if weight_decay else []), nadam, pieces.descend]
