"""SOAP: Adam in the basis in which Shampoo's matrices are diagonal."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from ravine.formula import Piece, maximum, sqrt, squares, tensor_function, tensor_state, where
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Params
from ravine.optim._others import StepsMatrices, flat_others, others_of
from ravine.optim._shampoo import eigenvectors, is_due, square
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log


def turned(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """left x right, without the sides that have no matrix."""
    x = left @ x if left.numel() else x
    return x @ right if right.numel() else x


@tensor_function(returns=2, batched=True)
def into_basis(x: Tensor, y: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Two matrices in the basis of eigenvectors."""
    return turned(x, left.mT, right), turned(y, left.mT, right)


@tensor_function(batched=True)
def out_of_basis(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """A matrix of the basis of eigenvectors as it is outside."""
    return turned(x, left, right.mT)


@tensor_function(returns=5, batched=True)
def next_basis(
    x: Tensor,
    squares: Tensor,
    left: Tensor,
    right: Tensor,
    left_basis: Tensor,
    right_basis: Tensor,
    beta: float,
    first: float,
    due: float,
) -> tuple[Tensor, ...]:
    """The averages of products of rows and of columns, and their eigenvectors: exact in the first step, and then improved.

    An improvement is one step of the power iteration, in falling order of the eigenvalues; the squares follow that order.
    """
    sides = []
    for product, basis, dim in ((x @ x.mT, (left, left_basis), -2), (x.mT @ x, (right, right_basis), -1)):
        mean, vectors = basis
        if mean.numel():
            mean = mean + (1 - beta) * (product - mean)
            if is_due(first):
                vectors = eigenvectors(mean)[1].flip(-1)
            elif is_due(due):
                grown = mean @ vectors
                order = (vectors * grown).sum(-2).argsort(dim=-1, descending=True, stable=True)
                squares = squares.take_along_dim(order.unsqueeze(-1 if dim == -2 else -2), dim)
                vectors = torch.linalg.qr(grown.take_along_dim(order.unsqueeze(-2), -1))[0]
        sides += [mean, vectors]
    return squares, sides[0], sides[2], sides[1], sides[3]


@cache
def adam_in_basis(largest: int) -> Piece:
    """The piece for matrices, of which sides up to a length have a basis."""
    rows, columns = square(-2, largest), square(-1, largest)

    def soap(
        update: Value,
        exp_avg: Value = 0.0,
        exp_avg_sq: Value = squares(0.0),
        left: Value = tensor_state(rows),
        right: Value = tensor_state(columns),
        left_basis: Value = tensor_state(rows),
        right_basis: Value = tensor_state(columns),
        *,
        betas: Value,
        shampoo_beta: Value,
        eps: Value,
        precondition_frequency: Value,
        step: Value,
    ) -> Any:
        (beta1, beta2), made, gradient = betas, maximum(1, step - 1), update
        begun, first = step > 1, where(step == 1, 1, 0)
        exp_avg = where(begun, beta1 * exp_avg + (1 - beta1) * gradient, exp_avg)
        turned_gradient, turned_avg = into_basis(gradient, exp_avg, left_basis, right_basis)
        exp_avg_sq = where(begun, beta2 * exp_avg_sq + (1 - beta2) * turned_gradient**2, exp_avg_sq)
        unbiased = sqrt(1 - beta2**made) / (1 - beta1**made)
        update = out_of_basis(unbiased * turned_avg / (sqrt(exp_avg_sq) + eps), left_basis, right_basis)
        due = where((step - 1) % precondition_frequency == 0, 1, 0)
        new = next_basis(gradient, exp_avg_sq, left, right, left_basis, right_basis, shampoo_beta, first, due)
        return update, exp_avg, *new

    return Piece(soap)


def after_the_first(param: Value, *, update: Value, lr: Value, weight_decay: Value, step: Value) -> Value:
    """A step and a decoupled decay of the weights; none where there was no basis yet."""
    return where(step > 1, (param - lr * update) * (1 - lr * weight_decay), param)


class SOAP(StepsMatrices):
    """SOAP: Adam in the eigenbasis of Shampoo's matrices L and R, which changes slowly; AdamW for what is no matrix.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate of the matrices.
        betas: decays of the averages of gradients and of their squares in the basis.
        shampoo_beta: decay of the averages of G G' and G' G.
        eps: added to the root of squares.
        weight_decay: shrinks the matrices by ``lr * weight_decay``, after the step.
        precondition_frequency: the basis is improved once in so many steps.
        max_precondition_dim: a side that is longer keeps its own basis.
        others: as of ``Muon``: options of AdamW for parameters that have not two dimensions, or False.
        precondition: of a group: False leaves its matrices to AdamW too.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    The first step makes the basis, and leaves the matrices where they are. A matrix of n x m keeps 2 n x m + 2 n x n + 2 m x m
    numbers. As the authors' code: the averages are those outside the basis, turned in every step, and when the eigenvalues
    change their order the squares do too. There what is no matrix is stepped by Adam with the same options, and
    tensors of more dimensions have a basis for each.
    """

    reference: ClassVar = (
        "Vyas et al., 2024, SOAP: Improving and Stabilizing Shampoo using Adam, algorithms 3 and 4; order and first step: its "
        "authors' code"
    )
    advice: ClassVar = (
        "For transformers where AdamW's steps are too many and matrices are not too large: it keeps two "
        "square matrices for each. It takes AdamW's rates; eigenvectors are brought up to date at every "
        "preconditioning interval."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "betas": Hyper(low=0, high=1, below=True, length=2, search=(complement(0.0, 0.99), None)),
        "shampoo_beta": Hyper(low=0, high=1, below=True),
        "precondition_frequency": Hyper(low=1),
        "max_precondition_dim": Hyper(low=0),
    }
    rates: ClassVar = {"digits": 0.005, "breast-cancer": 0.02, "rosenbrock": 0.002, "beale": 0.005, "ravine": 0.05}

    def __init__(
        self,
        params: Params,
        lr: Any = 3e-3,
        betas: tuple[float, float] = (0.95, 0.95),
        shampoo_beta: float = 0.95,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        precondition_frequency: int = 10,
        max_precondition_dim: int = 10000,
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
            betas=betas,
            shampoo_beta=shampoo_beta,
            eps=eps,
            weight_decay=weight_decay,
            precondition_frequency=precondition_frequency,
            max_precondition_dim=max_precondition_dim,
            **flat_others(others, lr),
            precondition=precondition,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(max_precondition_dim: int, precondition: bool, others_weight_decay: float | None, ndim: int) -> Pieces:
        if ndim != 2 or not precondition:
            return [others_of(others_weight_decay)]
        return [adam_in_basis(max_precondition_dim), after_the_first]
