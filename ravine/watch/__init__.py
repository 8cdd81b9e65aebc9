"""What every step of an optimizer did to every parameter: the last step as a table, the run as a history.

_watch.py          what ``optimizer.watch`` is
_record.py         sums up the figures of steps
_history.py        the run in at most 256 rows; _history_plots.py draws it
_step_table.py     one step as a table
_losses.py         losses that a loop notes; _hyper_log.py, the hyperparameters of every step
_diagnosis_door.py  what is wrong, by the rules of ``ravine.diagnose``
"""

from typing import TYPE_CHECKING

from ravine._lazy import lazy

if TYPE_CHECKING:
    from ravine.watch._diagnosis_door import diagnose
    from ravine.watch._history import History
    from ravine.watch._step_table import ParameterRow, StepTable
    from ravine.watch._watch import Watch

__all__ = ["History", "ParameterRow", "StepTable", "Watch", "diagnose"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "History": "ravine.watch._history",
        "ParameterRow": "ravine.watch._step_table",
        "StepTable": "ravine.watch._step_table",
        "Watch": "ravine.watch._watch",
        "diagnose": "ravine.watch._diagnosis_door",
    },
)
