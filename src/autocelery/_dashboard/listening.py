"""Whether the dashboard can be served here."""

from __future__ import annotations

import importlib.util
import socket

from autocelery.errors import DashboardUnavailable

_NEEDED = ("starlette", "uvicorn")


def see_that_it_is_installed(extra: str, *others: str) -> None:
    """See that what the dashboard needs is here.

    Args:
        extra: of autocelery, which has it.
        *others: modules that are needed besides.

    Raises:
        DashboardUnavailable: something is not installed.
    """
    missing = [name for name in (*_NEEDED, *others) if importlib.util.find_spec(name) is None]
    if missing:
        raise DashboardUnavailable(
            f"This needs {' and '.join(missing)}, which is not installed. Run: pip install 'autocelery[{extra}]'"
        )


def see_that_port_is_free(port: int) -> None:
    """See that nobody listens on ``port`` of this machine.

    Raises:
        DashboardUnavailable: somebody does, or this user may not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DashboardUnavailable(
                f"The dashboard cannot listen on 127.0.0.1:{port}: {error.strerror}. Choose another port: --port."
            ) from error
