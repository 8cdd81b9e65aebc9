"""Rules about what was given to train: shapes that do not match, parameters that the optimizer does not have.

Each is a function from the evidence to a sentence, or None.
"""

from __future__ import annotations

from ravine._whole_numbers import count
from ravine.diagnose._evidence import Evidence
from ravine.diagnose._readings import listed
from ravine.train import _broadcasting as broadcasting

_FEW_STEPS = 5


def broadcast(evidence: Evidence) -> str | None:
    """Outputs and targets of different shapes that broadcasting makes into more elements than either has."""
    return broadcasting.sentence(*evidence.shapes) or None if len(evidence.shapes) == 2 else None


def bad_data(evidence: Evidence) -> str | None:
    """NaN or infinity in the data, where a loss was not finite."""
    return f"{evidence.bad_data[0].upper()}{evidence.bad_data[1:]}." if evidence.bad_data else None


def loss_of_zero(evidence: Evidence) -> str | None:
    """A loss that is 0 from the first step on: nothing is left to learn, or nothing was ever asked."""
    losses = evidence.losses
    if len(losses) < _FEW_STEPS or losses.any():
        return None
    return f"The training loss was 0 in each of {count(len(losses), 'step')}, from the first on."


def left_out(evidence: Evidence) -> str | None:
    """Parameters that require a gradient, and are in no group."""
    if not evidence.left_out:
        return None
    return (
        f"{listed(evidence.left_out)} {'requires' if len(evidence.left_out) == 1 else 'require'} a gradient and "
        f"{'is' if len(evidence.left_out) == 1 else 'are'} in no group of the optimizer: "
        f"{count(len(evidence.left_out), 'parameter')}."
    )
