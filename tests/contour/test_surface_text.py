"""Functions as text: what Python evaluates of it are the function's own values; what a page cannot do is refused."""

import pytest
import torch

from ravine.contour._surface_text import FUNCTIONS, text_of, typed
from ravine.errors import OptionError
from ravine.tasks._test_functions import SURFACES


def evaluated(text, x, y):
    """What Python makes of the text."""
    return eval(text, {"x": x, "y": y, "abs": abs, **{name: getattr(torch, name) for name in FUNCTIONS}})


def mixed(point):
    x, y = point.unbind(-1)
    bent = torch.sin(x) * y.cos() - torch.exp(-x.square()) / (2 - torch.tanh(y)).abs()
    return bent + torch.tensor(3.0) * x - torch.tensor(2.0) / (y - 9) + 2**x - (1 - x) - (x - (y - 1)) / 2 / x.pow(2)


def indexed(point):
    return (
        torch.sqrt(point[..., 0] ** 2 + 1) * -(((-point[..., 1]) ** 3) ** 2)
        - torch.log(torch.add(point[..., 0], 9)) ** 2
    )


@pytest.mark.parametrize("function", [*(s.value for s in SURFACES.values()), mixed, indexed], ids=lambda f: f.__name__)
def test_the_text_has_the_functions_values(function):
    points = torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    text = text_of(function, "f")
    torch.testing.assert_close(evaluated(text, *points.unbind(-1)), function(points), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(evaluated(typed(text), *points.unbind(-1)), function(points), rtol=1e-13, atol=1e-13)


def test_it_reads_as_one_would_write_it():
    assert text_of(SURFACES["rosenbrock"].value, "f") == "(1 - x)**2 + 100*(y - x**2)**2"
    assert typed(" x^2+20*y ^2 ") == "x**2 + 20*y**2"
    assert typed("-(x-(y-1)) + pi*(x*y)/(2*e)") == "-(x - (y - 1)) + pi*(x*y)/(2*e)"


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda p: (p**2).sum(-1), "cannot run in a browser"),
        (lambda p: torch.erf(p[..., 0]), "because of erf"),
        (lambda p: torch.where(p[..., 0] > 0, 1.0, 2.0), "what its code does"),
        (lambda p: p[..., 0] if p[..., 0] else p[..., 1], "a decision by its values"),
        (lambda p: p[..., 2], "point[(Ellipsis, 2)]"),
        (lambda p: p.norm(dim=-1), "point.norm"),
        (lambda p: torch.linalg.norm(p), "of the whole point"),
        (lambda p: torch.tensor(3.0), "neither on x nor on y"),
        (lambda p: p[..., 0].clamp(min=0), "clamp"),
        (lambda p: p[..., 0] * float("inf"), "inf"),
    ],
)
def test_what_a_page_cannot_do_is_named(function, text):
    with pytest.raises(OptionError, match="mine.py cannot run in a browser") as raised:
        text_of(function, "mine.py")
    assert text in str(raised.value)
    assert "ravine contour" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x +", "cannot be read"),
        ("20y", "cannot be read"),
        ("sinn(x)", "Did you mean 'sin'?"),
        ("2*z", "there is no 'z'"),
        ("3", "neither x nor y"),
        ("x < y", "'x < y' is none of"),
        ("sin(x, y)", "takes one number"),
        ("x.real", "'x.real' is none of"),
        ("__import__('os')", "there is no function '__import__'"),
        ("x*" * 3000 + "x", "6,001 characters"),
        ("(" * 150 + "x" + ")" * 150, ""),
    ],
)
def test_a_text_that_is_no_function_says_why(text, said):
    if not said:
        assert typed(text) == "x"
        return
    with pytest.raises(OptionError) as raised:
        typed(text)
    assert said in str(raised.value)
