"""Shows that a worker is alive while it trains."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from ravine.comparison._study.trial_claim import Claim


@contextmanager
def heartbeats(claims: Iterable[Claim]) -> Iterator[None]:
    """Heartbeats of claims from a thread of their own while something runs."""
    over, beating = threading.Event(), list(claims)

    def keep_beating() -> None:
        while not over.wait(beating[0].pause):
            for claim in beating:
                if over.is_set():
                    return
                with suppress(Exception):  # a storage that cannot be reached now may be so later
                    claim.beat()

    thread = threading.Thread(target=keep_beating, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
