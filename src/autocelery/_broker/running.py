"""The life of an embedded broker: start, ready, stop, and never an orphan."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from autocelery._broker.choosing import Candidate, Choice, Kind, candidates
from autocelery._broker.guarding import GuardedProcess
from autocelery.errors import BrokerUnavailable, ConfigurationError

logger = logging.getLogger("autocelery.broker")

#: Longest path of a Unix socket: ``sun_path`` holds 104 bytes on macOS, 108 on Linux.
SOCKET_PATH_MAX = 100
#: Seconds that a server has to answer its first PING.
START_DEADLINE = 10.0

_CONFIGURATION = """\
port 0
unixsocket "{folder}/s"
unixsocketperm 700
save ""
appendonly no
dir "{folder}"
logfile "{folder}/log"
loglevel notice
daemonize no
"""


@dataclass(frozen=True, slots=True)
class EmbeddedBroker:
    """A broker that runs: what an app needs to be told to use it.

    ``transport_options`` is for ``broker_transport_options``, ``store_url`` for
    ``AUTOCELERY_STORE``. ``pid`` is the server's, ``None`` where folders do without one.
    """

    kind: Kind
    broker_url: str
    result_backend: str
    store_url: str
    folder: Path
    program: Path | None = None
    pid: int | None = None
    transport_options: Mapping[str, object] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, object]:
        """The Celery settings that make an app use this broker."""
        return {
            "broker_url": self.broker_url,
            "broker_transport_options": dict(self.transport_options),
            "result_backend": self.result_backend,
        }


class LocalBroker:
    """Owner of an embedded broker: its guardian, its server and its folder.

    The folder is readable by this user only and goes with the broker; so does the server,
    even if this process is killed with SIGKILL.

    Args:
        choice: which way, ``"auto"`` for the best that works here.

    Example:
        >>> with LocalBroker("filesystem") as broker:
        ...     broker.broker_url
        'filesystem://localhost/'
    """

    def __init__(self, choice: Choice = "auto") -> None:
        self._choice = choice
        self._process: GuardedProcess | None = None

    def start(self) -> EmbeddedBroker:
        """Start the first way that works and return what runs.

        Raises:
            ConfigurationError: the way asked for does not exist on this machine.
            BrokerUnavailable: it exists and did not start.
        """
        found = candidates(self._choice)
        failures = list(found.unusable)
        for candidate in found.usable:
            if candidate.kind == "filesystem" and self._choice == "auto":
                _warn_of_folders(failures)
            try:
                return self._start(candidate)
            except BrokerUnavailable as error:
                failures.append(error.message)
        if not found.usable:
            raise ConfigurationError(_no_way(failures))
        raise BrokerUnavailable("\n".join(failures))

    def stop(self, deadline: float = 5.0) -> None:
        """End the server within ``deadline`` seconds and remove the folder; killing it if need be."""
        owned, self._process = self._process, None
        if owned is not None:
            owned.stop(deadline)

    def kill(self) -> None:
        """End the server at once and remove the folder."""
        owned, self._process = self._process, None
        if owned is not None:
            owned.kill()

    def __enter__(self) -> EmbeddedBroker:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, candidate: Candidate) -> EmbeddedBroker:
        folder = _make_folder()
        command = [str(candidate.program), str(folder / "conf")] if candidate.program else []
        self._process = GuardedProcess(command, folder)
        try:
            if candidate.program is None:
                self._process.start()
                return _folders(folder)
            (folder / "conf").write_text(_CONFIGURATION.format(folder=folder))
            self._process.start({**os.environ, "LC_ALL": "C"})
            pid = _wait_until_ready(self._process, folder, candidate.program)
        except BaseException:
            self.kill()
            raise
        url = f"redis+socket://{folder / 's'}"
        return EmbeddedBroker(candidate.kind, url, url, url, folder, program=candidate.program, pid=pid)


def _make_folder() -> Path:
    """Make a folder of this user's own whose sockets' paths are short enough."""
    for base in (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp"):
        # 16 bytes: the folder's own name and the socket's.
        if base and len(os.fsencode(base)) + 16 <= SOCKET_PATH_MAX and os.access(base, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="ac-", dir=base))
    raise BrokerUnavailable(
        "No temporary folder has a path short enough for a Unix socket. Set TMPDIR to a short one, "
        "for example TMPDIR=/tmp."
    )


def _wait_until_ready(server: GuardedProcess, folder: Path, program: Path) -> int:
    """Return the server's pid once it answers."""
    deadline = time.monotonic() + START_DEADLINE
    while server.ended is None and time.monotonic() < deadline:
        server.listen(0.01)
        if server.pid is not None and _answers(folder / "s"):
            return server.pid
    log = folder / "log"
    last = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else []
    why = f"it ended ({server.ended})" if server.ended else f"it did not answer within {START_DEADLINE:g} s"
    raise BrokerUnavailable(f"{program} did not start: {why}. " + " ".join(line.strip() for line in last))


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _folders(folder: Path) -> EmbeddedBroker:
    """Return Celery's filesystem transport and result backend in ``folder``, and a folder store."""
    for name in ("queue", "control", "results", "autocelery-blobs"):
        (folder / name).mkdir()
    return EmbeddedBroker(
        "filesystem",
        broker_url="filesystem://localhost/",  # without a host, kombu warns at each connection
        result_backend=f"file://{folder / 'results'}",
        store_url=str(folder / "autocelery-blobs"),
        folder=folder,
        transport_options={
            "data_folder_in": str(folder / "queue"),
            "data_folder_out": str(folder / "queue"),
            "control_folder": str(folder / "control"),
        },
    )


def _warn_of_folders(why: list[str]) -> None:
    logger.warning(
        "No Redis-compatible server for the embedded broker; using folders, which are slow (1 s a message) "
        "and for trying things out only. Install one of: pip install 'autocelery[demo]', valkey-server, "
        "redis-server.\n  %s",
        "\n  ".join(why),
    )


def _no_way(why: list[str]) -> str:
    return "This machine cannot run the embedded broker that was asked for:\n  " + "\n  ".join(why)
