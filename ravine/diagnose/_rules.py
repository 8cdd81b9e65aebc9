"""The rules of the diagnosis in one table, the most serious first: causes stand before what follows from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ravine.diagnose import _curve_rules as curve
from ravine.diagnose import _layer_rules as layer
from ravine.diagnose import _rate_rules as rate
from ravine.diagnose._evidence import Evidence


@dataclass(frozen=True)
class Rule:
    """One fault that a run can have.

    Attributes:
        name: how it is called in code.
        title: what is wrong, in a few words.
        check: from the evidence to what shows it, in words with numbers, steps and names; None where nothing does,
            or where what it needs is not known.
        advice: what to try.
        explains: names of rules that find no more than what follows from this one; where this one finds something,
            they are not shown.
    """

    name: str
    title: str
    check: Callable[[Evidence], str | None]
    advice: str
    explains: tuple[str, ...] = ()


RULES = (
    Rule(
        "nonfinite",
        "Gradients or losses were not finite",
        rate.nonfinite,
        "Look at the first parameter and step that are named: a logarithm or root of 0, a division by 0, data with NaN, "
        "or numbers too large for 16 bits. If the loss rose before, the learning rate is too high. Clipping the "
        "gradient does not repair a NaN.",
    ),
    Rule(
        "rate_too_high",
        "Learning rate too high",
        rate.rate_too_high,
        "Divide the learning rate by 10, or look for one with lr_find. If only the first steps are wild: a warm-up, or "
        "gradient clipping.",
        explains=("spikes", "plateau"),
    ),
    Rule(
        "exploding",
        "Gradients explode from layer to layer",
        layer.exploding,
        "An initialisation that fits the activation (Kaiming for ReLU, Xavier for tanh), normalisation between the "
        "layers, residual connections; gradient clipping against the worst.",
    ),
    Rule(
        "vanishing",
        "Gradients vanish from layer to layer",
        layer.vanishing,
        "ReLU or GELU in place of sigmoid or tanh, an initialisation that fits it, normalisation between the layers, "
        "residual connections, or fewer layers.",
        explains=("rate_too_low", "plateau"),
    ),
    Rule(
        "dead_units",
        "Dead units",
        layer.dead_units,
        "A lower learning rate or a warm-up, biases that start at 0, LeakyReLU or GELU, inputs of mean 0 and deviation 1. "
        "Units that are dead stay so: begin anew.",
        explains=("zero_gradient", "rate_too_low", "plateau"),
    ),
    Rule(
        "no_gradient",
        "Parameters that never get a gradient",
        layer.no_gradient,
        "See whether forward uses them, and whether detach, no_grad or a number taken out with item() cuts the way. "
        "If they are meant to rest, give them requires_grad=False.",
    ),
    Rule(
        "zero_gradient",
        "Gradients that are always 0",
        layer.zero_gradient,
        "See what they are multiplied with: activations that are always 0 or saturated, weights that start at 0, a mask, "
        "or gradients too small for 16 bits.",
        explains=("plateau",),
    ),
    Rule(
        "eps_dominates",
        "eps dominates the root",
        layer.eps_dominates,
        "A smaller eps, such as 1e-8, or a loss that is not scaled down: as it is, the gradients are divided by eps, "
        "and not by their own size.",
        explains=("rate_too_low", "plateau"),
    ),
    Rule(
        "overshooting",
        "Momentum overshoots",
        curve.overshooting,
        "Less momentum (0.9 in place of 0.99), a lower learning rate, or Nesterov's momentum.",
        explains=("spikes", "plateau"),
    ),
    Rule(
        "spikes",
        "Loss spikes",
        curve.spikes,
        "Look at the batches of these steps: wrong or extreme data. Gradient clipping, a lower learning rate or a smaller "
        "second beta (0.95) make a run bear them.",
    ),
    Rule(
        "rate_too_low",
        "Learning rate too low",
        rate.rate_too_low,
        "Multiply the learning rate by 10, or look for one with lr_find.",
        explains=("plateau",),
    ),
    Rule(
        "plateau",
        "The loss stands still",
        curve.plateau,
        "See whether inputs and targets belong together, whether the inputs differ and are scaled, and whether the loss is "
        "the right one. Train on one batch alone: a model that cannot learn that by heart has a bug. Then another rate.",
    ),
    Rule(
        "overconfident",
        "Validation loss rises while accuracy rises",
        curve.overconfident,
        "The model grows surer than it is right. Label smoothing, weight decay, dropout or more data; if only accuracy "
        "counts, keep the best model by accuracy and not by loss.",
    ),
)
"""All rules, in the order in which findings are shown."""
