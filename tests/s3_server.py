"""A server that speaks S3, run as a process by `tests.services.own_s3_server`: moto's, which keeps all in memory.

moto's server takes requests in many threads, but two that replace one object
at once break it. This one answers them one by one.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

_one_by_one = threading.Lock()
_moto = DomainDispatcherApplication(create_backend_app)


def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer a request (WSGI)."""
    with _one_by_one:
        return [b"".join(_moto(environ, start_response))]


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), answer, threaded=True, request_handler=MotoRequestHandler)
