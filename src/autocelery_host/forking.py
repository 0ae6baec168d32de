"""What a zygote does: it has the third-party imports loaded and forks hosts in milliseconds.

It is exec'd clean, has one thread, opens no socket to a service and never
runs project code. It obeys one agent over the socket it is given, and ends,
with every host it forked, when that socket closes.

The agent sends pickled dicts: ``{"preload": [names]}`` once, then ``{"fork":
Order}`` with the host's end of a socket pair beside it, or ``{"retire":
True}``. It answers with JSON: ``{"ready": [names], "unsafe": [names],
"looked_for": {…}}``, ``{"pid": n}``, ``{"exit": pid, "status": n}``.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pickle
import selectors
import signal
import socket
import sys
import threading
import warnings

from autocelery_host import frames, host, importing
from autocelery_host.limits import die_with_parent, outlive_parent
from autocelery_host.noticing import Noticing

#: Loaded in every zygote: what each host needs before it sees project code.
ALWAYS = (
    "autocelery._publish.facade",
    "celery.app.trace",
    "celery.app.amqp",
    "celery.app.builtins",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.backends.base",
    "celery.canvas",
    "celery.concurrency.prefork",
    "celery.fixups.django",
    "celery.loaders.app",
    "celery.result",
    "celery.worker.request",
    "celery.worker.state",
    "cloudpickle",
    "kombu.pools",
    "logging.config",
    "multiprocessing.util",
)


class Zygote:
    """Owns the control socket and the hosts it forked.

    Args:
        control: its agent's.
        noticing: stands on ``sys.meta_path`` since before Celery was imported.
    """

    def __init__(self, control: socket.socket, noticing: Noticing) -> None:
        self._control = control
        self._noticing = noticing
        self._hosts: set[int] = set()
        self._retired = False
        self._woken, wake = socket.socketpair()
        for end in (self._woken, wake):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._wake = wake
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        """Answer the agent until it goes, or until the last host of a retired zygote ended."""
        with selectors.DefaultSelector() as ready:
            ready.register(self._control, selectors.EVENT_READ)
            ready.register(self._woken, selectors.EVENT_READ)
            while not (self._retired and not self._hosts):
                for key, _ in ready.select():
                    if key.fileobj is self._woken:
                        self._reap()
                    elif not self._obey():
                        self._end_hosts()
                        return

    def _obey(self) -> bool:
        try:
            payload, fds = frames.receive_with_fds(self._control)
        except OSError:
            return False
        if payload is None:
            return False
        order = pickle.loads(payload)
        if "preload" in order:
            loaded, unsafe = preload([*ALWAYS, *order["preload"]])
            sys.meta_path.remove(self._noticing)
            outlive_parent()  # from here on the socket's end tells, and no host's group is left behind
            self._tell({"ready": loaded, "unsafe": unsafe, "looked_for": self._noticing.told()})
        elif "fork" in order:
            self._fork(order["fork"], fds[0])
        self._retired = self._retired or "retire" in order
        return True

    def _fork(self, order: host.Order, sock_fd: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_host(order, sock_fd, parent)
        os.close(sock_fd)
        self._hosts.add(pid)
        self._tell({"pid": pid})

    def _become_host(self, order: host.Order, sock_fd: int, parent: int) -> None:
        status = 70  # EX_SOFTWARE, should even the report of a failure fail
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for end in (self._control, self._woken, self._wake):
                end.close()
            die_with_parent(parent)
            sock = socket.socket(fileno=sock_fd)
            sock.set_inheritable(False)  # what a task starts must not keep it open
            status = host.serve(sock, order)
        finally:
            os._exit(status)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        while self._hosts:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._hosts.discard(pid)
            self._tell({"exit": pid, "status": status})

    def _end_hosts(self) -> None:
        for pid in self._hosts:
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:  # it leads no group yet
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _tell(self, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):
            frames.send(self._control, json.dumps(message).encode())


def preload(names: list[str]) -> tuple[list[str], list[str]]:
    """Import what can be imported safely before a fork.

    A module that raises is left to the hosts, which meet its error where the
    user's code does. One that leaves a Python thread or an open socket would
    be broken in every fork: the agent starts another zygote without it.

    Returns:
        The names that were imported, and those that are unsafe.
    """
    loaded: list[str] = []
    unsafe: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            before = (threading.active_count(), _open_sockets())
            try:
                importlib.import_module(name)
            except Exception:
                continue
            after = (threading.active_count(), _open_sockets())
            (loaded if after == before else unsafe).append(name)
    importing.site_folders()
    importing.standard_folders()
    gc.collect()
    gc.freeze()  # keeps the pages of what is loaded shared between the forks
    return loaded, unsafe


def _open_sockets() -> int:
    found = 0
    with contextlib.suppress(FileNotFoundError):  # no /proc: the threads alone must tell
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                found += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    return found
