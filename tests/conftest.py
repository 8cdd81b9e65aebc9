"""Shared by all tests: kernels are kept in one folder of the test run, so that each is compiled once."""

import os
import signal

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def kernel_cache(tmp_path_factory):
    """A kernel cache of this run's own, unless the caller chose one; shared by the workers of pytest-xdist."""
    if "RAVINE_CACHE_DIR" not in os.environ:
        base = tmp_path_factory.getbasetemp()
        os.environ["RAVINE_CACHE_DIR"] = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c():
    """Ctrl-C as a program has it by default: a shell starts what runs in the background without it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def one_thread():
    """Small tensors on one thread: waking others costs up to thirty times the work where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
