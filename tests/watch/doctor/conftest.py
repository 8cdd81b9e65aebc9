import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors on one thread: waking others costs more than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
