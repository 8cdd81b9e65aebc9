"""Ravine: PyTorch optimizers written as formulas, run as one fused pass over memory, compared fairly.

Importing this package loads nothing but its version; the parts are imported where they are used:
``from ravine.optim import RMSprop``, ``from ravine.formula import sqrt``. ``ravine.compare(task, optimizers)`` is
loaded when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ravine.comparison._api import compare as compare

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "compare":
        from ravine.comparison._api import compare

        return compare
    raise AttributeError(f"module 'ravine' has no attribute {name!r}")
