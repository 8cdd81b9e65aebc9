"""``ravine.contour.play``: a page that runs optimizers in the browser, printed from their programs.

Beside the page of ``ravine contour``, which shows what was tried before, this one computes: whoever has it drags the start,
moves hyperparameters, types another function. Both choose rates by the same rule, from the same starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ravine import _files as files
from ravine._plotting.html import rendered, script_style, strong
from ravine._plotting.notebook_html import html_facts, output, paragraph
from ravine._plotting.style import line
from ravine._whole_numbers import count
from ravine.contour._exploration import DEFAULTS
from ravine.contour._sliders import RATES, Slider, coded, number, sliders
from ravine.contour._surface_text import FUNCTIONS, text_of, typed
from ravine.contour._trajectories import learning_rates
from ravine.errors import OptionError, RavineError, for_both, nearest
from ravine.formula import ParamCopy, Program
from ravine.formula._javascript import HELPERS, formula_javascript, why_no_javascript
from ravine.formula._mathml import formula_mathml
from ravine.formula._plain_text import formula_lines
from ravine.optim import Optimizer
from ravine.optim import _registry as registry
from ravine.optim._engine.formula import asks_ndim
from ravine.optim._engine.group_keys import neutral_of
from ravine.optim._signature import option_parameters
from ravine.optim._spec import OptimizerSpec, parse
from ravine.optim._spec_objects import OptimizerLike, specs_of
from ravine.tasks import Surface
from ravine.tasks import _surfaces as surfaces

SURFACE = "ravine"
"""The function that is shown first, unless the user names another."""

_WINDOW = (-5.0, 5.0, -5.0, 5.0)
_PLACES = 50  # where the page looks for starts
_COLOURS = 10
_ANY_RATE = 0.01


@dataclass(frozen=True)
class PlaySurface:
    """A function on the page.

    Attributes:
        name: what it is called; empty if it was typed.
        text: the function of x and y.
        start, minimum, window: as of ``ravine.tasks.Surface``.
    """

    name: str
    text: str
    start: tuple[float, float]
    minimum: tuple[float, float] | None
    window: tuple[float, float, float, float]


@dataclass(frozen=True, repr=False)
class Player:
    """An optimizer on the page.

    Attributes:
        label: what it is called.
        program: what runs, of a vector of two numbers.
        sliders: its hyperparameters.
        source: the paper, or where else its formula is from.
        note: what else is to be said of it.
    """

    label: str
    program: Program
    sliders: Sequence[Slider]
    source: str = ""
    note: str = ""

    def __repr__(self) -> str:
        return f"Player({self.label!r}: {', '.join(s.name for s in self.sliders)})"


@dataclass(frozen=True, repr=False)
class Playground:
    """A page that runs optimizers in the browser. Made by :func:`play`.

    Attributes:
        surfaces: the functions that can be chosen, the first one shown.
        players: the optimizers; the first ``shown`` of them are there when the page opens, the others can be added.
        shown: how many.
    """

    surfaces: tuple[PlaySurface, ...]
    players: tuple[Player, ...]
    shown: int

    def __repr__(self) -> str:
        labels = ", ".join(player.label for player in self.players[: self.shown])
        return f"Playground({self.surfaces[0].name or self.surfaces[0].text}: {labels})"

    def _repr_html_(self) -> str:
        shown = [
            (player.label, ", ".join(slider.name for slider in player.sliders)) for player in self.players[: self.shown]
        ]
        what = self.surfaces[0].name or self.surfaces[0].text
        return output(
            f"{what}: {count(self.shown, 'optimizer')} on a page that runs them in the browser",
            html_facts(shown),
            paragraph('write("play.html") writes the page: open that file in a browser.'),
        )

    @cached_property
    def page(self) -> bytes:
        """The page in UTF-8: one file that loads nothing."""
        steps = ",\n".join(formula_javascript(player.program) for player in self.players)
        return rendered(
            "play.html",
            "contour/templates",
            data=self._data(),
            steps=f"(() => {{\n{HELPERS}return [\n{steps}\n];\n}})()",
            functions=FUNCTIONS,
        )

    def write(self, path: Path | str) -> Path:
        """Write the page to a file, also over an older one, and return its path.

        Raises:
            OptionError: it cannot be written.
        """
        place = Path(path)
        files.make_folder(place.parent)
        files.write(place, self.page)
        return place

    def _data(self) -> dict[str, Any]:
        palette = [line(i, False) for i in range(_COLOURS)]
        return {
            "surfaces": [vars(surface) for surface in self.surfaces],
            "players": [_player_data(player) for player in self.players],
            "shown": self.shown,
            "rates": learning_rates(*RATES, 13),
            "places": _places(),
            "palette": [{**script_style(one), "colour": strong(one.colour)} for one in palette],
        }


def play(surface: str | Path = SURFACE, optimizers: OptimizerLike = DEFAULTS) -> Playground:
    """A page with optimizers that run in the browser: ``play("rosenbrock", ["adam", MyRule]).write("play.html")``.

    Its formulas are printed from the programs that run in Python, and give the same numbers. The start can be dragged; every
    hyperparameter has a slider; the gradient can have noise; all named optimizers and functions can be chosen, and a function
    can be typed. Learning rates are tuned as :func:`explore` does it.

    Args:
        surface: ``"rosenbrock"``, ``"beale"``, ``"ravine"``, a function of x and y as text (``"x**2 + 20*y**2"``), or the path of
            a Python file with one, made of ``+ - * / **``, ``sin``, ``cos``, ``exp``, ``log``, ``sqrt``, ``abs`` and ``tanh``.
        optimizers: as :func:`ravine.compare` takes them: those that are there when the page opens.

    Raises:
        OptionError: a function or an optimizer is not known, or cannot run in a browser; the text says why.
        DataError: a file is missing or raises.
    """
    shown = [_player(spec) for spec in specs_of(optimizers)]
    if not shown:
        raise OptionError("There is no optimizer to show: name one, such as 'rmsprop'.")
    if len(shown) > _COLOURS:
        raise OptionError(f"{len(shown)} optimizers are too many to be told apart; name up to {_COLOURS}.")
    chosen = _surface(str(surface))
    others = [_named(name) for name in surfaces.names() if name != chosen.name]
    labels = {player.label for player in shown}
    return Playground((chosen, *others), (*shown, *_all_named(labels)), len(shown))


def _surface(name: str) -> PlaySurface:
    """The function that the user named or typed."""
    if name in surfaces.names():
        return _named(name)
    if name.endswith(".py"):
        return _of(*surfaces.find(name), Path(name).name)
    if name.isidentifier() and name not in ("x", "y"):
        raise OptionError(
            f"There is no function {name!r} of two variables. {nearest(name, surfaces.names())} It can also be typed, such as "
            "'x**2 + 20*y**2', or be a file that ends in .py."
        )
    left, right, bottom, top = _WINDOW
    start = (left + (right - left) / 4, top - (top - bottom) / 4)
    return PlaySurface("", typed(name), start, None, _WINDOW)


def _named(name: str) -> PlaySurface:
    return _of(*surfaces.find(name), name)


def _of(name: str, surface: Surface, called: str) -> PlaySurface:
    return PlaySurface(name, text_of(surface.value, called), surface.start, surface.minimum, surface.window)


def _all_named(without: set[str]) -> list[Player]:
    """Every optimizer with a name that can run in a browser."""
    players = []
    for name in registry.names():
        if name not in without:
            try:
                players.append(_player(parse(name)))
            except OptionError:
                continue  # it is refused, with the reason, where somebody names it
    return players


def _player(spec: OptimizerSpec) -> Player:
    """The optimizer of a vector of two numbers.

    Raises:
        OptionError: it has no formula, or one that cannot run in a browser.
    """
    lr = option_parameters(spec.factory).get("lr")
    if lr is not None and lr.default is lr.empty and "lr" not in spec.options:
        spec = replace(spec, supplied={"lr": _ANY_RATE, **spec.supplied})
    optimizer = spec.build([torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))])
    if not isinstance(optimizer, Optimizer):
        ours = spec.name.removeprefix("torch-")
        wrong = f"{spec.label} has no formula that a page could run: it is an optimizer of torch's kind."
        if ours not in registry.names():
            raise OptionError(wrong)
        own = "Ravine's own is"
        raise for_both(OptionError(f"{wrong} {own} {ours!r}."), f"{wrong} {own} -o {ours}.")
    try:
        program = optimizer.program()
        of_matrices = optimizer.program(ndim=2) if asks_ndim(type(optimizer)) else program
    except RavineError as error:
        raise OptionError(f"{spec.label}: {error}") from error
    reason, matrices = why_no_javascript(program), why_no_javascript(of_matrices)
    if not reason and "calls" in matrices:
        reason = f"{matrices}. A single point it would step by another formula"
    if reason:
        raise OptionError(f"{spec.label} cannot run in a browser: {reason}.")
    note = "Its formula for vectors. For matrices it keeps values of rows and columns in place of a full state." * bool(
        matrices
    )
    values = {**neutral_of(type(optimizer), optimizer.defaults), **optimizer.param_groups[0]}
    source = type(optimizer).reference if spec.code else _source(spec.name)
    return Player(spec.label, program, sliders(spec, optimizer, program, values), source or "", note)


def _source(name: str) -> str:
    return registry.lookup(name).source if name in registry.names() else ""


def _player_data(player: Player) -> dict[str, Any]:
    program = player.program
    return {
        "label": player.label,
        "hypers": coded(player.sliders),
        "rate": next((i for i, s in enumerate(player.sliders) if s.name == "lr" and s.range), -1),
        "states": [
            {"name": name, "initial": None if isinstance(initial, ParamCopy) else number(initial)}
            for name, initial in program.states.items()
        ],
        "kept": [{"name": name, "initial": number(kept.initial)} for name, kept in program.kept.items()],
        "mathml": formula_mathml(program),
        "text": formula_lines(program),
        "source": player.source,
        "note": player.note,
    }


def _places() -> list[list[float]]:
    """The points of ``ravine.tasks``' further starts, in a window from 0 to 1 both ways."""
    drawn = torch.quasirandom.SobolEngine(2, scramble=True, seed=0).draw(_PLACES, dtype=torch.float64)
    return drawn.tolist()
