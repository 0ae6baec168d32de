"""The dashboard over HTTP: one page, its files, and what is on it as it changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autocelery._dashboard.fleet import Fleet, Shown

_STATIC = Path(__file__).parent / "static"
_FILES = {"": "index.html", "dashboard.js": "dashboard.js", "dashboard.css": "dashboard.css"}
#: Seconds between two looks at what has changed, and after which a stream that has nothing to say says so.
_LOOK_SECONDS, _SILENCE = 0.25, 15.0
#: Names of this machine that a browser may have asked for: another one was led here by its name server.
_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


def application(fleet: Fleet) -> Starlette:
    """Return the dashboard of ``fleet``, which is started and stopped with it."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        fleet.start()
        try:
            yield
        finally:
            await asyncio.to_thread(fleet.stop)

    async def file(request: Request) -> Response:
        name = _FILES.get(request.path_params.get("name", ""))
        return FileResponse(_STATIC / name) if name else Response(status_code=404)

    async def state(_: Request) -> Response:
        return JSONResponse((await asyncio.to_thread(fleet.shown)).told())

    async def events(request: Request) -> Response:
        return StreamingResponse(_changes(fleet, request), media_type="text/event-stream")

    routes = [
        Route("/api/state", state),
        Route("/api/events", events),
        Route("/{name}", file),
        Route("/", file),
    ]
    guard = [Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS), Middleware(_WithHeaders)]
    return Starlette(routes=routes, middleware=guard, lifespan=lifespan)


async def _changes(fleet: Fleet, request: Request) -> AsyncIterator[str]:
    """Yield what has changed since the last time: tasks one by one, the rest as a whole."""
    known: Mapping[str, Any] = {}
    silent = 0.0
    while not await request.is_disconnected():
        shown = await asyncio.to_thread(fleet.shown)
        now = _by_part(shown)
        changed = {name: part for name, part in now.items() if known.get(name) != part}
        if changed:
            told = {name: part for name, part in changed.items() if not name.startswith("task ")}
            tasks = [part for name, part in changed.items() if name.startswith("task ")]
            yield f"data: {json.dumps({**told, 'tasks': tasks})}\n\n"
            known, silent = now, 0.0
        elif silent >= _SILENCE:
            yield ": still here\n\n"
            silent = 0.0
        await asyncio.sleep(_LOOK_SECONDS)
        silent += _LOOK_SECONDS


def _by_part(shown: Shown) -> dict[str, Any]:
    told = shown.told()
    tasks = {f"task {each['id']}": each for each in reversed(told.pop("tasks"))}
    return {**told, **tasks}


class _WithHeaders:
    """Tells browsers to run nothing that did not come from here, and to show it in no other page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        await self._app(scope, receive, with_headers)
