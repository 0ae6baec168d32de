"""Environment variables that a call brought along: set before the snapshot's app is imported, gone with the host.

They come over the host's own socket, from the agent, which has decrypted
them: the zygote never holds them, and so no other host inherits them.
"""

from __future__ import annotations

import json
import os
import socket
import time

import autocelery_host
from autocelery_host import frames
from autocelery_host.limits import keep_memory_private

#: Seconds without a call after which a host that has variables ends, whatever its worker says of others.
IDLE_SECONDS = 10.0


def take(sock: socket.socket, sealed: str) -> bool:
    """Set the variables that come over ``sock``; false where whoever sends them is gone.

    Args:
        sock: the host's own.
        sealed: the digest of the envelope that they came in, which calls that are sent from here carry too.
    """
    payload = frames.receive(sock)
    if payload is None:
        return False
    keep_memory_private()
    values = json.loads(payload)
    os.environ.update(values)
    if "TZ" in values:
        time.tzset()
    autocelery_host.carry_variables(sealed, values)
    return True
