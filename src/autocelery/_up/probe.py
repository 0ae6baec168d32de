"""A page for whoever asks whether this is alive, and ready: a container's platform, a load balancer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Self

from autocelery.errors import UpUnavailable

_MOST_HEADERS = 100
_SECONDS = 5.0


class Probe:
    """Answers ``GET /live`` and ``GET /ready``. Owns the server.

    Args:
        address: host and port; ``None``: there is no page.
        is_ready: says whether everything is ready, and the state of each process.
    """

    def __init__(
        self, address: tuple[str, int] | None, is_ready: Callable[[], tuple[bool, dict[str, str]]]
    ) -> None:
        self._address, self._is_ready = address, is_ready
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        if self._address is not None:
            host, port = self._address
            try:
                self._server = await asyncio.start_server(self._serve, host, port)
            except OSError as exc:
                raise UpUnavailable(
                    f"The probe cannot listen on {host}:{port}: {exc.strerror or exc}. Choose another port: up.http."
                ) from exc
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await asyncio.wait_for(reader.readline(), _SECONDS)
            for _ in range(_MOST_HEADERS):
                if (await asyncio.wait_for(reader.readline(), _SECONDS)).strip() == b"":
                    break
            writer.write(self._answer(request.split()))
            await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass  # it asked nothing
        finally:
            writer.close()

    def _answer(self, request: list[bytes]) -> bytes:
        path = request[1].partition(b"?")[0] if len(request) > 1 else b""
        is_ready, states = self._is_ready()
        status = {b"/live": "200 OK", b"/ready": "200 OK" if is_ready else "503 Service Unavailable"}.get(
            path, "404 Not Found"
        )
        body = json.dumps({"ready": is_ready, "processes": states}).encode() + b"\n"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + b"Connection: close\r\n\r\n" + (b"" if request[:1] == [b"HEAD"] else body)
