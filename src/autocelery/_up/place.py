"""Where the socket of a project's ``up`` is: all that a probe needs, which has no time for more."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path

from autocelery import _config
from autocelery._tables import table_file

_PATIENCE = 5.0


def project_of(folder: Path) -> Path:
    """Return the project that ``folder`` is in: the folder of its table's file, without a table ``folder`` itself."""
    file = table_file(folder)
    return (folder if file is None else file.parent).resolve()


def socket_of(folder: Path) -> Path:
    """Return where the ``up`` or ``dev`` of the project that ``folder`` is in listens."""
    digest = hashlib.sha256(os.fsencode(project_of(folder))).hexdigest()[:16]
    return _config.home().cache / "up" / f"{digest}.sock"


def is_ready(folder: Path) -> bool:
    """Whether all that should run is ready; not, if nothing runs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(str(socket_of(folder)))
            connection.sendall(b'{"do": "status"}\n')
            with connection.makefile("rb") as answers:
                return bool(json.loads(answers.readline())["up_is_ready"])
        except (OSError, ValueError, KeyError):
            return False
