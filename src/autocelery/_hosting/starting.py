"""The worker's end of the agent's life: started with the worker, started again when it dies, stopped with it."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from autocelery._hosting.terms import SOCKET_NAME, STOP_SIGNAL, AgentTerms

logger = logging.getLogger(__name__)

#: An agent that lived for less than this many seconds is not started again at once.
SHORT_LIFE = 2.0
#: Each worker's folder is called so, in the place for temporary files; its socket likewise.
FOLDER_PREFIX = "autocelery-"
#: A socket that is younger, in seconds, may be one whose worker is just about to listen.
ABANDONED_AGE = 60.0

#: Held while an agent is started: a pool process that is forked in between would keep the pipe open at whose end
#: `subprocess.Popen` sees that the agent runs, and it would wait as long as that process lives. Reentrant, since
#: gevent's `Popen` is itself a fork that these hooks hear of.
no_fork = threading.RLock()
os.register_at_fork(before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=no_fork.release)


class AgentProcess:
    """The agent of one worker. Owns a folder with its socket, the process, and a thread that waits for its death.

    The socket outlives the process: who connects while a dead agent is being
    replaced waits for the next.
    """

    def __init__(self, terms_for: Callable[[Path], AgentTerms]) -> None:
        _remove_abandoned()
        self.folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        self.address = str(self.folder / SOCKET_NAME)
        try:
            self._terms = terms_for(self.folder)
        except BaseException:
            self.folder.rmdir()
            raise
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.address)
        self._listener.listen(256)
        self._stopping = threading.Event()
        self._spawning = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def start(self) -> None:
        """Start the agent and see to it that there is one until `stop`."""
        self._spawn()
        threading.Thread(target=self._supervise, name="autocelery-agent", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """The agent's pid."""
        return self._process.pid if self._process else None

    def is_ours(self) -> bool:
        """Whether this process started it, and is not a fork of the one that did."""
        return os.getpid() == self._owner

    def stop(self, deadline: float = 5.0) -> None:
        """End the agent, its hosts and its folder; a second time, or in a fork, it does nothing.

        Args:
            deadline: seconds after which it is killed.
        """
        if self._stopping.is_set() or not self.is_ours():
            return
        self._stopping.set()
        with self._spawning:
            process = self._process
        if process is not None:
            process.send_signal(STOP_SIGNAL)
            try:
                process.wait(deadline)
            except subprocess.TimeoutExpired:
                process.kill()
        self._listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self) -> None:
        fd = self._listener.fileno()
        command = [sys.executable, "-P", "-m", "autocelery._hosting.agent", str(fd)]
        with no_fork:
            self._process = subprocess.Popen(command, pass_fds=[fd], stdin=subprocess.PIPE, cwd="/")
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(pickle.dumps(self._terms))

    def _supervise(self) -> None:
        while not self._stopping.is_set():
            process, began = self._process, time.monotonic()
            assert process is not None
            status = process.wait()
            if self._stopping.is_set():
                return
            logger.error("The autocelery agent %s died (status %s); starting another.", process.pid, status)
            if time.monotonic() - began < SHORT_LIFE:
                self._stopping.wait(SHORT_LIFE)
            self._respawn()

    def _respawn(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._spawning:
                    if not self._stopping.is_set():
                        self._spawn()
                return
            except OSError as exc:  # no process or no memory to be had, just now
                logger.error("The autocelery agent cannot be started: %s", exc)
                self._stopping.wait(SHORT_LIFE)


def _remove_abandoned() -> None:
    """Remove what workers left that were killed together with their agents: a socket where nobody listens."""
    for address in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*/{SOCKET_NAME}"):
        with contextlib.suppress(OSError):
            status = address.lstat()
            is_ours = stat.S_ISSOCK(status.st_mode) and status.st_uid == os.getuid()
            is_old = time.time() - status.st_mtime > ABANDONED_AGE
            if is_ours and is_old and not _is_listened_at(address):
                address.unlink()
                address.parent.rmdir()  # only if there was nothing else in it


def _is_listened_at(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is no reason to wait, and a sign of life
        try:
            probe.connect(str(address))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True
