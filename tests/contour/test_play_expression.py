"""The page's reader of functions, run in node: values and gradients are torch's, and a mistake is named."""

import random
from functools import partial

import numpy as np
import pytest
import torch
from javascript_steps import coded, decoded, run
from page_scripts import script

from ravine.contour._surface_text import FUNCTIONS, text_of
from ravine.tasks._test_functions import SURFACES

VALUES = """
const found = given.texts.map((text) => {
  const { value, gradient } = compiled(text), slope = [0, 0], all = [];
  const points = doubles(given.points);
  for (let i = 0; i < points.length; i += 2) {
    const one = gradient(points[i], points[i + 1], slope);
    if (!Object.is(one, value(points[i], points[i + 1]))) throw new Error(text);
    all.push(one, ...slope);
  }
  return coded(all);
});
process.stdout.write(JSON.stringify(found));
"""
MISTAKES = """
process.stdout.write(JSON.stringify(given.map((text) => {
  try { compiled(text); return ""; } catch (error) { return `${error.name}: ${error.message}`; }
})));
"""
TYPED = [
    "x**2 + 20*y**2", "x^2 + 20*y^2", "-x**2", "2**-x", "2*-y + x", "-x**-2*y", "x**y", "(1 + x**2)**y", "x/y/2", "x - y - 1",
    "sin(x)*cos(y)", "exp(-x**2/2 - y**2)", "log(x**2 + 1)", "sqrt(abs(x*y))", "tanh(x + y)", "abs(x) + abs(y)", "abs(y)**1.5",
    "pi*x + e**y", "1e-3*x + .5*y + 2.*x", "+x - +y", "((x))", "x*0 + y**0", "3**x**2", "x**2**2*y",
]  # fmt: skip


def of_any(function, value):
    """One of torch's functions, of numbers too."""
    return function(torch.as_tensor(value, dtype=torch.float64))


def autograd(text, points):
    """Values and gradients, row by row."""
    leaf = torch.from_numpy(points.copy()).requires_grad_()
    x, y = leaf.unbind(-1)
    names = {name: partial(of_any, getattr(torch, name)) for name in FUNCTIONS}
    value = eval(text.replace("^", "**"), {"x": x, "y": y, "pi": np.pi, "e": np.e, **names})
    (slopes,) = torch.autograd.grad(value.sum(), leaf)
    return torch.cat([value[:, None], slopes], 1).detach().numpy()


def compared(texts, points):
    found = run(script("play_expression.js") + VALUES, {"texts": texts, "points": coded(points.ravel())})
    for text, values in zip(texts, found, strict=True):
        got, wanted = decoded(values).reshape(-1, 3), autograd(text, points)
        np.testing.assert_allclose(
            got, wanted, rtol=1e-11, atol=1e-12 * np.abs(wanted[np.isfinite(wanted)]).max(), err_msg=text
        )


def test_values_and_gradients_are_torchs():
    points = np.random.default_rng(0).standard_normal((60, 2)) * 2
    compared([*TYPED, *(text_of(s.value, "f") for s in SURFACES.values())], points)


def test_where_a_slope_has_two_sides_or_none():
    points = np.array([[0.0, 0.0], [0.0, 2.0], [-0.0, -1.0], [1.0, 0.0]])
    compared(
        ["abs(x) + y", "abs(x*y)", "x**2 + sqrt(y**2 + 1)", "x**3*y", "x**1 + y**0", "sqrt(x*x) + y", "abs(y)**2.5"],
        points,
    )


def grown(random, depth):
    if depth == 0 or random.random() < 0.15:
        return random.choice(["x", "y", "x", "y", "2", "0.5", "1.5"])
    a, b = grown(random, depth - 1), grown(random, depth - 1)
    kind = random.random()
    if kind < 0.5:
        return f"({a} {random.choice('+-*')} {b})"
    if kind < 0.6:
        return f"({a} / ({b} * {b} + 1))"
    if kind < 0.7:
        return f"-({a})**{random.choice('23')}"
    name = random.choice(FUNCTIONS)
    return (
        f"{name}(({a}) * ({a}) + 1)"
        if name in ("log", "sqrt")
        else f"exp(sin({a}))"
        if name == "exp"
        else f"{name}({a})"
    )


def test_two_hundred_random_functions():
    dice = random.Random(3)
    texts = [f"{grown(dice, 4)} + x*y" for _ in range(200)]
    compared(texts, np.random.default_rng(1).standard_normal((10, 2)))


MISTAKEN = {
    "": "Type a function of x and y, such as x**2 + 20*y**2.",
    "x +": "Something is missing after “+” (character 3).",
    "* x": "Something is missing after “*” (character 1).",
    "x**": "Something is missing after “**” (character 2).",
    "20y": "Write the sign between “20” and “y” (character 3): 20*y.",
    "2(x)": "Write the sign between “2” and “(” (character 2): 2*(…).",
    "sinn(x)": "There is no “sinn” (character 1). Did you mean sin?",
    "Sin(x)": "Did you mean sin?",
    "x + z": "There is no “z” (character 5). Known are x, y, pi, e, sin, cos",
    "sin x": "sin needs brackets: sin(x).",
    "(x": "The bracket that opens at character 1 is not closed.",
    "x)": "The bracket that closes at character 2 was not opened.",
    ")": "The bracket that closes at character 1 was not opened.",
    "sin()": "Something is missing after “(” (character 4).",
    "f = x": "“=” (character 3) has no meaning here.",
    "x = 2": "“=” (character 3) has no meaning here.",
    "3 + 4": "There is neither x nor y in it.",
    "constructor(x)": "There is no “constructor”",
    "-" * 300 + "x": "too many brackets or signs",
    "x" + "+x" * 1500: "too long",
}


def test_a_mistake_says_what_is_wrong_and_where():
    found = run(script("play_expression.js") + MISTAKES, list(MISTAKEN))
    for (text, wanted), said in zip(MISTAKEN.items(), found, strict=True):
        assert said.startswith("SyntaxError: "), text
        assert wanted in said, text


@pytest.mark.parametrize("text", TYPED)
def test_python_reads_the_same_functions(text):
    from ravine.contour._surface_text import typed

    assert typed(text)
