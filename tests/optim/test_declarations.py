"""``Hyper`` and ``Variant`` where they are declared: what is of another kind is refused there, by its name."""

from __future__ import annotations

import math
import re

import pytest

from ravine.errors import OptionError
from ravine.optim import Hyper, Variant
from ravine.optim.search import complement, log


@pytest.mark.parametrize(
    ("cls", "given", "says"),
    [
        (Hyper, {"low": "a"}, "Hyper(low='a'): it is a number, such as low=1"),
        (Hyper, {"high": None}, "Hyper(high=None): it is a number"),
        (Hyper, {"low": True}, "Hyper(low=True)"),
        (Hyper, {"low": 2, "high": 1}, "Hyper(low=2, high=1): no number lies between, so low must be below high"),
        (Hyper, {"low": 1, "high": 1, "below": True}, "no number lies between"),
        (Hyper, {"low": math.nan}, "no number lies between"),
        (Hyper, {"optional": "no"}, "Hyper(optional='no'): it is a switch, True or False"),
        (Hyper, {"length": 1.5}, "Hyper(length=1.5): it is how many numbers, such as 2 for betas"),
        (Hyper, {"length": -1}, "Hyper(length=-1)"),
        (Hyper, {"choices": "mean"}, "Hyper(choices='mean'): it is a tuple of texts, choices=('mean',)"),
        (Hyper, {"choices": (1, 2)}, "it is a tuple of texts, choices=('one', 'another')"),
        (Hyper, {"search": 3}, "Hyper(search=3): it is a range, such as log(1e-5, 0.1) of ravine.optim.search"),
        (Hyper, {"length": 2, "search": (0.9, 0.99)}, "Hyper(search=(0.9, 0.99)): it is a range"),
        (
            Hyper,
            {"length": 3, "search": (log(0.1, 1.0), None)},
            "3 numbers need 3 ranges, not 2; None where one is not",
        ),
        (Variant, {"options": 3}, "Variant(options=3): it is a dict by name, such as {'momentum': 0.9}"),
        (Variant, {"options": {1: 0.9}}, "Variant(options={1: 0.9})"),
        (Variant, {"source": None}, "Variant(source=None): it is a text"),
        (Variant, {"search": 3}, "Variant(search=3): it is a dict by name, such as {'lr': log(1e-5, 0.1)}"),
        (Variant, {"search": {"lr": (0.1, 1)}}, "Variant(search={'lr': (0.1, 1)})"),
        (
            Variant,
            {"rates": {"digits": "0.1"}},
            "Variant(rates={'digits': '0.1'}): it is a dict by name, such as {'digits'",
        ),
        (
            Variant,
            {"becomes": ("sgd",)},
            "Variant(becomes=('sgd',)): it is a dict by name, such as {'sgd': {'momentum': 0.0}}",
        ),
        (Variant, {"becomes": {"sgd": 0.0}}, "Variant(becomes={'sgd': 0.0})"),
        (Variant, {"timed": 1}, "Variant(timed=1): it is a switch"),
    ],
)
def test_what_is_of_another_kind_is_refused_where_it_is_declared(cls, given, says):
    with pytest.raises(OptionError, match=re.escape(says)):
        cls(**({"options": {}} if cls is Variant else {}) | given)


def test_what_may_be_declared():
    Hyper(low=1, high=1, length=2, search=(None, complement(0.5, 0.9)))
    Hyper(search=(log(0.1, 1.0), None))  # its length is said by the class that it derives from
    Variant({}, search={"lr": log(0.1, 1.0)}, rates={"digits": 1}, becomes={"sgd": {"momentum": 0}}, timed=True)
