"""The rules of the diagnosis in one table, the most serious first: causes come before their consequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ravine.diagnose import _curve_rules as curve
from ravine.diagnose import _data_rules as data
from ravine.diagnose import _layer_rules as layer
from ravine.diagnose import _rate_rules as rate
from ravine.diagnose import _rounding_rules as rounding
from ravine.diagnose._evidence import Evidence
from ravine.train._broadcasting import ADVICE


@dataclass(frozen=True)
class Rule:
    """One fault that a run can have.

    Attributes:
        name: its name in code.
        title: what is wrong, in a few words.
        check: from the evidence to a sentence with the numbers, steps and names that show the fault; None where
            nothing does, or where the evidence lacks what it needs.
        advice: what to try.
        explains: names of rules that find consequences of this fault; if this one applies, they are not shown.
    """

    name: str
    title: str
    check: Callable[[Evidence], str | None]
    advice: str
    explains: tuple[str, ...] = ()


RULES = (
    Rule(
        "outside_range",
        "A hyperparameter outside its range",
        rate.outside_range,
        "Choose a number below 1, such as 0.9 for momentum and the first beta and 0.99 or 0.999 for the others.",
        explains=("nonfinite", "nonfinite_validation", "rate_too_high", "overshooting", "spikes", "plateau"),
    ),
    Rule(
        "broadcast",
        "Outputs and targets are broadcast against each other",
        data.broadcast,
        ADVICE,
        explains=("plateau", "rate_too_low"),
    ),
    Rule(
        "loss_of_zero",
        "The loss is 0 whatever the model gives",
        data.loss_of_zero,
        "A cross entropy over one output is always 0: for two classes take binary_cross_entropy_with_logits, or give the last "
        "layer an output for each class. Otherwise look at the targets: all may be left out by ignore_index or a weight of 0.",
        explains=("no_update", "rate_too_low", "plateau"),
    ),
    Rule(
        "bad_data",
        "NaN or infinity in the data",
        data.bad_data,
        "Fill or remove these rows; another learning rate or gradient clipping does not help.",
        explains=("nonfinite", "nonfinite_validation"),
    ),
    Rule(
        "growing_activations",
        "Activations grow from layer to layer",
        layer.growing_activations,
        "Use an initialisation that fits the activation (Kaiming for ReLU, Xavier for tanh) or normalisation between the layers: "
        "the outputs are far too large before the first step. A lower learning rate does not help.",
        explains=("rate_too_high", "spikes", "plateau"),
    ),
    Rule(
        "endless",
        "The loss falls without end",
        curve.endless,
        "Nothing bounds this loss from below, so training makes numbers large and learns nothing. nll_loss takes logarithms of "
        "probabilities: give it log_softmax(outputs, dim=1), or cross_entropy the outputs as they are. Otherwise look for a wrong sign, or "
        "for a variance or distance that may go to 0.",
        explains=("nonfinite", "nonfinite_validation", "spikes"),
    ),
    Rule(
        "nonfinite",
        "Gradients or losses were not finite",
        rate.nonfinite,
        "Start at the first parameter and step named here: a logarithm or root of 0, a division by 0, NaN in the data, or "
        "numbers too large for 16 bits. If the loss rose before that, the learning rate is too high. Gradient clipping "
        "does not help against NaN. ravine.diagnose.find_nonfinite(model, batch, loss) names the module, and so does "
        "`ravine train --find-nonfinite`.",
    ),
    Rule(
        "nonfinite_validation",
        "The validation loss was not finite",
        rate.nonfinite_validation,
        "Look at the validation data: NaN in it, an empty batch, classes that the training data do not have, numbers that only a layer in "
        "eval mode meets, such as running statistics of BatchNorm that are not finite. "
        "ravine.diagnose.find_nonfinite(model, batch, loss) names the module.",
    ),
    Rule(
        "left_out",
        "Trainable parameters that the optimizer does not have",
        data.left_out,
        "They never change. Give them to the optimizer (optimizer.add_param_group({'params': ...})), make it after everything "
        "is unfrozen, or set requires_grad=False.",
    ),
    Rule(
        "rate_too_high",
        "Learning rate too high",
        rate.rate_too_high,
        "Divide the learning rate by 10, or find one with lr_find. If only the first steps are unstable: warm-up or gradient "
        "clipping. Large inputs or targets, such as pixels from 0 to 255, are scaled first.",
        explains=("spikes", "plateau"),
    ),
    Rule(
        "exploding",
        "Gradients explode from layer to layer",
        layer.exploding,
        "Use an initialisation that fits the activation (Kaiming for ReLU, Xavier for tanh), normalisation between the "
        "layers, or residual connections. Gradient clipping limits the damage.",
    ),
    Rule(
        "vanishing",
        "Gradients vanish from layer to layer",
        layer.vanishing,
        "Use ReLU or GELU instead of sigmoid or tanh, an initialisation that fits the activation, normalisation between "
        "the layers, residual connections, or fewer layers.",
        explains=("rate_too_low", "plateau"),
    ),
    Rule(
        "zero_weights",
        "Weights that began at 0 and stay there",
        layer.zero_weights,
        "Let weights begin at random, as torch's layers do by themselves, or by torch.nn.init.kaiming_normal_; only biases, and a "
        "layer whose inputs are not 0, may begin at 0.",
        explains=("dead_units", "zero_gradient", "no_update", "rate_too_low", "plateau"),
    ),
    Rule(
        "dead_units",
        "Dead units",
        layer.dead_units,
        "Lower the learning rate or use warm-up, start biases at 0, use LeakyReLU or GELU, normalise the inputs. Dead units "
        "do not recover: restart training.",
        explains=("zero_gradient", "rate_too_low", "plateau"),
    ),
    Rule(
        "no_gradient",
        "Parameters that never get a gradient",
        layer.no_gradient,
        "Check that forward uses them, and that no detach, no_grad or item() cuts the graph. If they should not be trained, "
        "set requires_grad=False.",
    ),
    Rule(
        "zero_gradient",
        "Gradients that are always 0",
        layer.zero_gradient,
        "Check what they are multiplied by: activations that are always 0 or saturated, weights that start at 0, a mask, or "
        "gradients too small for 16 bits.",
        explains=("no_update", "rate_too_low", "plateau"),
    ),
    Rule(
        "eps_dominates",
        "eps dominates the denominator",
        layer.eps_dominates,
        "Use a smaller eps, such as 1e-8, or do not scale the loss down: now gradients are divided by eps and not by their "
        "own size.",
        explains=("rate_too_low", "plateau"),
    ),
    Rule(
        "param_rounding",
        "Rounding takes most of what is added to the parameters",
        rounding.param_rounding,
        "A step adds less than half the distance between two numbers of 16 bits, and what is added is lost. param_bits='stochastic' "
        "rounds parameters at random, which is right on average, param_bits=24 or 32 keeps what is lost, and float32 parameters "
        "with autocast lose nothing.",
        explains=("no_update", "rate_too_low", "plateau"),
    ),
    Rule(
        "state_rounding",
        "A state hardly moves, because it is rounded",
        rounding.state_rounding,
        "rounding='stochastic' rounds states at random, which is right on average. Or keep this one in float32, such as "
        "state_dtype={'exp_avg_sq': 'float32'}, or let it move faster: an average of squares with a beta of 0.95 loses next to nothing in "
        "bfloat16.",
    ),
    Rule(
        "unlike_validation",
        "Validation data unlike the training data",
        curve.unlike_validation,
        "Compare a batch of each: inputs must be scaled by the same numbers, and classes numbered in the same way. If they agree, look "
        "at layers that differ in eval mode, such as BatchNorm after few steps, and at how the data were split.",
        explains=("overconfident",),
    ),
    Rule(
        "overshooting",
        "Momentum overshoots",
        curve.overshooting,
        "Use less momentum (0.9 instead of 0.99), a lower learning rate, or Nesterov momentum.",
        explains=("spikes", "plateau"),
    ),
    Rule(
        "spikes",
        "Loss spikes",
        curve.spikes,
        "Check the batches of these steps for wrong or extreme data. Gradient clipping, a lower learning rate or a smaller "
        "second beta (0.95) make training robust to them.",
    ),
    Rule(
        "no_update",
        "No step changed anything",
        rate.no_update,
        "Set a learning rate above 0, or a much higher one: what is added to a weight and is less than its last digit is lost.",
        explains=("rate_too_low", "plateau"),
    ),
    Rule(
        "rate_vanished",
        "The learning rate decayed to nothing",
        rate.rate_vanished,
        "Let the schedule end with the run: its steps are counted in batches or in epochs, whichever it is stepped by. Or stop "
        "where it ends.",
        explains=("rate_too_low", "plateau"),
    ),
    Rule(
        "rate_too_low",
        "Learning rate too low",
        rate.rate_too_low,
        "Multiply the learning rate by 10, or find one with lr_find.",
        explains=("plateau",),
    ),
    Rule(
        "plateau",
        "The loss does not improve",
        curve.plateau,
        "Check that inputs and targets match, that the inputs differ and are scaled, and that the loss is the right one. "
        "Overfit a single batch: a model that cannot do that has a bug. Then try another learning rate.",
    ),
    Rule(
        "overconfident",
        "Validation loss rises while accuracy rises",
        curve.overconfident,
        "The model becomes overconfident. Use label smoothing, weight decay, dropout or more data; if only accuracy counts, "
        "select the best model by accuracy and not by loss.",
    ),
)
"""All rules, in the order in which symptoms are shown."""
