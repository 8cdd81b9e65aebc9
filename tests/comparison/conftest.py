"""For tests of comparisons: workers that need not import torch."""

import pytest
from forked import forked_worker

from ravine.comparison._study.local_workers import run_workers


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers of a comparison are forked: as such they do the same, four seconds sooner."""
    monkeypatch.setitem(run_workers.__kwdefaults__, "start", forked_worker)
