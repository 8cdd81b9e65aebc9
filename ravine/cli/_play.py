"""``ravine play``: a page in which optimizers run on a surface, with a slider for everything."""

from __future__ import annotations

import os
import re
import sys
import webbrowser
from pathlib import Path

import click

from ravine import _files as files
from ravine.cli._out_folder import OUT
from ravine.cli._screen import say
from ravine.contour._exploration import DEFAULTS
from ravine.contour._playground import SURFACE, play
from ravine.errors import OptionError
from ravine.tasks import _surfaces as surfaces

_PAGE = b"<!DOCTYPE html>"  # how such a file begins

_HELP = f"""Make a page in which optimizers run on SURFACE, and open it.

SURFACE is one of {", ".join(surfaces.names())}, a function of x and y such as 'x**2 + 20*y**2', or a Python file with a
function f(point) of two variables. On the page you can drag the start, move every hyperparameter, add noise, choose
among all optimizers that can run in a browser, and type another function. It is one file and loads nothing.
"""


@click.command(name="play", help=_HELP)
@click.argument("surface", default=SURFACE)
@click.option(
    "-o",
    "--optimizer",
    "specs",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help=f"An optimizer, such as rmsprop:alpha=0.9 or your own, my_rule.py:MyRule; repeat it for more. Default: {', '.join(DEFAULTS)}.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The HTML file to write, also over an older page. Default: a new file, ravine-out/play-SURFACE.html.",
)
@click.option("--no-open", is_flag=True, help="Write the page and do not open it in the browser.")
def command(surface: str, specs: tuple[str, ...], out: Path | None, no_open: bool) -> None:
    if out is not None:
        _check_page(out)
    made = play(surface, specs or DEFAULTS)
    page = made.page  # before a file is claimed
    path = out or files.fresh_file(OUT / f"play-{_called(made.surfaces[0].name)}.html")
    replaced = out is not None and out.exists()
    files.make_folder(path.parent)
    files.write(path, page)
    say(f"Replaced the older {path}" if replaced else f"Wrote {path}")
    if no_open or not _opened(path):
        say(f"Open {path}")


def _check_page(out: Path) -> None:
    """Raise OptionError where the page would have a misleading name, or something else would be lost."""
    if out.is_dir():
        raise OptionError(f"--out {out} is a folder; name the page: --out {out / 'play.html'}")
    if out.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--out {out}: the page is an HTML file; name it so: --out {out.with_suffix('.html')}")
    if out.exists() and not out.read_bytes().startswith(_PAGE):
        raise OptionError(f"--out {out} is there and is no HTML page: it is left as it is. Name another file.")


def _called(name: str) -> str:
    """A user's file may have any name, and a typed function has none."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:48] or "function"


def _opened(path: Path) -> bool:
    """Whether a browser shows the page; where there is no screen, one in the terminal is not started."""
    screen = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(screen) and webbrowser.open(path.absolute().as_uri())
