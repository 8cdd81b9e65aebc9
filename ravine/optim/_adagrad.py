"""Adagrad."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import sqrt, squares, start
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._dialects import THEANO_BOOK
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim._variant import Variant
from ravine.optim.pieces import Value
from ravine.optim.search import log


def adagrad(update: Value, sum: Value = squares(0.0), *, eps: Value) -> tuple[Value, Value]:
    """Divide by the root of the sum of all squared gradients (Duchi et al., 2011, eq. 1, diagonal)."""
    sum = sum + update**2
    return update / (sqrt(sum) + eps), sum


def adagrad_eps_inside(update: Value, sum: Value = squares(0.0), *, eps: Value) -> tuple[Value, Value]:
    """The same with eps inside the root."""
    sum = sum + update**2
    return update / sqrt(sum + eps), sum


def decay_lr(update: Value, *, lr_decay: Value, step: Value) -> Value:
    """Divide the learning rate by 1 + lr_decay for every step before this one."""
    return update * (1 / (1 + (step - 1) * lr_decay))


class Adagrad(Optimizer):
    """Adagrad: each element's rate falls with the root of the sum of its squared gradients.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        lr_decay: the rate is divided by ``1 + (step - 1) * lr_decay``.
        weight_decay: L2 coefficient, added to the gradient.
        initial_accumulator_value: what the sum starts from.
        eps: added to the root.
        maximize: ascend.
        fused: the kernel where it can (None), always (True) or never (False).
        common: ``clip_norm``, ``ema_decay``, ``nonfinite``, ``watch``: see ``ravine.optim.Common``.
        eps_inside_root: ``sqrt(sum + eps)`` (Theano's books, Lasagne).
        foreach: changes nothing: it chooses between torch's own loops.
        differentiable: only False: a step is not recorded by autograd.

    The numbers and state dicts are those of ``torch.optim.Adagrad``; as there, states exist from the start.
    """

    reference: ClassVar = "Duchi, Hazan and Singer, 2011, Adaptive Subgradient Methods, eq. 1 (diagonal)"
    advice: ClassVar = (
        "For sparse features and convex problems, also on sparse gradients. Its rates only fall, which long "
        "trainings of networks do not want. At the first step every element moves by about the rate."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-3, 10.0)),
        "lr_decay": Hyper(low=0),
        "initial_accumulator_value": Hyper(low=0),
    }
    rates: ClassVar = {
        "digits": 0.05,
        "fashion-mnist": 0.02,
        "breast-cancer": 0.5,
        "rosenbrock": 0.5,
        "beale": 0.5,
        "ravine": 1,
    }
    variants: ClassVar = {"adagrad-theano-book": Variant({"eps": 1e-6, "eps_inside_root": True}, source=THEANO_BOOK)}
    states_at_once: ClassVar = True

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        eps_inside_root: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            fused=fused,
            eps_inside_root=eps_inside_root,
            **common,
        )

    @staticmethod
    def formula(
        weight_decay: float, lr_decay: float, initial_accumulator_value: float, eps_inside_root: bool
    ) -> Pieces:
        return [
            *([pieces.decay_weights] if weight_decay else []),
            start(adagrad_eps_inside if eps_inside_root else adagrad, sum=initial_accumulator_value),
            *([decay_lr] if lr_decay else []),
            pieces.descend,
        ]
