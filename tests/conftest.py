"""Shared by all tests: kernels are kept in one folder of the test run, so that each is compiled once.

Also the quick lane, ``pytest --quick``: what is left out of it, and why.
"""

import os
import signal

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


#: Tests of which the quick lane runs every case: each costs nothing, and each is about another file.
ALL_CASES = ("tests/test_architecture.py",)
#: Files that the quick lane leaves out, and why.
LEFT_OUT: dict[str, str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The quick lane, which ``scripts/test`` runs."""
    parser.addoption("--quick", action="store_true", help="one case of each test that is not slow: under a minute")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--quick``: no test that is marked slow, none in LEFT_OUT, and of a test with parameters the first case.

    A law that holds for 20 optimizers in 4 dtypes is seen to be broken by one of them most of the time; which case
    it is does not depend on the machine, and a new test is in the lane by itself.
    """
    if not config.getoption("--quick"):
        return
    kept, seen = [], set()
    for item in items:
        path, function = item.nodeid.partition("::")[0], item.nodeid.partition("[")[0]
        first = function not in seen or path in ALL_CASES
        if first and path not in LEFT_OUT and item.get_closest_marker("slow") is None:
            kept.append(item)
            seen.add(function)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


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
