"""Every optimizer with states of 16 and 8 bits, against the path of float32 states: 200 steps, gradients of many sizes."""

from __future__ import annotations

import functools

import pytest
import torch
from torch.nn import Parameter

from ravine.optim import _registry as registry

ROWS, COLUMNS, STEPS = 72, 64, 200
#: Of a column's movement: by how much a column may end elsewhere, the median and the largest. The largest that were seen are
#: half of it; of 8 bits half of the median, since what is small beside its row's largest may be lost.
TOLERANCE = {"bfloat16": (0.03, 0.09), "float16": (0.01, 0.04), "8bit": (0.2, 2.0)}
#: Where a difference of states is what counts (a sum that grows, eigenvectors), 8 bits go further away; a maximum that decays by
#: a thousandth stands still in bfloat16.
FURTHER = {"Adamax", "MADGRAD", "NorMuon", "PSGDKron", "Rprop", "SOAP"}
NAMES = {registry.lookup(name).cls: name for name in registry.names()}
#: SparseAdam is for rows; the distance that Prodigy estimates has no end with gradients that do not change.
CASES = [name for cls, name in NAMES.items() if cls.__name__ not in ("SparseAdam", "Prodigy")]


@functools.cache
def gradients():
    """Those of every step; in a column they are a ten-thousandth of those in another."""
    sizes = 10.0 ** torch.linspace(-2, 2, COLUMNS)
    made = [torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(step)) for step in range(STEPS)]
    return [(gradient + 0.5) * sizes for gradient in made]


def moved(name, dtype):
    """Where 200 steps lead."""
    p = Parameter(torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(1)))
    before = p.detach().clone()
    optimizer = registry.lookup(name).cls([p], state_dtype=dtype)
    for gradient in gradients():
        p.grad = gradient
        optimizer.step()
    return p.detach() - before


@pytest.mark.slow  # 200 steps of every optimizer
@pytest.mark.usefixtures("one_thread")  # which is faster for such small tensors
@pytest.mark.parametrize("name", CASES)
def test_narrow_states_take_the_path_of_wide_ones(name):
    wide = moved(name, None)
    more = 2.5 if registry.lookup(name).cls.__name__ in FURTHER else 1.0
    for dtype, (median, largest) in TOLERANCE.items():
        apart = (moved(name, dtype) - wide).norm(dim=0) / wide.norm(dim=0)
        assert apart.median() <= median * more, dtype
        assert apart.max() <= largest * more, dtype
