"""``ravine.contour.play``: what is on the page, and what is refused with its reason."""

import re
import subprocess

import pytest
import torch
from chromium import HOSTILE
from javascript_steps import NODE

from ravine.contour import Playground, play
from ravine.errors import DataError, OptionError
from ravine.optim import Adam
from ravine.optim import _registry as registry
from ravine.tasks import _surfaces as surfaces


def test_a_page_has_the_optimizers_that_were_named_and_all_others_that_can_run():
    made = play("rosenbrock", ["adam", "sgd:momentum=0.9"])
    labels = [player.label for player in made.players]
    assert labels[: made.shown] == ["adam", "sgd:momentum=0.9"]
    assert len(labels) == len(set(labels))
    assert {"rmsprop", "lion", "prodigy", "nadam"} <= set(labels)
    missing = {name for name in registry.names() if name not in labels}
    assert missing == {"muon", "normuon", "psgdkron", "shampoo", "soap"}  # they are for matrices
    assert [surface.name for surface in made.surfaces] == [
        "rosenbrock",
        *(n for n in surfaces.names() if n != "rosenbrock"),
    ]
    assert repr(made) == "Playground(rosenbrock: adam, sgd:momentum=0.9)"


def test_the_page_is_one_file_that_loads_nothing(tmp_path):
    made = play()
    path = made.write(tmp_path / "folder" / "page.html")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "default-src 'none'" in text
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", text)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert len(made.page) < 700_000
    made.write(path)  # over the older one


@pytest.mark.skipif(NODE is None, reason="no node found: install it (apt-get install nodejs)")
def test_every_script_on_it_is_javascript(tmp_path):
    scripts = re.findall(r"<script>(.*?)</script>", play().page.decode(), re.DOTALL)
    assert len(scripts) == 2
    for i, script in enumerate(scripts):
        (tmp_path / f"{i}.js").write_text(script)
        done = subprocess.run([NODE, "--check", str(tmp_path / f"{i}.js")], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_in_a_notebook_it_says_how_the_page_is_written():
    page = play("beale", {HOSTILE: "sgd", "adam": "adam"})._repr_html_()
    assert "<strong>beale: 2 optimizers on a page that runs them in the browser</strong>" in page
    assert "write(&quot;play.html&quot;)" in page
    assert "<td>adam</td>" in page
    assert HOSTILE not in page
    assert "<strong>x**2 + y**2: 1 optimizer on" in play("x**2 + y**2", ["sgd"])._repr_html_()


def test_names_from_outside_stay_text(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("def f(point):\n    x, y = point.unbind(-1)\n    return x**2 + y**2\n")
    page = play(file, {HOSTILE: "sgd"}).page.decode()
    assert HOSTILE not in page
    assert "\\u003cimg src=x" in page


def test_a_function_can_be_named_typed_or_from_a_file(tmp_path):
    assert play("beale").surfaces[0].minimum == (3.0, 0.5)
    typed = play("x^2 + 20*y^2").surfaces[0]
    assert (typed.name, typed.text, typed.window) == ("", "x**2 + 20*y**2", (-5.0, 5.0, -5.0, 5.0))
    (tmp_path / "waves.py").write_text(
        "import torch\nstart = (-3.0, 3.0)\n\ndef f(point):\n    x, y = point.unbind(-1)\n    return torch.sin(x) + y**2\n"
    )
    waves = play(tmp_path / "waves.py")
    assert (waves.surfaces[0].name, waves.surfaces[0].text, waves.surfaces[0].start) == (
        "waves",
        "sin(x) + y**2",
        (-3.0, 3.0),
    )
    assert len(waves.surfaces) == 4


def test_a_formula_for_vectors_that_differs_from_that_for_matrices_says_so():
    notes = {player.label: player.note for player in play().players}
    assert "Its formula for vectors" in notes["adafactor"]
    assert not notes["adam"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("ravin",), "Did you mean 'ravine'?"),
        (("x + z",), "there is no 'z'"),
        (("ravine", "rmsporp"), "Did you mean 'rmsprop'?"),
        (("ravine", "adam:alpha=3"), "adam has no option 'alpha'"),
        (("ravine", "muon"), "muon cannot run in a browser: it calls orthogonalize, a function of whole tensors"),
        (("ravine", "soap"), "soap cannot run in a browser: it calls into_basis"),
        (("ravine", "torch-adam"), "torch-adam has no formula that a page could run"),
        (("ravine", [f"sgd:lr=0.{i}" for i in range(1, 13)]), "12 optimizers are too many"),
        (("ravine", []), "There is no optimizer to show"),
    ],
)
def test_what_cannot_be_on_it_says_why(arguments, text):
    with pytest.raises(OptionError) as raised:
        play(*arguments)
    assert text in str(raised.value)


def test_what_a_file_cannot_do_in_a_browser_is_named(tmp_path):
    (tmp_path / "erf.py").write_text(
        "import torch\n\ndef f(point):\n    x, y = point.unbind(-1)\n    return torch.erf(x) + y**2\n"
    )
    with pytest.raises(OptionError, match="erf.py cannot run in a browser because of erf"):
        play(tmp_path / "erf.py")
    with pytest.raises(DataError, match="does not exist"):
        play(tmp_path / "nowhere.py")


def test_classes_and_functions_are_optimizers_too():
    made = play("ravine", [Adam, lambda params: Adam(params, lr=0.3)])
    assert isinstance(made, Playground)
    assert made.players[1].sliders[0].value == 0.3
    with pytest.raises(OptionError, match="it is an optimizer of torch's kind"):
        play("ravine", torch.optim.SGD)
