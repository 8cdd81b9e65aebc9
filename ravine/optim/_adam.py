"""Adam, with amsgrad, and AdamW, which is Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.errors import OptionError
from ravine.formula import maximum, sqrt, squares
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._dialects import THEANO_BOOK
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim._variant import Variant
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def adam(
    update: Value, exp_avg: Value = 0.0, exp_avg_sq: Value = squares(0.0), *, betas: Value, eps: Value, step: Value
) -> tuple[Value, Value, Value]:
    """Average of gradients over the root of the average of their squares, both unbiased."""
    beta1, beta2 = betas
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update**2
    denominator = sqrt(exp_avg_sq) / sqrt(1 - beta2**step) + eps
    return exp_avg / (1 - beta1**step) / denominator, exp_avg, exp_avg_sq


def adam_amsgrad(
    update: Value,
    exp_avg: Value = 0.0,
    exp_avg_sq: Value = squares(0.0),
    max_exp_avg_sq: Value = squares(0.0),
    *,
    betas: Value,
    eps: Value,
    step: Value,
) -> tuple[Value, Value, Value, Value]:
    """Adam with the largest average of squares so far (Reddi et al., 2018, algorithm 2, unbiased as in torch)."""
    beta1, beta2 = betas
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update**2
    max_exp_avg_sq = maximum(max_exp_avg_sq, exp_avg_sq)
    denominator = sqrt(max_exp_avg_sq) / sqrt(1 - beta2**step) + eps
    return exp_avg / (1 - beta1**step) / denominator, exp_avg, exp_avg_sq, max_exp_avg_sq


def adam_falling_beta1(
    update: Value,
    exp_avg: Value = 0.0,
    exp_avg_sq: Value = squares(0.0),
    *,
    betas: Value,
    beta1_decay: Value,
    eps: Value,
    step: Value,
) -> tuple[Value, Value, Value]:
    """Adam whose beta1 falls step by step (Kingma and Ba, 2014, arXiv:1412.6980v1, algorithm 1); unbiased by beta1 itself."""
    beta1, beta2 = betas
    beta1_now = beta1 * beta1_decay ** (step - 1)
    exp_avg = beta1_now * exp_avg + (1 - beta1_now) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update**2
    denominator = sqrt(exp_avg_sq) / sqrt(1 - beta2**step) + eps
    return exp_avg / (1 - beta1**step) / denominator, exp_avg, exp_avg_sq


class Adam(Optimizer):
    """Adam: momentum and RMSProp together, both averages corrected for starting at 0.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the average of gradients and of their squares.
        eps: added to the root.
        weight_decay: L2 coefficient, added to the gradient; with decoupled_weight_decay, shrinks the parameter.
        amsgrad: keep the largest average of squares.
        maximize: ascend.
        fused: the kernel where it can (None), always (True) or never (False).
        common: ``clip_norm``, ``ema_decay``, ``nonfinite``, ``watch``: see ``ravine.optim.Common``.
        decoupled_weight_decay: decay the parameter by ``lr * weight_decay`` apart from the gradient, as AdamW.
        beta1_decay: beta1 is multiplied by it at every step (the first version of the paper: 1 - 1e-8); not with amsgrad.
        capturable: changes nothing: a CUDA graph can capture a step on one GPU, but not with ``nonfinite="raise"``, nor
            where torch's operations on lists step (no Triton), nor of parameters on the CPU and a GPU together.
        foreach: changes nothing: it chooses between torch's own loops.
        differentiable: only False: a step is not recorded by autograd.

    The numbers and state dicts are those of ``torch.optim.Adam``.
    """

    reference: ClassVar = "Kingma and Ba, 2015, Adam: A Method for Stochastic Optimization, algorithm 1"
    advice: ClassVar = (
        "The first choice where nothing is known of a problem: a rate near 1e-3 fits many networks. betas "
        "look back ten and a thousand steps; transformers often take 0.95 or 0.98 for the second."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
        "beta1_decay": Hyper(low=0, high=1),
    }
    rates: ClassVar = {
        "digits": 0.005,
        "fashion-mnist": 0.001,
        "breast-cancer": 0.1,
        "rosenbrock": 0.05,
        "beale": 0.1,
        "ravine": 0.2,
    }
    becomes: ClassVar = {"rmsprop": {"beta1": 0.0}}
    variants: ClassVar = {
        "adam-amsgrad": Variant({"amsgrad": True}, timed=True),
        "adam-theano-book": Variant({"eps": 1e-6, "beta1_decay": 1 - 1e-8}, source=THEANO_BOOK),
    }

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        beta1_decay: float = 1.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
            beta1_decay=beta1_decay,
            **common,
        )

    @staticmethod
    def formula(weight_decay: float, decoupled_weight_decay: bool, amsgrad: bool, beta1_decay: float) -> Pieces:
        if amsgrad and beta1_decay != 1:
            raise OptionError(f"amsgrad=True and beta1_decay={beta1_decay} cannot be combined; leave one out.")
        decay = pieces.decay_weights_decoupled if decoupled_weight_decay else pieces.decay_weights
        rule = adam_amsgrad if amsgrad else adam if beta1_decay == 1 else adam_falling_beta1
        return [*([decay] if weight_decay else []), rule, pieces.descend]


class AdamW(Adam):
    """Adam with decoupled weight decay: the parameter shrinks by ``lr * weight_decay`` of itself at every step.

    Arguments as ``Adam``. The numbers and state dicts are those of ``torch.optim.AdamW``.
    """

    reference: ClassVar = "Loshchilov and Hutter, 2019, Decoupled Weight Decay Regularization, algorithm 2"
    advice: ClassVar = (
        "Adam wherever weights are decayed, above all for transformers: the decay does not depend on the size "
        "of gradients. A schedule of the rate is one of the decay too."
    )
    becomes: ClassVar = {"adam": {"weight_decay": 0.0}, "rmsprop": {"beta1": 0.0, "weight_decay": 0.0}}
    variants: ClassVar = {}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
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
            amsgrad=amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
            **common,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # as torch's: what is loaded into it, Adam's too, is its own from here
            if "decoupled_weight_decay" in group:
                group["decoupled_weight_decay"] = True
