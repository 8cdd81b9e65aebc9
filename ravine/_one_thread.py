"""One thread for what is compared."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch, and with it our kernels, use one thread, and then as many as before.

    The models here are so small that several threads gain little, and lose much where other programs
    want the processor too; then one optimizer's seconds are other programs' doing. One thread also adds
    up in the same order on every machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
