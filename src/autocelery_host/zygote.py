"""The zygote's process: ``python -P -m autocelery_host.zygote FD PARENT``, started by an agent.

FD is its socket, PARENT the agent's pid. Nothing of Celery is imported
before what its imports look for is noted.
"""

from __future__ import annotations

import socket
import sys

from autocelery_host.noticing import Noticing


def main() -> None:
    """Serve the agent whose socket is file descriptor ``argv[1]``, until it closes."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    noticing = Noticing()
    sys.meta_path.append(noticing)
    from autocelery_host import forking, limits, output  # they bring Celery

    limits.die_with_parent(int(sys.argv[2]))
    output.keep_log_apart()
    forking.Zygote(control, noticing).serve()


if __name__ == "__main__":
    main()
