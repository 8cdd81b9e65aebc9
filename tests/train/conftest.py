import pytest


@pytest.fixture(autouse=True)
def _alone(one_thread: None) -> None:
    """All tests of this folder."""
