"""The gallery has every picture and page that Ravine makes: a new one is missed here until it is shown there."""

import inspect
import re
from pathlib import Path
from types import ModuleType

import ravine
from ravine.cli import COMMANDS
from ravine.comparison._report.figure_pngs import DRAWERS
from ravine.comparison._tasks_report.tasks_markdown import _CAPTIONS
from ravine.contour import explore
from ravine.train import Recorder

DOCS = Path(__file__).parent.parent.parent / "docs"
GALLERY = (DOCS / "gallery.md").read_text(encoding="utf-8")
PICTURES = DOCS / "pictures" / "gallery"
#: Commands that make nothing to look at.
PLAIN = {"list", "worker"}


def drawing(module):
    """The names of public functions and methods that draw: ``plot``, ``plot_loss``, ``heatmap``."""
    for name in module.__all__:
        part = getattr(module, name)
        if isinstance(part, ModuleType):
            yield from drawing(part)
        elif inspect.isclass(part):
            yield from (f"{name}.{m}" for m in vars(part) if is_drawing(m) and callable(getattr(part, m)))
        elif is_drawing(name):
            yield name


def is_drawing(name):
    return bool(re.match(r"(plot|heatmap|draw)(_|$)", name))


def test_every_function_that_draws_is_shown():
    found = set(drawing(ravine))
    assert {"Recorder.plot_loss", "LRFind.plot", "Watch.heatmap", "Exploration.plot"} <= found
    missing = {name for name in found if f".{name.split('.')[-1]}(" not in GALLERY}
    assert not missing
    assert callable(explore)
    assert callable(Recorder.plot_schedule)


def test_every_command_is_shown():
    shown = set(re.findall(r"^ravine ([\w-]+)", GALLERY, re.MULTILINE))
    assert shown == set(COMMANDS) - PLAIN


def test_every_figure_of_a_report_is_shown():
    for name in (*DRAWERS, *_CAPTIONS):
        assert f"{name}.png" in GALLERY, name


def test_pictures_are_there_each_once_and_small():
    named = re.findall(r"\]\(pictures/gallery/([\w-]+\.webp)\)", GALLERY)
    files = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    assert sorted(named) == sorted(files)
    assert max(files.values()) <= 100_000
    assert sum(files.values()) <= 1_500_000


def test_every_picture_has_its_command():
    figures = re.findall(r"<figure>(.*?)</figure>", GALLERY, re.DOTALL)
    for figure in figures:
        assert len(re.findall(r"<!-- shows: .+? -->\n```(?:bash|python)\n", figure)) == 1, figure[:80]
    assert len(figures) == len(re.findall("pictures/gallery/", GALLERY))
