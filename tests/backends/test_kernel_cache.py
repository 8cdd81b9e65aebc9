"""The kernel cache: kept for the next run, never trusted blindly, never necessary."""

import os
import stat
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from ravine.backends.cpu import _batch as batch
from ravine.backends.cpu import _cache as cache
from ravine.backends.cpu import _compiler as compiler
from ravine.backends.cpu import _gather, _record_rows
from ravine.optim import SGD, Optimizer

posix = pytest.mark.skipif(os.name != "posix", reason="folders have no such mode here")

STEP = """
import numpy as np, torch
from ravine.backends.cpu import _compiler as compiler
from ravine.optim import SGD

made, compiled = [], compiler._machine_code
compiler._machine_code = lambda source: made.append(source) or compiled(source)

p = torch.nn.Parameter(torch.linspace(-1, 1, 40_000))
optimizer = SGD([p], lr=0.1)
p.grad = torch.linspace(1, -2, 40_000)
optimizer.step()
optimizer.step()
q = torch.nn.Parameter(torch.linspace(-1, 1, 40_000))
other = SGD([q], lr=0.1, fused=False)
q.grad = p.grad
other.step()
other.step()
assert np.allclose(p.detach().numpy(), q.detach().numpy(), atol=1e-6)
print(len(made) > 0)
"""


def start(text=STEP, **environment):
    clean = {k: v for k, v in os.environ.items() if k not in ("RAVINE_CACHE_DIR", "PYTHONWARNINGS")}
    return subprocess.Popen(
        [sys.executable, "-W", "always::RuntimeWarning", "-c", textwrap.dedent(text)],
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    try:
        out, err = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 0, err
    return out.strip(), err


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder of this test alone, and kernels that are looked up in it anew."""
    monkeypatch.setenv("RAVINE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(batch, "compile_kernel", compiler.compile_kernel.__wrapped__)
    return tmp_path / "cache"


def step():
    p = Parameter(torch.ones(40_000))
    p.grad = torch.full((40_000,), 2.0)
    optimizer = SGD([p], lr=0.25, fused=True)
    optimizer.step()
    assert torch.equal(p.detach(), torch.full((40_000,), 0.5))


def kernels(folder):
    """The kernels that are kept, without the loops over parameters and figures that every process needs once."""
    loops = {cache.key(text, compiler._processor()) for text in (_gather._source(), _record_rows._SOURCE)}
    return sorted(f for f in (folder / "kernels").glob("*.kernel") if f.stem not in loops)


def test_a_kernel_is_kept_and_found_without_compiling(folder, monkeypatch):
    step()
    (kept,) = kernels(folder)
    written = kept.stat().st_mtime_ns
    monkeypatch.setattr(compiler, "_machine_code", None)
    step()
    assert kept.stat().st_mtime_ns == written
    assert all(f.suffix == ".kernel" for f in (folder / "kernels").iterdir())


@posix
def test_the_folder_and_its_files_are_the_users_alone(folder):
    before = os.umask(0)
    try:
        step()
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "kernels").stat().st_mode) == 0o700
    assert stat.S_IMODE(kernels(folder)[0].stat().st_mode) & 0o077 == 0


DAMAGE = {
    "empty": lambda f: f.write_bytes(b""),
    "cut in the checksum": lambda f: f.write_bytes(f.read_bytes()[:20]),
    "cut after the checksum": lambda f: f.write_bytes(f.read_bytes()[:32]),
    "cut": lambda f: f.write_bytes(f.read_bytes()[:-1]),
    "longer": lambda f: f.write_bytes(f.read_bytes() + b"\0"),
    "first bit": lambda f: f.write_bytes(bytes([f.read_bytes()[0] ^ 1]) + f.read_bytes()[1:]),
    "last bit": lambda f: f.write_bytes(f.read_bytes()[:-1] + bytes([f.read_bytes()[-1] ^ 0x80])),
    "zeros": lambda f: f.write_bytes(bytes(f.stat().st_size)),
    "text": lambda f: f.write_text("not a kernel"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_a_warning_and_compiled_anew(folder, damage):
    step()
    (kept,) = kernels(folder)
    damage(kept)
    damaged = kept.read_bytes()
    with pytest.warns(RuntimeWarning, match=rf"{kept.name}.*damaged") as seen:
        step()
    assert len(seen) == 1
    assert kept.read_bytes() != damaged
    step()  # no warning


def test_a_folder_in_place_of_a_file_is_a_warning(folder):
    step()
    (kept,) = kernels(folder)
    kept.unlink()
    kept.mkdir()
    with pytest.warns(RuntimeWarning, match=kept.name):
        step()
    assert all(f.suffix == ".kernel" for f in (folder / "kernels").iterdir())  # nothing half-done stays behind


def test_code_under_another_kernels_name_is_not_run(folder):
    """Whoever swaps two files, by a copy or a restored backup, must not make one formula run as another."""

    def up(param, *, grad, lr):
        return param + lr * grad

    def down(param, *, grad, lr):
        return param - lr * grad

    def run(piece):
        p = Parameter(torch.ones(3))
        p.grad = torch.ones(3)
        Optimizer([p], [piece], lr=0.5).step()
        return p.detach().tolist()

    assert run(up) == [1.5] * 3
    (first,) = kernels(folder)
    assert run(down) == [0.5] * 3
    second = next(f for f in kernels(folder) if f != first)
    second.write_bytes(first.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert run(down) == [0.5] * 3


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722, 0o1777])
@pytest.mark.parametrize("place", ["kernels", "."])
def test_a_folder_that_others_can_write_to_is_refused_with_one_warning(folder, mode, place):
    if place == "." and mode == 0o1777:
        pytest.skip("in a sticky folder, such as /tmp, others cannot replace what is ours")
    (folder / "kernels").mkdir(parents=True, mode=0o700)
    (folder / place).chmod(mode)
    with pytest.warns(RuntimeWarning, match="RAVINE_CACHE_DIR") as seen:
        [step() for _ in range(2)]
    assert len(seen) == 1
    assert str(folder) in str(seen[0].message)
    assert not kernels(folder)


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(folder):
    (folder / "kernels").mkdir(parents=True, mode=0o700)
    os.chown(folder / "kernels", 12345, 12345)
    with pytest.warns(RuntimeWarning, match="another user"):
        step()
    assert not kernels(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="the cache folder is elsewhere here")
def test_without_a_folder_of_the_users_all_works_with_one_warning(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.delenv("RAVINE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="RAVINE_CACHE_DIR") as seen:
        [step() for _ in range(2)]
    assert len(seen) == 1
    assert str(tmp_path / "file") in str(seen[0].message)


def test_without_a_folder_that_can_be_written_a_process_works_with_one_warning(tmp_path):
    (tmp_path / "file").write_text("in the way")
    out, err = finish(start(RAVINE_CACHE_DIR=str(tmp_path / "file")))
    assert err.count("RuntimeWarning") == 1
    assert "RAVINE_CACHE_DIR" in err
    assert out == "True"


def test_processes_that_compile_the_same_kernel_at_once_are_both_right(tmp_path):
    both = [start(RAVINE_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    for process in both:
        _, err = finish(process)
        assert "Warning" not in err
    assert len(kernels(tmp_path)) == 1
    assert all(f.suffix == ".kernel" for f in (tmp_path / "kernels").iterdir())
    out, err = finish(start(RAVINE_CACHE_DIR=str(tmp_path)))
    assert "Warning" not in err
    assert out == "False"  # the third found it and did not need the compiler


def test_a_full_disk_is_a_warning_and_leaves_nothing(folder, monkeypatch):

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        step()
    assert not list((folder / "kernels").iterdir())


def test_the_key_tells_formulas_dtypes_and_processors_apart(folder):

    assert cache.key("a", "x") != cache.key("b", "x")
    assert cache.key("a", "x") != cache.key("a", "y")
    assert cache.key("a", "x") == cache.key("a", "x")
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        p = Parameter(torch.ones(3, dtype=dtype))
        p.grad = torch.ones(3, dtype=dtype)
        SGD([p], lr=0.5, fused=True).step()
        assert np.allclose(p.detach().double().numpy(), 0.5)
    assert len(kernels(folder)) == 3
