"""Search paths of optimizers on the contour lines of a function of two variables.

from ravine.contour import explore

explore("rosenbrock", ["sgd", "rmsprop:alpha=0.9"]).write("pictures")

_exploration.py     `explore`: what is tried, and what it returns
_search_record.py   everything that was tried, and the rule that chooses the best rate
_trajectories.py    follows one optimizer from every start at every rate
_plot_data.py       what is shown, computed once; _contour_figure.py and _contour_page.py draw it, _paths_json.py keeps it
"""

from typing import TYPE_CHECKING

from ravine._lazy import lazy

if TYPE_CHECKING:
    from ravine.contour._exploration import Exploration as Exploration
    from ravine.contour._exploration import explore as explore

__all__ = ["Exploration", "explore"]

__getattr__, __dir__ = lazy(__name__, dict.fromkeys(__all__, "ravine.contour._exploration"))
