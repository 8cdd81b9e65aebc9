"""StableAdamW: AdamW that shortens the steps of a tensor whose squares lag behind its gradients."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import maximum, rms, sqrt, squares
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def unbiased_adam(
    update: Value, exp_avg: Value = 0.0, exp_avg_sq: Value = squares(0.0), *, betas: Value, eps: Value, step: Value
) -> tuple[Value, Value, Value]:
    """Adam whose averages are kept without the bias of their start: the shares of new gradients begin at 1 (algorithm 2)."""
    share1, share2 = ((1 - beta) / (1 - beta**step) for beta in betas)
    exp_avg = exp_avg + share1 * (update - exp_avg)
    exp_avg_sq = exp_avg_sq + share2 * (update**2 - exp_avg_sq)
    return exp_avg / (sqrt(exp_avg_sq) + eps), exp_avg, exp_avg_sq


def shorten(update: Value, *, grad: Value, exp_avg_sq: Value, eps: Value) -> Value:
    """Divide by the root mean square of gradients over the roots of their averaged squares, where it is above 1."""
    return update / maximum(1.0, rms(grad / sqrt(maximum(exp_avg_sq, eps * eps))))


class StableAdamW(Optimizer):
    """StableAdamW: AdamW with Adafactor's clipping of updates, so that a sudden gradient makes no spike in the loss.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate; a step's is divided by what its tensor is shortened by.
        betas: decay of the average of gradients and of their squares.
        eps: added to the root.
        weight_decay: decoupled: the parameter shrinks by the step's rate times ``weight_decay`` of itself.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The averages in the state are those without the bias of their start, where ``AdamW`` divides it out at every step: the two
    cannot be exchanged.
    """

    reference: ClassVar = (
        "Wortsman et al., 2023, Stable and low-precision training for large-scale vision-language models, algorithm 2"
    )
    advice: ClassVar = (
        "AdamW without spikes of the loss, in place of clipping: a tensor's step is shortened while its "
        "squares lag behind its gradients. It takes AdamW's rates."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
    }
    rates: ClassVar = {"digits": 0.01, "breast-cancer": 0.02, "rosenbrock": 0.005, "beale": 0.05, "ravine": 0.2}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
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
        return [unbiased_adam, *([pieces.decay_weights] if weight_decay else []), shorten, pieces.descend]
