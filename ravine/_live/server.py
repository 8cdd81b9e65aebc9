"""The server of the live page: who may ask, and what is answered. It reads, and acts only where it is given a control."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ravine._live.page import page, plotly
from ravine._live.watcher import Watcher
from ravine.errors import RavineError

_PING = 15.0  # seconds after which a silent connection gets a comment, so that neither side takes it for dead
_REFUSED = "This address is not complete: open the one that `ravine live` printed, with its token.\n"
_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class LivePage:
    """What is served.

    Attributes:
        kind: ``"run"`` or ``"study"``.
        title: of the browser's tab.
        watcher: knows the parts.
        files: paths of files that the page may link to, by the names under which they are served, asked each time.
        actions: what the page can do, by name; empty where it only shows. Each is given what the page sent, and returns a
            sentence.
    """

    kind: str
    title: str
    watcher: Watcher
    files: Callable[[], Mapping[str, Path]] = dict
    actions: Mapping[str, Callable[[Mapping[str, Any]], str]] = field(default_factory=dict)


def application(live: LivePage, token: str) -> Any:
    """The ASGI application; every address begins with the token."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Mount, Route

    async def show(request: Request) -> Response:
        _, parts = live.watcher.since(0)
        nonce = secrets.token_urlsafe(16)
        control = bool(live.actions)
        body = await run_in_threadpool(page, live.kind, live.title, parts or "{}", nonce, control=control)
        return Response(
            body, media_type="text/html; charset=utf-8", headers=_HEADERS | {"Content-Security-Policy": _policy(nonce)}
        )

    async def events(request: Request) -> Response:
        stream = _events(live.watcher)
        return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS | {"X-Accel-Buffering": "no"})

    async def script(request: Request) -> Response:
        body = await run_in_threadpool(plotly)
        kept = _HEADERS | {"Cache-Control": "private, max-age=86400"}
        return Response(body, media_type="text/javascript; charset=utf-8", headers=kept)

    async def file(request: Request) -> Response:
        path = live.files().get(request.path_params["name"])
        if path is None or not path.is_file():
            return PlainTextResponse("There is no such file.\n", 404, headers=_HEADERS)
        return FileResponse(path, headers=_HEADERS)

    async def act(request: Request) -> Response:
        action = live.actions.get(request.path_params["name"])
        if action is None:
            return JSONResponse(
                {"error": "This page only shows: start `ravine live` with --control."}, 403, headers=_HEADERS
            )
        try:
            given = await request.json()
            answer = await run_in_threadpool(action, given if isinstance(given, dict) else {})
        except RavineError as error:
            return JSONResponse({"error": str(error)}, 409, headers=_HEADERS)
        except ValueError:
            return JSONResponse({"error": "That is not JSON."}, 400, headers=_HEADERS)
        return JSONResponse({"answer": answer}, headers=_HEADERS)

    inner = [
        Route("/", show),
        Route("/events", events),
        Route("/plotly.js", script),
        Route("/files/{name}", file),
        Route("/act/{name}", act, methods=["POST"]),
    ]

    async def refuse(request: Request) -> Response:
        return PlainTextResponse(_REFUSED, 403, headers=_HEADERS)

    under_token = Starlette(routes=inner)
    refusing = Starlette(routes=[Route("/{rest:path}", refuse, methods=["GET", "POST", "HEAD"])])
    return _TokenDoor(token, Mount("/" + token, app=under_token), refusing)


class _TokenDoor:
    """Lets in who names the token, in a time that does not tell how much of it was right."""

    def __init__(self, token: str, inside: Any, outside: Any) -> None:
        self._token, self._inside, self._outside = token.encode(), inside, outside

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._outside(scope, receive, send)
            return
        named = scope["path"].split("/")[1] if scope["path"].startswith("/") else ""
        known = secrets.compare_digest(named.encode(), self._token)
        if not known or scope["type"] != "http":
            await self._outside(scope, receive, send)
            return
        _, child = self._inside.matches(scope)
        scope = {**scope, **child} if child else scope
        await self._inside.handle(scope, receive, send)


async def _events(watcher: Watcher) -> AsyncIterator[str]:
    """Server-sent events: first all parts, then those that change."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        loop.call_soon_threadsafe(changed.set)

    watcher.listen(wake)
    try:
        version = 0
        yield "retry: 1000\n\n"
        while not watcher.over:
            changed.clear()
            version, parts = watcher.since(version)
            if parts is not None:
                yield f"data: {parts}\n\n"
                continue
            try:
                await asyncio.wait_for(changed.wait(), _PING)
            except TimeoutError:
                yield ": still here\n\n"
        yield "event: end\ndata: {}\n\n"
    finally:
        watcher.forget(wake)


def _policy(nonce: str) -> str:
    """Nothing is loaded but what this server has; plotly makes styles of its own."""
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
