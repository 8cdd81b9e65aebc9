"""What a loss is the mean over: rows, pixels, or weights that depend on the targets.

``cross_entropy`` with class weights or an ``ignore_index`` divides by the weights of the targets that count. The mean over
all rows is then not the mean of the batches' means by their rows, but by those weights. They are seen where torch's own
function is called, whichever lambda, partial or module calls it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Weight = Tensor | float | None
"""What the mean divides by; None where that is not known."""


def weighed(measure: Callable[[Any, Any], Any], outputs: Any, targets: Any) -> tuple[Any, Weight]:
    """The measure, and what it is the mean over, if it returns what one of torch's losses gives, and nothing else."""
    with _Observer() as observer:
        value = measure(outputs, targets)
    if len(observer.seen) == 1 and observer.seen[0][0] is value:
        return value, observer.seen[0][1]
    return value, None


def adds_up(loss: Any) -> bool:
    """Whether the loss says that it is the sum over rows: a module or a partial with ``reduction="sum"``."""
    return "sum" in (getattr(loss, "reduction", None), (getattr(loss, "keywords", None) or {}).get("reduction"))


SUMS = (
    "The loss is a sum over rows (reduction='sum'): train_loss is the sum of a batch and valid_loss that of all rows, so they cannot be "
    "compared, and the best learning rate depends on the batch size. For means: reduction='mean'."
)


class _Observer(TorchFunctionMode):
    """Sees the calls of torch's losses: what each gave, and what it is the mean over."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, Weight]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        value = func(*args, **kwargs)
        if func in _OF_CLASSES or func in _OF_ELEMENTS:
            self.seen.append((value, _divisor(func, inspect.signature(func).bind(*args, **kwargs).arguments)))
        return value


def _divisor(func: Any, given: Mapping[str, Any]) -> Weight:
    """What that loss divides by, with these arguments."""
    if given.get("size_average") is not None or given.get("reduce") is not None:
        return None
    input, target, weight = given["input"], given["target"], given.get("weight")
    reduction = given.get("reduction", "mean")
    if reduction == "batchmean":
        return float(len(input))
    if reduction != "mean" or (func in _WEIGHTED_MEANS and weight is not None):
        return None
    if func in _OF_ELEMENTS:
        return float(math.prod(torch.broadcast_shapes(input.shape, target.shape)))
    if target.is_floating_point():  # probabilities: every place counts as much
        return input.numel() / input.shape[1 if input.ndim > 1 else 0]
    counted = target != given.get("ignore_index", -100)  # nothing is indexed by it: that would wait for a GPU
    if weight is None:
        return counted.sum()
    weights = weight.double()[target.clamp(0, len(weight) - 1).long()]
    return torch.where(counted, weights, torch.zeros_like(weights)).sum()


_OF_CLASSES = {F.cross_entropy, F.nll_loss}
_WEIGHTED_MEANS = {F.mse_loss, F.l1_loss, F.huber_loss}  # theirs are weights of elements, in a form of torch's own
_OF_ELEMENTS = {
    *_WEIGHTED_MEANS,
    F.smooth_l1_loss,
    F.kl_div,
    F.binary_cross_entropy,
    F.binary_cross_entropy_with_logits,
}
