"""Serves a live page until Ctrl-C: the socket, the address with its token, the browser."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from threading import Thread
from typing import Any

from ravine._live.page import page
from ravine._live.server import LivePage, application
from ravine.errors import OptionError, PackageError

LOCAL = "127.0.0.1"
_MISSING = "The live page needs starlette and uvicorn: pip install 'ravine[live]'"
_END = 2  # seconds that open connections have to end


def check_packages() -> None:
    """Refuse to begin what cannot be served.

    Raises:
        PackageError: starlette or uvicorn is not installed.
    """
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise PackageError(_MISSING, name=name)


def is_local(host: str) -> bool:
    """Whether only this machine reaches the host."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; connections to it wait for a server.

    Raises:
        OptionError: nobody can listen there.
    """
    place = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((host, port))
        place.listen(64)
    except (OSError, OverflowError) as error:
        place.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise OptionError(
            f"The page cannot be served at {host}, port {port}: {reason}. Name others: --host, --port."
        ) from error
    return place


def address_of(place: socket.socket, host: str, token: str) -> str:
    """The address of the page that is served there."""
    named = socket.gethostname() if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{named}]' if ':' in named else named}:{place.getsockname()[1]}/{token}/"


class LiveServer:
    """A server of one page.

    Args:
        live: what it serves.
        host, port: where; port 0 is any that is free.
        token: what every address begins with; by default a new one.
        place: a socket that listens, instead of ``host`` and ``port``.

    Attributes:
        address: of the page, with the token.

    Raises:
        PackageError: starlette or uvicorn is not installed.
        OptionError: nobody can listen there.
    """

    def __init__(
        self, live: LivePage, host: str = LOCAL, port: int = 0, token: str = "", place: socket.socket | None = None
    ) -> None:
        check_packages()
        import uvicorn

        self._live = live
        token = token or secrets.token_urlsafe(24)
        self._socket = listening(host, port) if place is None else place
        self.address = address_of(self._socket, host, token)
        config = uvicorn.Config(
            application(live, token),
            log_level="critical",
            access_log=False,  # it would write the token
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_END,
        )
        self._server: Any = uvicorn.Server(config)

    def run(self) -> None:
        """Serve until Ctrl-C, or :meth:`end`."""
        self._live.watcher.start()
        page(self._live.kind, "", "{}", "", control=False)  # its parts are compiled before somebody waits for it
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._live.watcher.stop()
            self._socket.close()

    def end(self) -> None:
        """End a server that runs in another thread."""
        self._server.should_exit = True
        self._live.watcher.stop()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve in a thread while this lasts; gives the address."""
        thread = Thread(target=self.run, name="ravine live server", daemon=True)
        thread.start()
        try:
            yield self.address
        finally:
            self.end()
            thread.join(_END + 3)


def open_browser(address: str, opener: Callable[[str], bool] = webbrowser.open) -> bool:
    """Whether a browser shows the page; where there is no screen, one in the terminal is not started."""
    screen = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(screen) and opener(address)
