"""Rules about what was given to train: shapes that do not match, parameters that the optimizer does not have.

Each is a function from the evidence to a sentence, or None.
"""

from __future__ import annotations

from ravine.diagnose._evidence import Evidence
from ravine.diagnose._readings import counted, listed

_FEW_STEPS = 5


def broadcast(evidence: Evidence) -> str | None:
    """Outputs and targets of different shapes that broadcasting makes into more elements than either has."""
    if len(evidence.shapes) != 2:
        return None
    outputs, targets = evidence.shapes
    if outputs == targets or 0 in (*outputs, *targets):
        return None
    width = max(len(outputs), len(targets))
    pairs = list(zip((1,) * (width - len(outputs)) + outputs, (1,) * (width - len(targets)) + targets, strict=True))
    if any(a != b and 1 not in (a, b) for a, b in pairs):
        return None  # no broadcasting: the loss knows what it does with them
    spread = [a != b and a == 1 for a, b in pairs], [a != b and b == 1 for a, b in pairs]
    if not all(map(any, spread)):
        return None  # one of them has all elements, as one weight or target for many outputs
    joined = tuple(max(a, b) for a, b in pairs)
    return (
        f"A batch's outputs have the shape {outputs} and its targets {targets}: compared element by element that is "
        f"{joined}, every output with every target. The model then learns the mean of the targets."
    )


def loss_of_zero(evidence: Evidence) -> str | None:
    """A loss that is 0 from the first step on: nothing is left to learn, or nothing was ever asked."""
    losses = evidence.losses
    if len(losses) < _FEW_STEPS or losses.any():
        return None
    return f"The training loss was 0 in each of {counted(len(losses), 'step')}, from the first on."


def left_out(evidence: Evidence) -> str | None:
    """Parameters that require a gradient, and are in no group."""
    if not evidence.left_out:
        return None
    return (
        f"{listed(evidence.left_out)} {'requires' if len(evidence.left_out) == 1 else 'require'} a gradient and "
        f"{'is' if len(evidence.left_out) == 1 else 'are'} in no group of the optimizer: "
        f"{counted(len(evidence.left_out), 'parameter')}."
    )
