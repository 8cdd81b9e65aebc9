"""The printed LaTeX: balanced, understood by matplotlib, and read back it has the formula's values."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from matplotlib.mathtext import MathTextParser

from ravine.formula import global_norm, minimum, norm, sqrt, tanh, trace_formula, where
from ravine.formula._latex import Latex, formula_latex
from ravine.formula._plain_text import formula_lines
from ravine.optim import _registry as registry

VARIANTS = [
    *((name, {}) for name in registry.names()),
    ("rmsprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("adam", {"amsgrad": True, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("sgd", {"momentum": 0.9, "dampening": 0.1, "clip_norm": 1.0, "ema_decay": 0.99, "maximize": True}),
]


def descend(param: Any, *, update: Any, lr: Any) -> Any:
    return param - lr * update


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_every_optimizer_is_balanced_and_can_be_set(name: str, options: dict[str, Any]) -> None:
    named = registry.lookup(name)
    program = named.cls([torch.nn.Parameter(torch.zeros(1))], **{"lr": 0.1, **named.options, **options}).program()
    text = formula_latex(program)
    assert len(text.split(r" \\ ")) >= len(formula_lines(program))
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert plain.count(r"\left") == plain.count(r"\right")
    assert sorted(re.findall(r"\\begin\{(\w+)\}", text)) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    assert program._repr_latex_() == f"$${text}$$"
    parser = MathTextParser("path")
    for left, right in Latex().lines(program):
        if r"\begin" not in right:  # matplotlib has no cases
            parser.parse(f"${left} = {right}$")


# --- read back ----------------------------------------------------------------------------------------------------

TOKEN = re.compile(r"\\(?:left|right)(?:\\\||[()|])|\\[a-z]+|\d+(?:\.\d+)?|[a-z]|[-+^_{}(),]")
FUNCTIONS = {r"\min": min, r"\max": max, r"\exp": math.exp, r"\log": math.log, r"\tanh": math.tanh}


class Reader:
    """Reads the LaTeX of an expression, and gives its value for known names."""

    def __init__(self, text: str, names: dict[str, float]) -> None:
        # A name with what stands below it becomes one word.
        word = re.compile(
            r"(\\mathrm\{(?:[^{}\\]|\\_)+\}|\\(?:theta|alpha|beta|epsilon|mu|lambda)|\b[gut]\b)(?:_\{([^{}]+)\})?"
        )
        self.names = names
        self.words: list[str] = []

        def kept(match: re.Match[str]) -> str:
            self.words.append(match[0])
            return f" @{len(self.words) - 1} "

        text = word.sub(kept, text)
        self.tokens = re.findall(r"@\d+|" + TOKEN.pattern, text)

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, *wanted: str) -> str:
        token = self.tokens.pop(0)
        assert not wanted or token in wanted, f"{token} where {wanted} was to stand"
        return token

    def sum(self) -> float:
        value = self.product()
        while self.peek() in ("+", "-"):
            value = value + self.product() if self.take() == "+" else value - self.product()
        return value

    def product(self) -> float:
        value = self.power()
        while self.peek() in (r"\cdot", r"\times"):
            self.take()
            value *= self.power()
        return value

    def power(self) -> float:
        if self.peek() == "-":
            self.take()
            return -self.power()
        base = self.atom()
        if self.peek() == "^":
            self.take()
            base **= self.braces()
        return base

    def braces(self) -> float:
        self.take("{")
        value = self.sum()
        self.take("}")
        return value

    def atom(self) -> float:
        token = self.take()
        if token == r"\frac":
            above = self.braces()
            return above / self.braces()
        if token == r"\sqrt":
            return math.sqrt(self.braces())
        if token in FUNCTIONS:
            self.take(r"\left(")
            arguments = [self.sum()]
            while self.peek() == ",":
                self.take()
                arguments.append(self.sum())
            self.take(r"\right)")
            return float(FUNCTIONS[token](*arguments))
        if token in (r"\left(", r"\left|", r"\left\|"):
            value = self.sum()
            self.take(token.replace("left", "right").replace("(", ")"))
            return value if token == r"\left(" else abs(value)
        if token.startswith("@"):
            return self.names[self.words[int(token[1:])]]
        return float(token)


def read(pieces: list[Any], names: dict[str, float], **hypers: Any) -> dict[str, float]:
    """The value of every line, each read with those before it."""
    known = dict(names)
    for left, right in Latex().lines(trace_formula(pieces, {"lr": 0.1, **hypers})):
        reader = Reader(right, known)
        known[left] = reader.sum()
        assert not reader.tokens
    return known


def test_read_back_it_is_adam() -> None:
    def adam(update: Any, m: Any = 0.0, v: Any = 0.0, *, betas: Any, eps: Any, step: Any) -> Any:
        beta1, beta2 = betas
        m = beta1 * m + (1 - beta1) * update
        v = beta2 * v + (1 - beta2) * update**2
        return m / (1 - beta1**step) / (sqrt(v) / sqrt(1 - beta2**step) + eps), m, v

    names = {r"\theta_{t-1}": 0.3, "g": -0.7, r"\mathrm{m}_{t-1}": 0.2, r"\mathrm{v}_{t-1}": 0.1, "t": 3.0}
    names |= {r"\beta_{1}": 0.9, r"\beta_{2}": 0.99, r"\epsilon": 1e-3, r"\mathrm{lr}": 0.1}
    known = read([adam, descend], names, betas=(0.9, 0.99), eps=1e-3)
    update, m, v = adam(-0.7, 0.2, 0.1, betas=(0.9, 0.99), eps=1e-3, step=3.0)
    assert known[r"\theta_{t}"] == pytest.approx(0.3 - 0.1 * update)
    assert (known[r"\mathrm{m}_{t}"], known[r"\mathrm{v}_{t}"]) == pytest.approx((m, v))


def test_read_back_powers_fractions_signs_and_functions_keep_their_order() -> None:
    def piece(update: Any, *, param: Any, a: Any, b: Any) -> Any:
        inner = (update / a) ** 2 - (a - (b - update)) * (a / (b * update)) - -(update**3)
        return minimum(abs(inner) ** 1.5, 2.5e-7 * tanh(-inner)) / (-(a + b)) ** 2 - a * (b + param) ** b

    names = {r"\theta_{t-1}": 0.3, "g": -0.7, r"\mathrm{a}": 1.7, r"\mathrm{b}": 2.0, r"\mathrm{lr}": 0.1}
    known = read([piece, descend], names, a=1.7, b=2.0)
    assert known["u"] == pytest.approx(piece(-0.7, param=0.3, a=1.7, b=2.0))


def test_norms_cases_and_names() -> None:
    def piece(update: Any, slow_2: Any = 0.0, *, step: Any) -> Any:
        clipped = update * minimum(1.0, 1.0 / (global_norm(update) + 1e-6))
        return where(step == 1, -clipped, norm(update) * update), slow_2 + update

    text = formula_latex(trace_formula([piece, descend], {"lr": 0.1}))
    assert r"\left\| g \right\|_{\mathrm{all\ tensors}} + 10^{-6}" in text
    assert r"\begin{cases} -\left( g \cdot \min\left( 1, \frac{1}{" in text
    assert r"\mathrm{if}\ t = 1 \\ \left\| g \right\| \cdot g & \mathrm{otherwise} \end{cases}" in text
    assert r"\mathrm{slow\_2}_{t} &= \mathrm{slow\_2}_{t-1} + g" in text
