from __future__ import annotations

import pytest
import torch


@pytest.fixture
def one_thread():
    """Small tensors on one thread: waking others costs up to thirty times the work where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
