"""Batches of tasks are so small that several threads only wait for each other."""

import pytest


@pytest.fixture(autouse=True)
def _alone(one_thread: None) -> None:
    """All tests of this folder."""
