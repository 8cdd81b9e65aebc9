"""Ravine: PyTorch optimizers written as formulas, run as one fused pass over memory, and compared fairly.

    from ravine.optim import RMSprop
    from ravine.formula import sqrt
    ravine.compare("digits", ["rmsprop", "adam"])

Importing this package loads nothing but its version; its parts are imported when they are first asked for.
"""

from typing import TYPE_CHECKING

from ravine._lazy import lazy

if TYPE_CHECKING:
    from ravine import (
        backends,
        comparison,
        contour,
        diagnose,
        errors,
        formula,
        integrations,
        optim,
        tasks,
        train,
        watch,
    )
    from ravine.comparison._api import compare

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "backends",
    "compare",
    "comparison",
    "contour",
    "diagnose",
    "errors",
    "formula",
    "integrations",
    "optim",
    "tasks",
    "train",
    "watch",
]

__getattr__, __dir__ = lazy(
    __name__,
    {"compare": "ravine.comparison._api"},
    submodules=tuple(name for name in __all__ if name not in ("__version__", "compare")),
    eager=("__version__",),
)
