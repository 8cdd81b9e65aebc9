"""Threads and processes: the same bits whatever their number, no hang after a fork, the floating-point mode kept."""

import os
import pickle
import sys
import textwrap
import threading
from functools import partial

import numpy as np
import pytest
import torch
from forked import run_forked
from torch.nn import Parameter

from ravine.backends.cpu import _batch as batch
from ravine.backends.cpu import _compiler as compiler
from ravine.backends.cpu import _threads as threads
from ravine.formula import global_norm, minimum, norm
from ravine.optim import Adafactor, Adam, Optimizer, RMSprop

RAGGED = [16384 * 5 + 17, 5, 0, 100_001, 1, 16384, 16383, 16385]


@pytest.fixture
def thread_count():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def clip(update, *, most):
    return update * minimum(1.0, most / global_norm(update))


def trust(update, kept=0.0, *, param):
    kept = 0.9 * kept + update
    return kept * (norm(param) + 1) / (norm(kept) + 1), kept


def descend(param, *, update, lr):
    return param - lr * update


MAKERS = {
    "adam": lambda params, **kw: Adam(params, lr=0.1, weight_decay=0.1, amsgrad=True, **kw),
    "norms": lambda params, **kw: Optimizer(params, [clip, trust, descend], lr=0.1, most=1.0, **kw),
}


def run(make, sizes=RAGGED, steps=3, dtype=torch.float32, **kw):
    """All that a few steps leave, as bytes."""
    generator = torch.Generator().manual_seed(3)
    params = [Parameter(torch.randn(n, generator=generator).to(dtype)) for n in sizes]
    optimizer = make(params, **kw)
    for k in range(steps):
        for i, p in enumerate(params):
            wave = torch.from_numpy(np.cos(p.detach().double().numpy() * (k + 1))).to(dtype)
            p.grad = None if k == 1 and i == 3 else wave
        optimizer.step()
    tensors = [t for p in params for t in (p.detach(), *optimizer.state[p].values())]
    return b"".join(t.contiguous().view(-1).view(torch.uint8).numpy().tobytes() for t in tensors if t.numel())


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("adam", torch.float32), ("adam", torch.bfloat16), ("norms", torch.float32), ("norms", torch.float64)],
)
@pytest.mark.parametrize("fused", [None, False])
def test_any_number_of_threads_gives_the_same_bits(name, dtype, fused, thread_count):
    results = []
    for n in (1, 2, 4, 3):
        thread_count(n)
        results.append(run(MAKERS[name], dtype=dtype, fused=fused))
    assert all(r == results[0] for r in results)


@pytest.mark.parametrize("name", [*MAKERS, "codes"])
def test_several_chunks_at_a_time_give_the_bits_of_one_at_a_time(name, thread_count):
    make = partial(Adam, lr=0.1, state_dtype="8bit") if name == "codes" else MAKERS[name]
    sizes = [16384 * 50 + 3, 7, 0, 100_001, *[1] * 20, 16384 * 20]
    results, at_once = [], []
    for n in (1, 2, 4, 8):
        thread_count(n)
        at_once.append(threads.chunks_at_once(sum(sizes) // 16384))
        results.append(run(make, sizes=sizes, steps=2))
    assert at_once == [4, 2, 1, 1]
    assert all(r == results[-1] for r in results)


def test_rows_and_columns_of_several_chunks_at_a_time_are_those_of_one_at_a_time(thread_count):
    """Matrices have kernels of their own."""
    results = []
    for n in (1, 2, 8):
        thread_count(n)
        torch.manual_seed(0)
        params = [Parameter(torch.randn(700, 800)), Parameter(torch.randn(40, 30)), Parameter(torch.randn(900, 300))]
        optimizer = Adafactor(params, lr=0.1)
        for p in params:
            p.grad = p.detach().cos()
        optimizer.step()
        tensors = [t for p in params for t in (p.detach(), *optimizer.state[p].values())]
        results.append(b"".join(t.numpy().tobytes() for t in tensors))
    assert results[0] == results[1] == results[2]


def test_all_threads_have_a_share_of_the_chunks(thread_count):
    thread_count(2)
    assert [threads.chunks_at_once(n) for n in (0, 1, 31, 32, 320, 1240, 10**6)] == [1, 1, 1, 1, 10, 32, 32]
    thread_count(64)
    assert threads.chunks_at_once(1240) == 1


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("without", ["a runtime", "threads after a fork", "threads of its own"])
def test_other_ways_to_run_a_kernel_give_the_same_bits(make, without, monkeypatch, thread_count):
    thread_count(2)
    expected = run(make)
    used = []
    if without == "threads after a fork":
        monkeypatch.setattr(threads, "_forked", True)
    else:
        # Kernels that look for a runtime anew; the cache on disk still has their code.
        monkeypatch.setattr(threads, "_openmp", lambda: None)
        monkeypatch.setattr(batch, "compile_kernel", compiler.compile_kernel.__wrapped__)
        if without == "threads of its own":
            pool = threads._pool
            monkeypatch.setattr(threads, "_LARGE", 0)
            monkeypatch.setattr(threads, "_pool", lambda n: used.append(n) or pool(n))
    assert run(make) == expected
    assert bool(used) == (without == "threads of its own")


def test_torchs_own_threads_run_the_kernels():
    if sys.platform == "linux":
        assert threads._openmp() is not None


def test_two_threads_with_an_optimizer_each(thread_count):
    thread_count(2)
    expected = {name: run(make, steps=20) for name, make in MAKERS.items()}
    got, errors = {name: [] for name in MAKERS}, []

    def work(name):
        try:
            torch.set_num_threads(2)  # counted per thread
            for _ in range(4):
                got[name].append(run(MAKERS[name], steps=20))
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(name,), daemon=True) for name in MAKERS for _ in range(2)]
    for w in workers:
        w.start()
    for w in workers:
        w.join(60)
    assert not errors
    assert not any(w.is_alive() for w in workers)
    assert all(len(got[name]) == 8 and set(got[name]) == {expected[name]} for name in MAKERS)


def test_threads_that_compile_the_same_kernel_for_the_first_time(tmp_path, monkeypatch):
    monkeypatch.setenv("RAVINE_CACHE_DIR", str(tmp_path))

    def cube(param, *, grad, lr):
        return param - lr * grad**3 / 7.25

    results, errors = [], []

    def work():
        try:
            results.append(run(lambda params: Optimizer(params, [cube], lr=0.1), sizes=[5, 40_000]))
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join(60)
    assert not errors
    assert len(results) == 4
    assert len(set(results)) == 1


def script(text, timeout=60, **environment):
    """Run a program in a process of its own; a hang is a failure."""
    done = run_forked(["-c", textwrap.dedent(text)], env={**os.environ, **environment}, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout


FORK = """
import os, signal, sys, time, warnings
import numpy as np, torch
from ravine.optim import Adam
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of a fork with threads
torch.set_num_threads(2)

def trained(steps):
    p = torch.nn.Parameter(torch.ones(500_001))
    optimizer = Adam([p], lr=0.1)
    p.grad = torch.ones(500_001)
    for _ in range(steps):
        optimizer.step()
    return p, optimizer

p, optimizer = trained(3)
expected = trained(5)[0].detach().numpy().copy()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_of_fork_steps_on_and_so_does_its_parent():
    """torch#17199: the threads of the parent's pool do not exist in the child."""
    out = script(
        FORK
        + """
children = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        optimizer.step()
        optimizer.step()
        # A kernel that is new here; small, because torch's own operations on large tensors hang in such a child.
        q = torch.nn.Parameter(torch.zeros(1000, dtype=torch.float64))
        q.grad = torch.ones(1000, dtype=torch.float64)
        Adam([q], lr=0.5).step()
        right = np.array_equal(p.detach().numpy(), expected) and np.allclose(q.detach().numpy(), -0.5)
        os._exit(0 if right else 3)
    children.append(pid)
optimizer.step()
deadline = time.time() + 40
codes = []
for pid in children:
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            codes.append(os.waitstatus_to_exitcode(status))
            break
        if time.time() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            codes.append("hang")
            break
        time.sleep(0.01)
optimizer.step()
print(codes, np.array_equal(p.detach().numpy(), expected))
"""
    )
    assert out.strip() == "[0, 0] True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_data_loader_with_workers_after_a_step():
    out = script(
        FORK
        + """
class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        optimizer.step()  # absurd, but it must not hang
        q, _ = trained(2)
        return float(q.detach()[0]), bool((p.detach().numpy() < 0.8).all())

loader = torch.utils.data.DataLoader(Data(), batch_size=2, num_workers=2, timeout=40, multiprocessing_context="fork")
for _ in range(2):
    for values, right in loader:
        assert all(right), right
        assert all(abs(v - 0.8) < 1e-3 for v in values.tolist()), values
    optimizer.step()
print(np.array_equal(p.detach().numpy(), expected))
"""
    )
    assert out.strip() == "True"


def test_a_pickled_optimizer_goes_on_with_the_same_bits():
    p = Parameter(torch.ones(70_000))
    optimizer = Adam([p], lr=0.1)
    p.grad = torch.ones(70_000)
    optimizer.step()
    q, g, other = pickle.loads(pickle.dumps((p, p.grad, optimizer)))
    q.grad = g
    optimizer.step()
    other.step()
    assert torch.equal(p.detach(), q.detach())


def _keeps_subnormals():
    """Whether this thread, and torch's threads, keep subnormal numbers."""
    large = torch.full((400_000,), 1e-40)
    halves = (np.float32(1e-40) * np.float32(0.5), 5e-324 * 1.0, float((large * 0.5).min()))
    return all(h != 0 for h in halves)


def test_loading_and_running_kernels_leaves_the_floating_point_mode_alone(monkeypatch, thread_count):
    """llvm#57589: libraries built for speed may switch subnormal numbers off for a whole process."""
    thread_count(2)
    monkeypatch.setattr(batch, "compile_kernel", compiler.compile_kernel.__wrapped__)  # load anew
    assert _keeps_subnormals()
    run(MAKERS["adam"])
    assert _keeps_subnormals()
    if torch.set_flush_denormal(True):
        try:
            run(MAKERS["adam"])
            assert float(torch.tensor(1e-40) * 0.5) == 0
        finally:
            torch.set_flush_denormal(False)
    assert _keeps_subnormals()


def test_a_fresh_process_keeps_its_floating_point_mode(tmp_path):
    out = script(
        """
        import numpy as np, torch
        from ravine.optim import Adam

        def keeps():
            large = torch.full((400_000,), 1e-40)
            return bool(np.float32(1e-40) * np.float32(0.5) != 0 and 5e-324 * 1.0 != 0 and (large * 0.5).min() > 0)

        before = keeps()
        p = torch.nn.Parameter(torch.ones(400_000))
        p.grad = torch.ones(400_000)
        Adam([p]).step()
        print(before, keeps())
        """,
        RAVINE_CACHE_DIR=str(tmp_path),
    )
    assert out.strip() == "True True"


def test_a_kernel_outlives_its_optimizer_and_many_come_and_go():
    expected = run(MAKERS["adam"], sizes=[40_000])
    for _ in range(30):
        assert run(MAKERS["adam"], sizes=[40_000]) == expected
        run(lambda params: RMSprop(params), sizes=[40_000])
