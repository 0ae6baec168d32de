"""A worker that ``autocelery up`` or ``dev`` started tells it when it is ready, whatever its log says."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress

#: Names the socket of whoever started this process, and hears of it.
VARIABLE = "AUTOCELERY_UP"
_PATIENCE = 5.0


def tell_ready() -> None:
    """Say that this process is ready, if it was started by someone who wants to know and is still there."""
    place = os.environ.get(VARIABLE)
    if not place:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(place)
        connection.sendall(json.dumps({"do": "ready", "pid": os.getpid()}).encode() + b"\n")
