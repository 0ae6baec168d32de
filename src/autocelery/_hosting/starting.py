"""The worker's end of the agent's life: started with the worker, started again when it dies, stopped with it."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from autocelery._hosting.terms import AgentTerms

logger = logging.getLogger(__name__)

#: An agent that lived for less than this many seconds is not started again at once.
SHORT_LIFE = 2.0


class AgentProcess:
    """The agent of one worker. Owns a folder with its socket, the process, and a thread that waits for its death.

    The socket outlives the process: who connects while a dead agent is being
    replaced waits for the next.
    """

    def __init__(self, terms_for: Callable[[Path], AgentTerms]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="autocelery-"))
        self.address = str(self.folder / "agent")
        self._terms = terms_for(self.folder)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.address)
        self._listener.listen(256)
        self._stopping = threading.Event()
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
        process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(deadline)
            except subprocess.TimeoutExpired:
                process.kill()
        self._listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self) -> None:
        fd = self._listener.fileno()
        command = [sys.executable, "-P", "-m", "autocelery._hosting.agent", str(fd)]
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
            if not self._stopping.is_set():
                self._spawn()
