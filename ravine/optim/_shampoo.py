"""Shampoo: the gradient of a matrix over roots of what its rows and its columns have been."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from ravine._compat.torch import is_fake
from ravine.formula import Piece, tensor_function, tensor_state, where
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Params
from ravine.optim._others import StepsMatrices, flat_others, others_of
from ravine.optim.pieces import Value
from ravine.optim.search import log


@cache
def square(dim: int, largest: int) -> Callable[[tuple[int, ...]], tuple[int, int]]:
    """The shape of a matrix that belongs to a side of another; of a longer side there is none, and it is empty."""

    def of_side(shape: tuple[int, ...]) -> tuple[int, int]:
        return (shape[dim],) * 2 if shape[dim] <= largest else (0, 0)

    return of_side


def is_due(due: float | Tensor) -> bool:
    """Whether a number of the formula is not 0; of a tensor without data yes."""
    return (isinstance(due, Tensor) and is_fake(due)) or bool(due)


def eigenvectors(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues of symmetric matrices and their vectors; NaN of matrices with NaN or infinity, for which torch raises."""
    finite = torch.isfinite(x).all(-1, keepdim=True).all(-2, keepdim=True)
    values, vectors = torch.linalg.eigh(torch.where(finite, x, 0.0))
    return torch.where(finite[..., 0], values, torch.nan), torch.where(finite, vectors, torch.nan)


def inverse_root(x: Tensor, power: int, eps: float) -> Tensor:
    """(x + eps I) ^ (-1 / power)."""
    values, vectors = eigenvectors(x)
    return (vectors * (values.clamp(min=0) + eps).pow(-1 / power).unsqueeze(-2)) @ vectors.mT


@tensor_function(returns=5, batched=True)
def over_roots(
    x: Tensor, left: Tensor, right: Tensor, left_root: Tensor, right_root: Tensor, due: float, eps: float
) -> tuple[Tensor, ...]:
    """Algorithm 1: sums of products of rows and of columns, their inverse fourth roots, and the gradient between those."""
    sides = bool(left.numel()), bool(right.numel())
    left = left + x @ x.mT if sides[0] else left
    right = right + x.mT @ x if sides[1] else right
    if is_due(due):
        power = 4 if all(sides) else 2
        left_root = inverse_root(left, power, eps) if sides[0] else left_root
        right_root = inverse_root(right, power, eps) if sides[1] else right_root
    update = left_root @ x if sides[0] else x
    return (update @ right_root if sides[1] else update), left, right, left_root, right_root


@cache
def shampoo(largest: int) -> Piece:
    """The piece for matrices of sides up to a length."""
    rows, columns = square(-2, largest), square(-1, largest)

    def preconditioned(
        update: Value,
        left: Value = tensor_state(rows),
        right: Value = tensor_state(columns),
        left_root: Value = tensor_state(rows),
        right_root: Value = tensor_state(columns),
        *,
        eps: Value,
        precondition_frequency: Value,
        step: Value,
    ) -> Any:
        due = where((step - 1) % precondition_frequency == 0, 1, 0)
        return over_roots(update, left, right, left_root, right_root, due, eps)

    return Piece(preconditioned)


class Shampoo(StepsMatrices):
    """Shampoo: a matrix is stepped by ``L^(-1/4) G R^(-1/4)``, with L and R the sums of G G' and G' G so far; AdamW for the rest.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate of the matrices.
        momentum: share of the last step that is added to the next.
        weight_decay: shrinks the matrices by ``lr * weight_decay``.
        eps: added to the eigenvalues of L and R.
        precondition_frequency: the roots are computed in the first step and then once in so many. Between two, a gradient that
            has a new direction is divided by ``eps ** 0.5``: with more than 1, take a larger eps.
        max_precondition_dim: a side that is longer has no L or R, and the root of the other is the square root.
        others: as of ``Muon``: options of AdamW for parameters that have not two dimensions, or False.
        precondition: of a group: False leaves its matrices to AdamW too.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    A matrix of n x m keeps n x m + 2 n x n + 2 m x m numbers, and without momentum n x m less. In the paper L and R begin as eps I,
    which is the same; a vector has a matrix too, and tensors of k dimensions have k of them (algorithm 2); roots are computed
    in every step. Its momentum, in the experiments, is that of torch's SGD.
    """

    reference: ClassVar = "Gupta et al., 2018, Shampoo: Preconditioned Stochastic Tensor Optimization, algorithm 1"
    advice: ClassVar = (
        "The root of the second-order optimizers for matrices: as a baseline for SOAP and Muon, on matrices "
        "that are not too large. Roots are taken anew at every interval."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-4, 1.0)),
        "eps": Hyper(low=0, zero=False),
        "momentum": Hyper(low=0, high=1, below=True),
        "precondition_frequency": Hyper(low=1),
        "max_precondition_dim": Hyper(low=0),
    }
    rates: ClassVar = {"digits": 0.02, "breast-cancer": 0.05, "rosenbrock": 0.002, "beale": 0.005, "ravine": 0.1}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-2,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eps: float = 1e-6,
        precondition_frequency: int = 1,
        max_precondition_dim: int = 4096,
        *,
        others: Mapping[str, Any] | bool = True,
        precondition: bool = True,
        maximize: bool = False,
        fused: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            eps=eps,
            precondition_frequency=precondition_frequency,
            max_precondition_dim=max_precondition_dim,
            **flat_others(others, lr),
            precondition=precondition,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(
        max_precondition_dim: int,
        momentum: float,
        weight_decay: float,
        precondition: bool,
        others_weight_decay: float | None,
        ndim: int,
    ) -> Pieces:
        if ndim != 2 or not precondition:
            return [others_of(others_weight_decay)]
        return [
            shampoo(max_precondition_dim),
            *([pieces.momentum] if momentum else []),
            *([pieces.decay_weights_decoupled] if weight_decay else []),
            pieces.descend,
        ]
