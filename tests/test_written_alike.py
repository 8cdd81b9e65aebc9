"""Settings that are the same however they are written, and those that are not."""

import numpy as np
import pytest

from ravine._written_alike import alike


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("rmsprop:lr=1e-3", "rmsprop:lr=0.001"),
        ("adam:betas=(0.9, 0.999)", "adam:betas=[.9,0.9990]"),
        ("step:800, 0.9", "step:800,0.90"),
        ('EarlyStopping(3, "loss")', "EarlyStopping(3.0, 'loss')"),
        ("OneCycle(np.float64(0.1))", "OneCycle(0.1)"),
        ((0.9, 0.999), [0.9, 0.999]),
        (1, 1.0),
        (np.float64(0.5), 0.5),
        ({"lr": [1e-3, 1]}, {"lr": (0.001, 1.0)}),
        (None, None),
    ],
)
def test_the_same_written_otherwise(a, b):
    assert alike(a, b)
    assert alike(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("rmsprop:lr=1e-3", "rmsprop:lr=1e-4"),
        ("layer1", "layer1.0"),
        ("2.1.0", "2.10.0"),
        ("adam", "adamw"),
        ("0.1", 0.1),
        ((0.9, 0.999), (0.9, 0.999, 1.0)),
        ({"lr": 1}, {"lr": 1, "eps": 0}),
        (None, 0),
        (None, False),
        (np.zeros(3), np.zeros(3)),
    ],
)
def test_what_is_not_the_same(a, b):
    assert not alike(a, b)
    assert not alike(b, a)
