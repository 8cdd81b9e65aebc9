"""Sliders: a range and a scale for every hyperparameter of every formula, from what is declared, else from the value."""

import math
from typing import ClassVar

import pytest

from ravine.contour._playground import play
from ravine.optim import Hyper, Optimizer
from ravine.optim.search import linear

RULE = """
from ravine.formula import sign
from ravine.optim import Hyper, Optimizer
from ravine.optim.search import log

def rule(param, avg=0.0, *, grad, lr, beta, tiny, factor, shift, declared):
    avg = beta * avg + (1 - beta) * grad
    return param - lr * factor * sign(avg + tiny + shift) * declared, avg

class MyRule(Optimizer):
    hypers = {"declared": Hyper(low=0, search=log(0.1, 10.0))}

    def __init__(self, params, lr=0.01, beta=0.95, tiny=1e-8, factor=2.0, shift=-3.0, declared=1.0):
        super().__init__(params, [rule], lr=lr, beta=beta, tiny=tiny, factor=factor, shift=shift, declared=declared)
"""


def sliders(player):
    return {s.name: s for s in player.sliders}


def test_every_hyperparameter_has_one_and_its_value_is_in_it():
    made = play()
    assert len(made.players) > 45
    for player in made.players:
        assert [s.name for s in player.sliders] == list(player.program.hypers)
        for slider in player.sliders:
            assert (slider.range is None) == math.isinf(slider.value), slider
            if slider.range is not None:
                assert slider.range.low <= slider.value <= slider.range.high, slider


def test_the_scale_is_the_declared_one():
    found = sliders(play(optimizers="adam:betas=(0.9,0.999),lr=0.5").players[0])
    assert (found["lr"].range.scale, found["lr"].range.low, found["lr"].range.high) == ("log", 1e-5, 1.0)
    assert (found["betas[0]"].range.scale, found["betas[0]"].range.high) == ("complement", 0.99)
    assert found["lr"].value == 0.5
    assert found["betas[1]"].symbol == "β₂"
    wide = sliders(play(optimizers="sgd:lr=50").players[0])["lr"].range
    assert (wide.low, wide.high) == (1e-4, 50)


def test_of_a_rule_of_ones_own_the_values_suggest_it(tmp_path):
    (tmp_path / "my_rule.py").write_text(RULE)
    found = sliders(play(optimizers=f"{tmp_path}/my_rule.py:MyRule").players[0])
    scales = {name: (s.range.scale, s.range.low, s.range.high) for name, s in found.items()}
    assert scales["declared"] == ("log", 0.1, 10.0)
    assert scales["beta"] == ("complement", 0.0, 0.9999)
    assert scales["tiny"] == ("log", pytest.approx(1e-11), pytest.approx(1e-5))
    assert scales["factor"] == ("log", pytest.approx(0.2), pytest.approx(20.0))
    assert scales["shift"] == ("linear", -6.0, 0.0)
    assert scales["lr"] == ("log", 1e-4, 1.0)


def test_whole_numbers_stay_whole():
    found = sliders(play(optimizers="sgdschedulefree:warmup_steps=5").players[0])
    assert found["warmup_steps"].whole
    assert found["warmup_steps"].range == linear(0.0, 100.0)
    assert not found["lr"].whole
    look = sliders(play(optimizers="adam:lookahead=(5,0.5)").players[0])
    assert look["lookahead[0]"].whole
    assert not look["lookahead[1]"].whole


def test_bounds_that_are_declared_are_kept():
    class Bounded(Optimizer):
        hypers: ClassVar = {"share": Hyper(low=0, high=1), "few": Hyper(low=2, high=3)}

        def __init__(self, params, lr=0.1, share=1.0, few=2.0):
            super().__init__(
                params,
                [lambda param, *, grad, lr, share, few: param - lr * share * few * grad],
                lr=lr,
                share=share,
                few=few,
            )

    found = sliders(play(optimizers=Bounded).players[0])
    assert found["share"].range == linear(0, 1)
    assert found["few"].range == linear(2, 3)
