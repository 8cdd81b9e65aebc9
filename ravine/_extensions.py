"""What a higher floor adds to a lower one: named here, imported when it is asked for.

The Learner keeps the evidence that a diagnosis is made from, and ``fit(..., find_nonfinite=True)`` looks for the module that
a NaN comes from. Both are callbacks of ``ravine.diagnose``, which stands above ``ravine.train`` and imports it;
``ravine.watch.diagnose`` is its function. What a ``History`` is in a notebook is drawn by modules that take one. These tables
are the one place where lower floors get them, so that they need not know them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

CALLBACKS = {
    "evidence": ("ravine.diagnose._learner_evidence", "EvidenceObserver"),
    "find_nonfinite": ("ravine.diagnose._nonfinite_callback", "FindNonFinite"),
}
"""By the name that ``train`` uses: the module and the class of the callback."""

FUNCTIONS = {
    "diagnose": ("ravine.diagnose._diagnosis", "diagnose"),
    "history_html": ("ravine.watch._watch_output", "history_html"),
}
"""By the name that ``watch`` uses: the module and the function."""


def callback(name: str) -> Any:
    """A new callback of that name."""
    module, cls = CALLBACKS[name]
    return getattr(import_module(module), cls)()


def function(name: str) -> Any:
    """The function of that name."""
    module, attribute = FUNCTIONS[name]
    return getattr(import_module(module), attribute)
