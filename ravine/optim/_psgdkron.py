"""PSGD-Kron: the gradient of a matrix whitened by two triangular matrices that are fitted step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from ravine._compat.torch import is_fake
from ravine.backends import to_device
from ravine.formula import Piece, exp, maximum, minimum, rms, scalar, tensor_function, tensor_state, where
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Params
from ravine.optim._others import StepsMatrices, flat_others, others_of
from ravine.optim._shampoo import is_due
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log

#: The factors are fitted in every one of so many steps, and from there in a share of steps that falls at this rate.
FLAT, FALL = 500, 0.001
#: The root mean square to which longer updates are shortened.
LONGEST = 1.1


@cache
def factor(dim: int, largest: int) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """The shape of the factor of a side: a triangular matrix, and of a longer side its diagonal."""

    def of_side(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[dim],) * 2 if shape[dim] <= largest else (shape[dim],)

    return of_side


def noise(like: Tensor, step: float | Tensor) -> Tensor:
    """Normal numbers that the step and the shape of a matrix decide, so that a run that goes on has the same."""
    generator = torch.Generator().manual_seed(0 if isinstance(step, Tensor) and is_fake(step) else int(step))
    made = torch.randn(like.shape[-2:], generator=generator, dtype=like.dtype)
    return to_device(made, like.device).expand_as(like)


def times_left(factor: Tensor, x: Tensor) -> Tensor:
    """The factor of the rows times x."""
    return factor @ x if factor.ndim == x.ndim else factor.unsqueeze(-1) * x


def over_right(x: Tensor, factor: Tensor) -> Tensor:
    """x times the inverse of a factor of the columns."""
    if factor.ndim == x.ndim:
        return torch.linalg.solve_triangular(factor, x, upper=True, left=False)
    return x / factor.unsqueeze(-2)


def spectral_norm(x: Tensor) -> Tensor:
    """A lower bound of the spectral norm of symmetric matrices: one step from the longest column (Li, 2024)."""
    size = x.abs().amax((-2, -1), keepdim=True)
    x = x / torch.where(size > 0, size, 1.0)
    longest = x.square().sum(-1).argmax(-1)[..., None, None]
    column = x @ x.take_along_dim(longest, -1)
    column = column / torch.linalg.vector_norm(column, dim=-2, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    return size * torch.linalg.vector_norm(x @ column, dim=-2, keepdim=True)


def fitted(factor: Tensor, whitened: Tensor, whitened_noise: Tensor, rate: float) -> Tensor:
    """A step of a factor towards that with which both have the same second moments, relative to the factor itself."""
    tiny = torch.finfo(torch.bfloat16).tiny
    if factor.ndim == whitened.ndim:
        one, other = whitened @ whitened.mT, whitened_noise @ whitened_noise.mT
        return factor - (rate * (one - other)).triu() / (spectral_norm(one + other) + tiny) @ factor
    one, other = whitened.square().sum(-1), whitened_noise.square().sum(-1)
    return factor - rate * (one - other) * factor / ((one + other).amax(-1, keepdim=True) + tiny)


def balanced(left: Tensor, right: Tensor, ndim: int) -> tuple[Tensor, Tensor]:
    """Two factors with the same largest magnitude: their product, which is all that counts, stays."""
    one, other = (f.flatten(ndim - 2).abs().amax(-1) for f in (left, right))
    ratio = (other / one).sqrt()
    left_ratio, right_ratio = (
        r.view(*r.shape, *[1] * (f.ndim - r.ndim)) for r, f in ((ratio, left), (1 / ratio, right))
    )
    return left * left_ratio, right * right_ratio


@tensor_function(returns=3, batched=True)
def whiten(
    x: Tensor, left: Tensor, right: Tensor, step: float, due: float, precondition_lr: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Q_l' Q_l x Q_r' Q_r, and where it is due a step of both factors Q before."""
    if not x.numel():
        return x, left, right
    if is_due(step == 1):
        left, right = (
            torch.ones_like(f)
            if f.ndim < x.ndim
            else torch.eye(f.size(-1), dtype=f.dtype, device=f.device).expand_as(f)
            for f in (left, right)
        )
    if is_due(due):
        left, right = balanced(left, right, x.ndim)
        whitened = times_left(right, times_left(left, x).mT).mT
        over_left = over_right(noise(x, step).mT, left).mT
        whitened_noise = over_right(over_left, right)
        left, right = (
            fitted(left, whitened, whitened_noise, precondition_lr),
            fitted(right, whitened.mT, whitened_noise.mT, precondition_lr),
        )
    update = times_left(right, times_left(left, x).mT)
    update = times_left(right.mT if right.ndim == x.ndim else right, update).mT
    return times_left(left.mT if left.ndim == x.ndim else left, update), left, right


@cache
def kron(largest: int) -> Piece:
    """The piece for matrices, of which sides up to a length have a triangular factor."""
    rows, columns = factor(-2, largest), factor(-1, largest)

    def whitened(
        update: Value,
        momentum_buffer: Value = 0.0,
        left: Value = tensor_state(rows),
        right: Value = tensor_state(columns),
        steps_since: Value = scalar(0.0),
        *,
        momentum: Value,
        precondition_lr: Value,
        least_share: Value,
        step: Value,
    ) -> Any:
        momentum_buffer = momentum * momentum_buffer + (1 - momentum) * update
        share = maximum(least_share, minimum(1.0, exp(-FALL * (step - 1 - FLAT))))
        steps_since = steps_since + 1
        due = where(steps_since >= 1 / share, 1, 0)
        unbiased = momentum_buffer / (1 - momentum**step)
        update, left, right = whiten(unbiased, left, right, step, due, precondition_lr)
        update = update * minimum(1.0, LONGEST / (rms(update) + 1e-6))
        return update, momentum_buffer, left, right, (1 - due) * steps_since

    return Piece(whitened)


class PSGDKron(StepsMatrices):
    """PSGD-Kron: a matrix is stepped by its whitened momentum, ``P_l M P_r``, with P_l and P_r fitted so that it is white.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate of the matrices; updates have about the root mean square 1.
        momentum: decay of the average of gradients.
        weight_decay: shrinks the matrices by ``lr * weight_decay``.
        precondition_lr: length of a step of the factors, relative to them.
        least_share: the share of steps in which the factors are fitted in the end: all of the first 500, then fewer and fewer.
            1: all.
        max_size_triangular: a side that is longer has a diagonal factor, and not a triangular one.
        others: as of ``Muon``: options of AdamW for parameters that have not two dimensions, or False.
        precondition: of a group: False leaves its matrices to AdamW too.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    With P = Q' Q, and Q = Q_l for rows and Q_r for columns, triangular: both are fitted by steps in their group, relative to
    themselves, by the criterion of gradient whitening with random vectors V, which are a function of the step and the shape.
    Numbers are those of the usual implementations (kron_torch): updates are shortened to a root mean square of 1.1. There
    the factors are balanced at random, which changes no step, V comes from torch's generator, and a vector has a diagonal factor.
    """

    reference: ClassVar = (
        "Li, 2015, Preconditioned Stochastic Gradient Descent; Li, 2024, Stochastic Hessian Fittings with Lie Groups, table I, "
        "the Kronecker product"
    )
    advice: ClassVar = (
        "Where gradients are strongly correlated between rows or columns, as in recurrent networks and "
        "transformers, and matrices are not too large. Its preconditioner needs some hundred steps to fit."
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-5, 0.1)),
        "momentum": Hyper(low=0, high=1, below=True, search=complement(0.0, 0.99)),
        "precondition_lr": Hyper(low=0, high=1),
        "least_share": Hyper(low=0, high=1, zero=False),
        "max_size_triangular": Hyper(low=0),
    }
    rates: ClassVar = {"digits": 0.002, "breast-cancer": 0.01, "rosenbrock": 0.002, "beale": 0.005, "ravine": 0.1}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        precondition_lr: float = 0.1,
        least_share: float = 0.03,
        max_size_triangular: int = 8192,
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
            precondition_lr=precondition_lr,
            least_share=least_share,
            max_size_triangular=max_size_triangular,
            **flat_others(others, lr),
            precondition=precondition,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(
        max_size_triangular: int, weight_decay: float, precondition: bool, others_weight_decay: float | None, ndim: int
    ) -> Pieces:
        if ndim != 2 or not precondition:
            return [others_of(others_weight_decay)]
        decay = [pieces.decay_weights_decoupled] if weight_decay else []
        return [kron(max_size_triangular), *decay, pieces.descend]
