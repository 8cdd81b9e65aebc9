"""Processes of their own that have torch already: forked from one that imported it, which takes two seconds each time.

A forked process is given its arguments, folder, environment and files as one that ``subprocess`` starts, and ends as it
does, by itself, by an exception or by a signal. Before it runs what it is told, nothing of Ravine is imported, only other
libraries, which have read their environment variables. A test of what an import does, or of Python's own options, starts
Python itself.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

#: What a command imports to train a task, or to work for a comparison: see ``after``.
TRAINS = ("sklearn.datasets", "sklearn.model_selection", "torch.utils.flop_counter", "matplotlib.backends.backend_agg")
COMPARES = (*TRAINS, "torch._inductor", "scipy.stats", "jinja2", "optuna.storages.journal")
#: What ``DistributedDataParallel`` imports when one is made, in two seconds.
TRAINS_TOGETHER = (*TRAINS, "torch._dynamo")
PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL
File = int | IO[Any] | None
_SIZE = struct.Struct("q")


class Forked:
    """The part of ``subprocess.Popen`` that tests use.

    Args:
        command: what follows ``python``: a file, ``-c`` and code, or ``-m`` and a module, and arguments.
        after: modules that the process would import anyway, imported once for all that name them.
        session: whether it leads a group of its own, to which signals can be sent.
        the others: as for ``subprocess``.
    """

    stdout: IO[Any] | None
    stderr: IO[Any] | None
    _server: tuple[subprocess.Popen[bytes], socket.socket] | None = None

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        after: Sequence[str] = (),
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: File = None,
        stdout: File = None,
        stderr: File = None,
        text: bool = False,
        session: bool = False,
    ) -> None:
        words, cwd = [os.fspath(word) for word in command], os.fspath(cwd or os.getcwd())
        request = {"words": words, "cwd": cwd, "env": dict(env or os.environ), "session": session}
        payload = json.dumps({**request, "parent": os.getpid(), "after": after}).encode()
        status, told = os.pipe()
        theirs, self.stdin = self._end(0, stdin, text)
        files = [theirs]
        for number, given in ((1, stdout), (2, stderr)):
            theirs, ours = self._end(number, given, text)
            files.append(theirs)
            setattr(self, ("stdout", "stderr")[number - 1], ours)
        server = self._serving()
        socket.send_fds(server, [_SIZE.pack(len(payload))], [*files, told])
        server.sendall(payload)
        for file in (*files, told):
            os.close(file)
        (self.pid,) = _SIZE.unpack(_exactly(server, _SIZE.size))
        self._status = status
        self.returncode: int | None = None

    @staticmethod
    def _end(number: int, given: File, text: bool) -> tuple[int, IO[Any] | None]:
        """The file of the process, and what the test has of it."""
        if given is PIPE:
            read, write = os.pipe()
            theirs, ours = (read, write) if number == 0 else (write, read)
            mode = "w" if number == 0 else "r"
            return theirs, open(ours, mode if text else f"{mode}b")
        if given is DEVNULL:
            return os.open(os.devnull, os.O_RDWR), None
        return os.dup(number if given is None else given if isinstance(given, int) else given.fileno()), None

    @classmethod
    def _serving(cls) -> socket.socket:
        if cls._server is None:
            ours, its = socket.socketpair()
            with its:
                command = [sys.executable, __file__, str(its.fileno())]
                server = subprocess.Popen(command, pass_fds=[its.fileno()], start_new_session=True)
            cls._server = server, ours
        return cls._server[1]

    @classmethod
    def end(cls) -> None:
        """Once no test needs it: the process that imported torch ends, and with it all that it forked."""
        if cls._server is not None:
            server, ours = cls._server
            ours.close()
            server.wait(60)
            cls._server = None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("forked", timeout or 0)
            (status,) = _SIZE.unpack(os.read(self._status, _SIZE.size))
            self.returncode = int(status)
            os.close(self._status)
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, said: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        if self.stdin is not None:
            if said:
                self.stdin.write(said)
            self.stdin.close()
        read: dict[Any, Any] = {}
        readers = [
            threading.Thread(target=lambda file=file: read.__setitem__(file, file.read()), daemon=True)
            for file in (self.stdout, self.stderr)
            if file is not None and not file.closed
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        self._close()
        return read.get(self.stdout), read.get(self.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.kill()
        self.wait()
        self._close()

    def _close(self) -> None:
        for file in filter(None, (self.stdin, self.stdout, self.stderr)):
            file.close()


def run_forked(
    command: Sequence[str | Path], *, timeout: float = 300, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """As ``subprocess.run(..., capture_output=True, text=True)``."""
    with Forked(command, **{"stdout": PIPE, "stderr": PIPE, "text": True, **options}) as process:
        out, err = process.communicate(timeout=timeout)
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, out, err)
    return subprocess.CompletedProcess(command, process.wait(), out, err)


def forked_worker(command: Sequence[str], **options: Any) -> Forked:
    """In place of ``subprocess.Popen``, where a comparison starts its workers."""
    assert command[0] == sys.executable
    return Forked(command[1:], after=COMPARES, **options)


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        if not (more := connection.recv(size - len(received))):
            raise EOFError("the other end is gone")
        received += more
    return received


def _serve(connection: socket.socket) -> dict[str, Any]:
    """Fork for each request until the tests are gone; return in each forked process what it was told to do."""
    waiting: dict[int, int] = {}
    woken, wakes = os.pipe()  # a byte for each process that ends
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready = select.select([connection, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            for pid in list(waiting):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    os.write(waiting[pid], _SIZE.pack(os.waitstatus_to_exitcode(status)))
                    os.close(waiting.pop(pid))
        if connection not in ready:
            continue
        head, files, *_ = socket.recv_fds(connection, _SIZE.size, 4)
        if not head:
            for pid in waiting:
                os.kill(pid, signal.SIGKILL)
            os._exit(0)
        request = json.loads(_exactly(connection, *_SIZE.unpack(head)))
        for module in request.pop("after"):
            importlib.import_module(module)
        gc.freeze()  # forked processes leave these pages as they are
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            for number, file in enumerate(files[:3]):
                os.dup2(file, number)
            for file in (*files, connection.detach(), woken, wakes, *waiting.values()):
                os.close(file)
            return request
        waiting[pid] = files[3]
        for file in files[:3]:
            os.close(file)
        connection.sendall(_SIZE.pack(pid))


def _run(words: list[str], cwd: str, env: dict[str, str], session: bool, parent: int) -> None:
    """Be the program that these words start."""
    import runpy
    import types

    import numpy
    import torch

    if session:
        os.setsid()
    os.getppid = lambda: parent
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    more = env.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [folder for folder in more if folder not in ("", *sys.path[1:])]
    torch.set_num_threads(int(env.get("OMP_NUM_THREADS", torch.get_num_threads())))
    numpy.random.seed()  # else all would draw the same numbers
    torch.seed()
    kind, *arguments = words
    if kind == "-c":
        code, *arguments = arguments
        sys.argv, sys.path[0] = ["-c", *arguments], ""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), main.__dict__)
    elif kind == "-m":
        sys.argv, sys.path[0] = arguments, cwd
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = words, str(Path(kind).parent)
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    import torch  # noqa: F401

    _run(**_serve(socket.socket(fileno=int(sys.argv[1]))))
