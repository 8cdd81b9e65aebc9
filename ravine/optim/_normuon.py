"""NorMuon: Muon whose rows are brought to one size by what they were in the steps before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from ravine.formula import mean, norm, numel, reduced, sqrt
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._muon import COEFFICIENTS, averaged_momentum, averaged_nesterov, orthogonal
from ravine.optim._optimizer import Params
from ravine.optim._others import StepsMatrices, flat_others, others_of
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def even_rows(
    update: Value, second_momentum_buffer: Value = reduced(0.0, dim=-1), *, beta2: Value, eps: Value
) -> tuple[Value, Value]:
    """Every row over the root of its mean square, and all of it to the root mean square 0.2 (algorithm 1, lines 7-10)."""
    second_momentum_buffer = beta2 * second_momentum_buffer + (1 - beta2) * mean(update**2, dim=-1)
    update = update / (sqrt(second_momentum_buffer) + eps)
    return update * (0.2 * sqrt(numel(update)) / (norm(update) + eps)), second_momentum_buffer


class NorMuon(StepsMatrices):
    """NorMuon: Muon, and then every row of the orthogonal update over a decaying root of its mean square; AdamW for the rest.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate of the matrices; steps have the root mean square ``0.2 * lr``, about that of AdamW's, so that its
            rates can be kept.
        weight_decay: shrinks the matrices by ``lr * weight_decay``.
        momentum: decay of the average of gradients, the paper's beta 1.
        beta2: decay of the average of the mean squares of rows.
        nesterov: look ahead along the average of gradients.
        eps: added to the roots that are divided by.
        ns_steps: how often the iteration is repeated that makes a matrix orthogonal.
        others: as of ``Muon``: options of AdamW for parameters that have not two dimensions, or False.
        orthogonalize: of a group: False leaves its matrices to AdamW too.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    A matrix of n x m keeps n x m + n numbers. ``nesterov=False`` is the paper's algorithm; its authors' code looks ahead, and
    keeps the norm of the orthogonal update, times ``sqrt(max(1, n / m))``, where the algorithm has ``0.2 * sqrt(n * m)``.
    """

    reference: ClassVar = (
        "Li et al., 2025, NorMuon: Making Muon more efficient and scalable, algorithm 1; nesterov: its authors' code"
    )
    advice: ClassVar = (
        "Muon where some rows of a matrix move far more than others: each row gets the same size of step. One "
        "more number for each row; rates as Muon's."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-4, 1.0)),
        "momentum": Hyper(low=0, high=1, below=True, search=complement(0.5, 0.99)),
        "beta2": Hyper(low=0, high=1, below=True),
        "ns_steps": Hyper(low=0, high=99),
    }
    rates: ClassVar = {"digits": 0.005, "breast-cancer": 0.01, "rosenbrock": 0.002, "beale": 0.005, "ravine": 0.05}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        beta2: float = 0.95,
        nesterov: bool = True,
        eps: float = 1e-8,
        ns_steps: int = 5,
        *,
        others: Mapping[str, Any] | bool = True,
        orthogonalize: bool = True,
        maximize: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            beta2=beta2,
            nesterov=nesterov,
            eps=eps,
            ns_steps=ns_steps,
            **flat_others(others, lr),
            orthogonalize=orthogonalize,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(
        nesterov: bool,
        ns_steps: int,
        weight_decay: float,
        orthogonalize: bool,
        others_weight_decay: float | None,
        ndim: int,
    ) -> Pieces:
        if ndim != 2 or not orthogonalize:
            return [others_of(others_weight_decay)]
        return [
            averaged_nesterov if nesterov else averaged_momentum,
            orthogonal(COEFFICIENTS, ns_steps, 1e-7),
            even_rows,
            *([pieces.decay_weights_decoupled] if weight_decay else []),
            pieces.descend,
        ]
