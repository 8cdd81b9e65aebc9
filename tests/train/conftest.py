import pytest


@pytest.fixture(autouse=True)
def _alone(one_thread):
    """All tests of this folder."""
