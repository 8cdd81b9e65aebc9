"""SparseAdam: Adam for the rows that a sparse gradient names, as torch has it."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ravine.formula import sqrt, squares
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer, Params
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def adam_of_rows(
    update: Value, exp_avg: Value = 0.0, exp_avg_sq: Value = squares(0.0), *, betas: Value, eps: Value, step: Value
) -> tuple[Value, Value, Value]:
    """Adam with eps added to the root before that is corrected (the end of section 2): the last row is the rate."""
    beta1, beta2 = betas
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update**2
    rate = sqrt(1 - beta2**step) / (1 - beta1**step)
    return rate * exp_avg / (sqrt(exp_avg_sq) + eps), exp_avg, exp_avg_sq


class SparseAdam(Optimizer):
    """SparseAdam: Adam whose averages move only in the rows that a gradient names, as ``nn.Embedding(sparse=True)`` gives it.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate.
        betas: decay of the average of gradients and of their squares, each time a row has a gradient.
        eps: added to the root, before its correction for starting at 0.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The numbers and state dicts are those of ``torch.optim.SparseAdam``; Ravine also takes dense gradients, and names all rows
    by them. Every optimizer here whose formula works element by element takes sparse gradients in this way: ``Adam`` itself
    differs from this by where eps stands, and the correction for starting at 0 counts the steps of the parameter in both.
    """

    reference: ClassVar = "Kingma and Ba, 2015, Adam: A Method for Stochastic Optimization, section 2"
    advice: ClassVar = (
        "For embeddings with sparse=True in recommenders and language models with large vocabularies: "
        "averages of a row move when the row is touched. Rates as Adam's."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
    }
    rates: ClassVar = {"digits": 0.01, "breast-cancer": 0.02, "rosenbrock": 0.05, "beale": 0.1, "ravine": 0.2}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
        *,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, maximize=maximize, fused=fused, **common)

    def state_dict(self, full: bool = False) -> dict[str, Any]:
        """As every optimizer's; torch's class counts steps in Python's whole numbers, and computes with them in double."""
        saved = super().state_dict(full)
        for states in saved.get("state", {}).values():
            if "step" in states:
                states["step"] = int(states["step"])
        return saved

    @staticmethod
    def formula() -> Pieces:
        return [adam_of_rows, pieces.descend]
