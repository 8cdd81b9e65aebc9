"""What can be trained: real data and test functions, each a :class:`Task` that is found by its name.

Knows how a task is trained; no comparison and no command line.

_catalog.py   the tasks by name; a file for each of them, or for each family, has the data and the model
_task.py      what a task is; _task_data.py the forms of its data
_surfaces.py  functions of two variables; _starts.py has starting points on them
"""

from typing import TYPE_CHECKING

from ravine._lazy import lazy

if TYPE_CHECKING:
    from ravine.tasks._catalog import describe, find, names
    from ravine.tasks._task import Surface, Task
    from ravine.tasks._task_data import Data

__all__ = ["Data", "Surface", "Task", "describe", "find", "names"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Data": "ravine.tasks._task_data",
        "Surface": "ravine.tasks._task",
        "Task": "ravine.tasks._task",
        "describe": "ravine.tasks._catalog",
        "find": "ravine.tasks._catalog",
        "names": "ravine.tasks._catalog",
    },
)
