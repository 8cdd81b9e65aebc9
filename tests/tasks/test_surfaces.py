"""Functions of two variables: by name, from a user's file, and how mistakes in it are told."""

import pytest
import torch

from ravine.errors import DataError, OptionError
from ravine.tasks import _surfaces as surfaces

BOWL = "def f(point):\n    x, y = point.unbind(-1)\n    return x**2 + 3 * y**2\n"


@pytest.fixture
def found(tmp_path):
    """Writes the file and finds its function."""

    def find(text, name="bowl.py"):
        path = tmp_path / name
        path.write_text("import torch\n" + text, encoding="utf-8")
        return surfaces.find(str(path))

    return find


def test_the_own_functions_are_found_by_name():
    for name in surfaces.names():
        shown, surface = surfaces.find(name)
        assert shown == name
        assert surface.value(torch.tensor(surface.minimum, dtype=torch.float64)) == 0


def test_a_file_with_a_function_and_nothing_else(found):
    name, surface = found(BOWL)
    assert name == "bowl"
    assert (surface.start, surface.minimum, surface.window) == ((-2.5, 2.5), None, (-5, 5, -5, 5))
    assert surface.value(torch.tensor([[1.0, 2.0], [0.0, 0.0]])).tolist() == [13.0, 0.0]


def test_start_minimum_and_window_are_the_files(found):
    _, surface = found("start, minimum, window = [1, 2], (0, 0), (-1, 2, -1, 3)\n" + BOWL)
    assert (surface.start, surface.minimum, surface.window) == ((1.0, 2.0), (0.0, 0.0), (-1.0, 2.0, -1.0, 3.0))


def test_one_function_of_another_name_will_do_and_values_become_float64(found):
    _, surface = found("def _no(x): pass\ndef two(a, b): pass\n" + BOWL.replace("f(", "bowl(").replace("3 *", "3 *"))
    assert surface.value(torch.zeros(4, 2)).dtype == torch.float64


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("", OptionError, "has no function of one argument"),
        ("f = 3", OptionError, "`f` in"),
        ("def f(x, y): return x", OptionError, "must take one argument"),
        ("def g(p): return p\ndef h(p): return p", OptionError, "several functions of one argument: g, h"),
        ("def f(p): return 3.0", OptionError, "returned a float"),
        ("def f(p): return p[0] ** 2 + p[1] ** 2", OptionError, "point.unbind(-1)"),
        ("def f(p): return (p > 0).sum(-1)", OptionError, "floating-point"),
        ("def f(p): return p.detach().sum(-1)", OptionError, "without a gradient"),
        ("def f(p): return p.sum(-1) + torch.rand(())", OptionError, "different values at the same point"),
        ("def f(p): return p.sum(-1) - p.mean()", OptionError, "its own point only"),
        ("def f(p): return p.log().sum(-1)", OptionError, "not finite"),
        ("def f(p): return 0 * p.sum(-1)", OptionError, "no two different finite values"),
        ("def f(p): return p.nothing()", DataError, "line 2: AttributeError"),
        ("raise ValueError('no')", DataError, "line 2: ValueError: no"),
        ("def f(p:", DataError, "line 2: SyntaxError"),
        ("start = (1, 2, 3)\n" + BOWL, OptionError, "it must be 2 numbers"),
        ("start = (9, 0)\n" + BOWL, OptionError, "outside the window"),
        ("window = (1, -1, 0, 1)\n" + BOWL, OptionError, "each pair ascending"),
        ("window = (0, float('inf'), 0, 1)\n" + BOWL, OptionError, "it must be 4 numbers"),
        ("minimum = (1, 1)\n" + BOWL, OptionError, "but at (0.0, 0.0) it is"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(found, text, error, said):
    with pytest.raises(error) as raised:
        found(text)
    assert said in str(raised.value)
    assert "bowl.py" in str(raised.value)


def test_what_does_not_exist(tmp_path):
    with pytest.raises(OptionError, match="Did you mean 'rosenbrock'"):
        surfaces.find("rosenbrok")
    with pytest.raises(DataError, match="does not exist"):
        surfaces.find(str(tmp_path / "nowhere.py"))
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        surfaces.find(str(tmp_path / "folder.py"))
