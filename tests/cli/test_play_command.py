"""``ravine play`` from the outside: what it prints, writes, opens, refuses and returns."""

import sys
import webbrowser

import pytest

from ravine.cli import main

RULE = """
from ravine.formula import sign
from ravine.optim import Optimizer

def rule(param, *, grad, lr):
    return param - lr * sign(grad)

class MyRule(Optimizer):
    def __init__(self, params, lr=0.01):
        super().__init__(params, [rule], lr=lr)
"""


@pytest.fixture
def opened(monkeypatch):
    """The addresses that a browser was asked to show; there is a screen."""
    found = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda address: found.append(address) or True)
    return found


@pytest.fixture
def ravine(tmp_path, monkeypatch, capsys):
    """Run the command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ravine", "play", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return call


def test_it_writes_a_page_and_opens_it(ravine, opened, tmp_path):
    assert ravine() == (0, "Wrote ravine-out/play-ravine.html\n", "")
    assert ravine() == (0, "Wrote ravine-out/play-ravine-2.html\n", "")
    page = tmp_path / "ravine-out" / "play-ravine.html"
    assert opened == [page.as_uri(), page.with_stem("play-ravine-2").as_uri()]
    assert page.read_bytes().startswith(b"<!DOCTYPE html>")


def test_without_a_screen_or_a_browser_it_says_what_to_open(ravine, opened, tmp_path, monkeypatch):
    wrote = "Wrote ravine-out/play-beale.html\nOpen ravine-out/play-beale.html\n"
    assert ravine("beale", "--no-open") == (0, wrote, "")
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert ravine("beale") == (0, wrote.replace("beale.html", "beale-2.html"), "")
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    assert ravine("beale") == (0, wrote.replace("beale.html", "beale-3.html"), "")


def test_ones_own_rule_a_typed_function_and_a_named_file(ravine, opened, tmp_path):
    (tmp_path / "my_rule.py").write_text(RULE)
    arguments = ("x**2 + 20*y**2", "-o", "my_rule.py:MyRule", "-o", "rmsprop", "--out", "here/page.html")
    assert ravine(*arguments) == (0, "Wrote here/page.html\n", "")
    assert ravine(*arguments) == (0, "Replaced the older here/page.html\n", "")
    text = (tmp_path / "here" / "page.html").read_text(encoding="utf-8")
    assert '"label": "my_rule.py:MyRule"' in text
    assert '"text": "x**2 + 20*y**2"' in text
    assert ravine("sin(x) + y**2") == (0, "Wrote ravine-out/play-function.html\n", "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["rosenbrok"], "Did you mean 'rosenbrock'?"),
        (["x +"], "The function 'x +' cannot be read"),
        (["x + sinn(y)"], "Did you mean 'sin'?"),
        (["nowhere.py"], "does not exist"),
        (["ravine", "-o", "rmsporp"], "Did you mean 'rmsprop'?"),
        (["ravine", "-o", "rmsprop:alhpa=0.9"], "Did you mean 'alpha'?"),
        (["ravine", "-o", "sgd", "-o", "sgd"], "given twice"),
        (["ravine", "-o", "muon"], "muon cannot run in a browser: it calls orthogonalize"),
        (["ravine", "-o", "torch-adam"], "torch-adam has no formula that a page could run"),
        (["--out", "."], "--out . is a folder; name the page: --out play.html"),
        (["--out", "page.png"], "the page is an HTML file; name it so: --out page.html"),
        (["--out", "notes.html"], "is there and is no HTML page: it is left as it is"),
        (["--out", "notes.html/page.html"], "notes.html"),
        (["--opne"], "There is no option '--opne'."),
    ],
)
def test_what_is_wrong_is_one_line(ravine, opened, tmp_path, arguments, text):
    (tmp_path / "notes.html").write_text("mine")
    code, out, err = ravine(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("ravine: ")
    assert text in " ".join(err.split())
    assert opened == []
    assert (tmp_path / "notes.html").read_text() == "mine"
    assert not (tmp_path / "ravine-out").exists()
