"""Muon: matrices step along their momentum made orthogonal; what is no matrix is left to AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from ravine.formula import Piece, maximum, numel, sqrt, tensor_function
from ravine.optim import pieces
from ravine.optim._common import Common
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Params
from ravine.optim._others import StepsMatrices, flat_others, others_of
from ravine.optim.pieces import Value
from ravine.optim.search import complement, log

#: The coefficients of the iteration.
COEFFICIENTS = (3.4445, -4.775, 2.0315)


@tensor_function(batched=True)
def orthogonalize(x: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """About U V of the singular value decomposition U S V of a matrix, by Newton and Schulz's iteration in bfloat16."""
    a, b, c = coefficients
    tall = x.size(-2) > x.size(-1)
    y = x.bfloat16()
    y = y.mT if tall else y
    y = y / y.norm(dim=(-2, -1), keepdim=True).clamp(min=eps)
    one = y.ndim == 2
    y = y[None] if one else y
    for _ in range(steps):
        gram = torch.bmm(y, y.mT)
        y = torch.baddbmm(y, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), y, beta=a)
    y = y[0] if one else y
    # Contiguous, so that whoever takes it does not copy it once more.
    return (y.mT if tall else y).to(x.dtype, memory_format=torch.contiguous_format)


@cache
def orthogonal(coefficients: tuple[float, float, float], steps: int, eps: float) -> Piece:
    """The piece that makes the update orthogonal; the numbers of its iteration are part of the formula."""

    def newton_schulz(update: Value) -> Value:
        return orthogonalize(update, coefficients=coefficients, steps=steps, eps=eps)

    return Piece(newton_schulz)


def averaged_momentum(update: Value, momentum_buffer: Value = 0.0, *, momentum: Value) -> tuple[Value, Value]:
    """A decaying average of the gradients."""
    momentum_buffer = momentum_buffer + (1 - momentum) * (update - momentum_buffer)
    return momentum_buffer, momentum_buffer


def averaged_nesterov(update: Value, momentum_buffer: Value = 0.0, *, momentum: Value) -> tuple[Value, Value]:
    """The average, and the gradient once more."""
    momentum_buffer = momentum_buffer + (1 - momentum) * (update - momentum_buffer)
    return update + momentum * (momentum_buffer - update), momentum_buffer


def tall_are_longer(update: Value) -> Value:
    """Lengthen the update of a matrix with more rows than columns (Jordan et al., 2024)."""
    return update * sqrt(maximum(1.0, numel(update, dim=-2) / numel(update, dim=-1)))


def as_long_as_adamw(update: Value) -> Value:
    """Lengthen the update to the usual size of AdamW's, so that its rates can be kept (Liu et al., 2025, eq. 4)."""
    return update * (0.2 * sqrt(maximum(numel(update, dim=-2), numel(update, dim=-1))))


class Muon(StepsMatrices):
    """Muon: the momentum of every matrix made orthogonal, so that all its directions are stepped alike; AdamW for the rest.

    Args:
        params: parameters, named parameters or groups.
        lr: learning rate of the matrices.
        weight_decay: shrinks the matrices by ``lr * weight_decay``.
        momentum: decay of the average of gradients.
        nesterov: look ahead along it.
        ns_coefficients: of the iteration that makes a matrix orthogonal.
        eps: the least norm that it divides by.
        ns_steps: how often it is repeated.
        adjust_lr_fn: ``"original"`` (or None) lengthens steps of tall matrices; ``"match_rms_adamw"`` makes them as long as
            AdamW's, so that its learning rate can be kept.
        others: options of AdamW for parameters that have not two dimensions: ``{"lr": 3e-4, "betas": (0.9, 0.95), "eps": 1e-8,
            "weight_decay": 0.0}``. Without them betas and eps are as here, and lr and weight_decay those of the matrices, of which lr is
            high for AdamW; a schedule moves both rates.
            False: such parameters are an error, as in ``torch.optim.Muon``.
        orthogonalize: of a group: False leaves its matrices to AdamW too, as is wanted of embeddings and the last layer.
        maximize: ascend.
        fused, common: as every optimizer; see ``Optimizer`` and ``Common``.

    With ``others=False`` the numbers and state dicts are those of ``torch.optim.Muon``; Ravine also counts ``step``.
    """

    reference: ClassVar = (
        "Jordan et al., 2024, Muon: An optimizer for hidden layers in neural networks; adjust_lr_fn: Liu et al., 2025, Muon is "
        "Scalable for LLM Training, eq. 4"
    )
    advice: ClassVar = (
        "For the hidden matrices of transformers and multilayer perceptrons, where a step's matrix products "
        "are cheap beside the backward pass. Put embeddings and the last layer into a group with "
        'orthogonalize=False. With adjust_lr_fn="match_rms_adamw" AdamW\'s rates and decay can be kept.'
    )
    hypers: ClassVar = {
        "lr": Hyper(low=0, search=log(1e-4, 1.0)),
        "momentum": Hyper(low=0, high=1, below=True, search=complement(0.5, 0.99)),
        "ns_coefficients": Hyper(length=3),
        "ns_steps": Hyper(low=0, high=99),
        "adjust_lr_fn": Hyper(choices=("original", "match_rms_adamw"), optional=True),
    }
    rates: ClassVar = {"digits": 0.02, "breast-cancer": 0.05, "rosenbrock": 0.002, "beale": 0.01, "ravine": 0.1}
    not_in_torch: ClassVar = {"step": 1.0}

    def __init__(
        self,
        params: Params,
        lr: Any = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = COEFFICIENTS,
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
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
            nesterov=nesterov,
            ns_coefficients=ns_coefficients,
            eps=eps,
            ns_steps=ns_steps,
            adjust_lr_fn=adjust_lr_fn,
            **flat_others(others, lr),
            orthogonalize=orthogonalize,
            maximize=maximize,
            fused=fused,
            **common,
        )

    @staticmethod
    def formula(
        nesterov: bool,
        ns_coefficients: tuple[float, float, float],
        eps: float,
        ns_steps: int,
        adjust_lr_fn: str | None,
        weight_decay: float,
        orthogonalize: bool,
        others_weight_decay: float | None,
        ndim: int,
    ) -> Pieces:
        if ndim != 2 or not orthogonalize:
            return [others_of(others_weight_decay)]
        return [
            averaged_nesterov if nesterov else averaged_momentum,
            orthogonal(ns_coefficients, ns_steps, eps),
            as_long_as_adamw if adjust_lr_fn == "match_rms_adamw" else tall_are_longer,
            *([pieces.decay_weights_decoupled] if weight_decay else []),
            pieces.descend,
        ]
