"""Rules about numbers of 16 and 8 bits: states and parameters that are held back by rounding.

Each is a function from the evidence to a sentence, or None.
"""

from __future__ import annotations

import numpy as np

from ravine._whole_numbers import count
from ravine.diagnose._evidence import Evidence
from ravine.diagnose._readings import listed, median_of, number, weights

TOO_MUCH = 0.5
"""What is rounded away, over what is added; rounded to nearest, nothing has more than 1.

Measured by ``benchmarks/rounding_cost.py``: an average of squares in bfloat16 of 4,096 normal gradients, 4,000 steps, rounded to
nearest, by its beta: the figure, and how far its root, which a step divides by, is from float64's::

    0.95 0.02, 0%    0.98 0.06, 0%    0.99 0.13, 1%    0.995 0.25, 5%    0.999 0.84, 23%    0.9999 0.88, 24%

With gradients whose sizes differ between elements (log-normal, sigma 2) 0.995 has 0.42 and 3%, 0.999 has 1.00 and 21%. With bursts
(log-normal from step to step, sigma 1) 0.999 has only 0.36, and 67%, which this rule does not find: it reports nothing that may be
harmless. Parameters in bfloat16 against float32, an MLP on the digits, the mean training loss at the end: no clear difference up to a
figure of 0.33 (AdamW, 150 steps), 1.9 times the loss at 0.71 (SGD), 4 to 10 times at 0.9 (SGD, AdamW), and hardly any training from
0.99 on. Rounded at random the figure is not bounded, and says nothing against it: 0.999 has 1.37, and 1.5%."""
FEWEST_STEPS = 40
"""Averages that begin at 0 move in large steps at first."""


def state_rounding(evidence: Evidence) -> str | None:
    """States of weights that are rounded to nearest, and keep less than half of what is added to them."""
    lost = _held_back(evidence, evidence.history.state_rounding, states=True)
    if not lost:
        return None
    names = [name for name, _ in lost]
    tensors = _tensors(evidence, names[0], states=True)
    whose = (
        f"the state {tensors[0][0]}" if len(tensors) == 1 else f"one of the states {listed([t[0] for t in tensors])}"
    )
    return (
        f"In {whose} ({_dtypes(tensors)}, rounded to nearest) of {listed(names)} {_how_much(evidence, lost)}: an average that "
        "changes by less than half of its last digit stays where it is."
    )


def param_rounding(evidence: Evidence) -> str | None:
    """Weights of 16 bits that are rounded to nearest, and keep less than half of what is added to them."""
    lost = _held_back(evidence, evidence.history.param_rounding, states=False)
    if not lost:
        return None
    names = [name for name, _ in lost]
    dtypes = _dtypes(_tensors(evidence, names[0], states=False))
    return f"In {listed(names)} ({dtypes}) {_how_much(evidence, lost)}."


def _tensors(evidence: Evidence, name: str, states: bool) -> list[list[str]]:
    return [t for t in evidence.narrow.get(name, []) if (t[0] != "param") is states]


def _dtypes(tensors: list[list[str]]) -> str:
    return listed(list(dict.fromkeys(dtype for _, dtype, _ in tensors)))


def _recent(evidence: Evidence) -> slice:
    """The second half of the history."""
    return slice(len(evidence.history) // 2, None)


def _held_back(evidence: Evidence, figures: np.ndarray, states: bool) -> list[tuple[str, float]]:
    """The weights that lose too much, with the median of what they lose."""
    if evidence.steps < FEWEST_STEPS or not len(evidence.history):
        return []
    held_back = []
    for column in weights(evidence):
        name = evidence.history.names[column]
        tensors = _tensors(evidence, name, states)
        lost = median_of(figures[_recent(evidence), column])
        if tensors and all(how == "nearest" for *_, how in tensors) and lost > TOO_MUCH:
            held_back.append((name, lost))
    return held_back


def _how_much(evidence: Evidence, lost: list[tuple[str, float]]) -> str:
    first, last = evidence.history.first[_recent(evidence)][0], evidence.history.last[-1]
    return (
        f"{number(float(np.median([share for _, share in lost])))} of the norm of what a step adds is rounded away (median over the last "
        f"{count(int(last - first + 1), 'step')}; 1 is a standstill)"
    )
