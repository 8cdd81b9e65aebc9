"""Shared by all tests: kernels are kept in one folder of the test run, so that each is compiled once.

Also the quick lane, ``pytest --quick``: what is left out of it, and why.
"""

import atexit
import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from forked import Forked

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

#: Files and folders that the quick lane leaves out, because of what they must do to test what they test.
LEFT_OUT = {
    "tests/backends/test_kernel_cache.py": "fresh processes that compile with an empty cache",
    "tests/backends/test_random_formulas.py": "compiles a kernel for each of its formulas",
    "tests/backends/test_threads.py": "forked processes, and threads that race",
    "tests/backends/triton/test_interpreted_graphs.py": "seconds for each graph in the interpreter",
    "tests/backends/triton/test_interpreted_life.py": "many steps in the interpreter",
    "tests/backends/triton/test_interpreted_matrices.py": "seconds for each formula in the interpreter",
    "tests/backends/triton/test_interpreted_random_formulas.py": "a second for each formula in the interpreter",
    "tests/backends/triton/test_interpreted_tables.py": "many tensors in the interpreter",
    "tests/bench/": "measures",
    "tests/cli/test_bench_command.py": "measures, in fresh processes",
    "tests/cli/test_compare_command.py": "whole comparisons",
    "tests/cli/test_compare_tasks.py": "whole comparisons of several tasks",
    "tests/cli/test_contour_command.py": "follows and draws whole explorations",
    "tests/cli/test_lr_find_command.py": "whole trainings",
    "tests/cli/test_play_command.py": "prints every optimizer for the browser",
    "tests/cli/test_plot_command.py": "draws figures",
    "tests/cli/test_report_command.py": "a whole comparison, and pages of others",
    "tests/cli/test_train_command.py": "whole trainings",
    "tests/comparison/across/test_interquartile.py": "simulates thousands of studies",
    "tests/comparison/across/test_over_tasks.py": "simulates thousands of studies",
    "tests/comparison/judge/test_with_best.py": "simulates thousands of studies",
    "tests/comparison/report/test_report_figures.py": "draws every figure",
    "tests/comparison/report/test_report_page.py": "makes whole pages",
    "tests/comparison/report/test_tasks_report.py": "draws every figure, and starts a browser",
    "tests/comparison/report/test_report_page_in_chromium.py": "starts a browser",
    "tests/comparison/study/test_cost.py": "measures trainings",
    "tests/comparison/study/test_store.py": "whole studies, in files and databases",
    "tests/comparison/study/test_trial_block.py": "trains dozens of models, together and alone",
    "tests/comparison/study/test_trial_runner.py": "trains dozens of models",
    "tests/comparison/test_compare.py": "whole comparisons, with processes that work for them",
    "tests/comparison/test_halved_study.py": "whole comparisons",
    "tests/comparison/test_python_optimizers.py": "whole comparisons",
    "tests/contour/test_contour_figure.py": "draws every figure",
    "tests/contour/test_contour_page_in_chromium.py": "starts a browser",
    "tests/contour/test_play_page_in_chromium.py": "starts a browser",
    "tests/contour/test_play_paths.py": "follows paths of every optimizer",
    "tests/integrations/": "inside other trainers, which are not here, and the rest trains",
    "tests/live/test_live_page_in_chromium.py": "starts a browser",
    "tests/live/test_study_reading.py": "whole comparisons",
    "tests/cli/test_live_command.py": "whole trainings, and processes that serve",
    "tests/docs/": "runs the code of every page",
    "tests/examples/": "whole trainings",
    "tests/formula/test_javascript.py": "every optimizer, in a process of node",
    "tests/optim/test_life_in_torch.py": "torch.compile, and 10,000 steps",
    "tests/optim/test_torch_groups.py": "random groups against torch, many steps of each",
    "tests/train/test_lr_find.py": "whole sweeps of the learning rate",
    "tests/train/test_lr_sweeps.py": "draws figures of whole sweeps",
    "tests/train/test_plots.py": "draws figures",
    "tests/train/test_resume.py": "trainings that are stopped and go on",
    "tests/watch/test_history_plots.py": "draws figures",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The quick lane, which ``scripts/test`` runs."""
    parser.addoption("--quick", action="store_true", help="one case of each test that is not slow: under a minute")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``--quick``: nothing in LEFT_OUT, unless the command names it."""
    if not config.getoption("--quick"):
        return None
    here = collection_path.relative_to(config.rootpath).as_posix()
    entry = next((e for e in LEFT_OUT if f"{here}/".startswith(f"{e.rstrip('/')}/")), None)
    named = entry is not None and any(arg.startswith(entry.rstrip("/")) for arg in config.args)
    return True if entry is not None and not named else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Without a search for cycles among the objects of thousands of tests, which stay: it takes four of seventeen seconds.

    Nor are they looked at later: then each ``gc.collect()`` of a test would take a second, and so would pytest's at the
    end. What was frozen is let go of after that, with the rest: Triton says what of its own is still there.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--quick``: no test that is marked slow, and of a test with parameters the first case.

    Most of the time, a law for 20 optimizers in 4 dtypes is broken for all of them or seen to be broken by the first.
    A new test is in the lane without being named here, and the same cases run on every machine.
    """
    if not config.getoption("--quick"):
        return
    if gone := [path for path in LEFT_OUT if not (config.rootpath / path).exists()]:
        raise pytest.UsageError(f"LEFT_OUT in tests/conftest.py names what is not there: {', '.join(gone)}")
    kept, seen = [], set()
    for item in items:
        function = item.nodeid.partition("[")[0]
        if function not in seen and item.get_closest_marker("slow") is None:
            kept.append(item)
            seen.add(function)
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept


@pytest.fixture(scope="session", autouse=True)
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A kernel cache of this run's own, unless the caller chose one; shared by the workers of pytest-xdist."""
    if "RAVINE_CACHE_DIR" not in os.environ:
        base = tmp_path_factory.getbasetemp()
        os.environ["RAVINE_CACHE_DIR"] = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache")


@pytest.fixture
def numbers_in_double() -> Iterator[None]:
    """torch keeps the numbers of a parameter (``mu_product``, ``eta``) in the default dtype, and Ravine in double precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="session", autouse=True)
def quick_surroundings() -> Iterator[None]:
    """What takes time and decides nothing here.

    Nobody cuts the power, so files need not be on the disk: each ``fsync`` waits for milliseconds. And for each kind of
    device that is absent, ``torch.manual_seed`` keeps the seed for later, with all that is on Python's stack as text.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        for devices in (torch.cuda, torch.xpu, torch.mtia):
            if not devices.is_available():
                patch.setattr(devices, "manual_seed_all", lambda seed: None, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def forked_processes() -> Iterator[None]:
    """The process that they are forked from ends with the tests."""
    yield
    Forked.end()


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Ctrl-C as a program has it by default: a shell starts what runs in the background without it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small tensors on one thread: waking others costs up to thirty times the work where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
