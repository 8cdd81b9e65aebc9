"""What a higher floor adds to a lower one: named here, imported when it is asked for.

The Learner keeps the evidence that a diagnosis is made from, and ``fit(..., find_nonfinite=True)`` looks for the module that
a NaN comes from. Both are callbacks of ``ravine.diagnose``, which stands above ``ravine.train`` and imports it; this
table is the one place where ``train`` gets them, so that it need not know them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

CALLBACKS = {
    "evidence": ("ravine.diagnose._learner_evidence", "EvidenceObserver"),
    "find_nonfinite": ("ravine.diagnose._nonfinite_callback", "FindNonFinite"),
}
"""By the name that ``train`` uses: the module and the class of the callback."""


def callback(name: str) -> Any:
    """A new callback of that name."""
    module, cls = CALLBACKS[name]
    return getattr(import_module(module), cls)()
