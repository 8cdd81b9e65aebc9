"""Search paths of optimizers on the contour lines of a function of two variables.

from ravine.contour import explore

explore("rosenbrock", ["sgd", "rmsprop:alpha=0.9"]).write("pictures")

_exploration.py     `explore`: what is tried, and what it returns
_search_record.py   everything that was tried, and the rule that chooses the best rate
_trajectories.py    follows one optimizer from every start at every rate
_playground.py      `play`: a page that runs optimizers in the browser; _sliders.py and _surface_text.py say what is on it
_plot_data.py       what is shown, computed once; _contour_figure.py and _contour_page.py draw it, _paths_json.py keeps it
"""

from typing import TYPE_CHECKING

from ravine._lazy import lazy

if TYPE_CHECKING:
    from ravine.contour._exploration import Exploration as Exploration
    from ravine.contour._exploration import explore as explore
    from ravine.contour._playground import Playground as Playground
    from ravine.contour._playground import play as play

__all__ = ["Exploration", "Playground", "explore", "play"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        **dict.fromkeys(("Exploration", "explore"), "ravine.contour._exploration"),
        **dict.fromkeys(("Playground", "play"), "ravine.contour._playground"),
    },
)
