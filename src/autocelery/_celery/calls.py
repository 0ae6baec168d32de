"""One live call in the process that Celery gave it to: lease a host, hand the call over, tell Celery the outcome."""

from __future__ import annotations

import pickle
import signal
import threading
from collections.abc import Mapping
from typing import Any

from celery.app.trace import build_tracer
from kombu.exceptions import EncodeError

from autocelery._celery import outcome, serving
from autocelery._hosting.lease import Lease
from autocelery._snapshot.canonical import is_digest
from autocelery.errors import AutoceleryError, SnapshotInvalid
from autocelery_host.header import HEADER, HEADER_VERSION, VARIABLES, target_of
from autocelery_host.limits import SOFT_LIMIT_SIGNAL


def run(task: Any, uuid: str, args: Any, kwargs: Any, request: dict[str, Any]) -> Any:
    """Run one live call and return what Celery's tracer returns."""
    try:
        header = checked(request.get(HEADER))
        payload = _payload(uuid, args, kwargs, request)
        while True:
            lease = serving.hosts().checkout(*target_of(header))
            told = _called(lease, payload)
            if told is not None:
                return outcome.traced(told, serving.is_pool_child())
    except AutoceleryError as exc:
        return _refused(task, outcome.naming(exc, request.get("hostname")), uuid, args, kwargs, request)


def checked(header: Any) -> Mapping[str, Any]:
    """Return ``header`` if it is one that this version understands.

    Raises:
        SnapshotInvalid: it is not.
    """
    if not isinstance(header, Mapping) or header.get("v") != HEADER_VERSION:
        version = header.get("v") if isinstance(header, Mapping) else None
        raise SnapshotInvalid(
            f"The message is no live call of version {HEADER_VERSION} (it says {version!r}). Use the same "
            "autocelery where you call from and on the worker."
        )
    key, name, module = header.get("key"), header.get("task"), header.get("module", "")
    if not (is_digest(header.get("snapshot")) and isinstance(key, str) and key.isalnum()):
        raise SnapshotInvalid("The message names no snapshot. It was not sent by autocelery.")
    if VARIABLES in header and not is_digest(header[VARIABLES]):
        raise SnapshotInvalid(
            "The message names variables that it does not have. It was not sent by autocelery."
        )
    if not (isinstance(name, str) and isinstance(module, str)):
        raise SnapshotInvalid("The message names no task. It was not sent by autocelery.")
    return header


def _payload(uuid: str, args: Any, kwargs: Any, request: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps((uuid, args, kwargs, request), protocol=5)
    except Exception as exc:
        raise EncodeError(f"the arguments of the live call cannot be handed to its host: {exc!r}") from exc


def _called(lease: Lease, payload: bytes) -> dict[str, Any] | None:
    try:
        with _SoftLimitForwarded(lease.pid):
            told = lease.call(payload)
    except BaseException:
        serving.hosts().discard(lease)
        raise
    serving.hosts().checkin(lease)
    return told


class _SoftLimitForwarded:
    """Passes the soft time limit's signal on to the host, where the task runs.

    Only a prefork child gets that signal, and it runs its tasks in the main
    thread; elsewhere there is nothing to pass on.
    """

    def __init__(self, host: int) -> None:
        self._host = host
        self._active = threading.current_thread() is threading.main_thread() and serving.is_pool_child()

    def __enter__(self) -> None:
        if self._active:
            self._before = signal.signal(SOFT_LIMIT_SIGNAL, self._forward)

    def __exit__(self, *exc: object) -> None:
        if self._active:
            signal.signal(SOFT_LIMIT_SIGNAL, self._before)

    def _forward(self, *_: object) -> None:
        serving.signal_host(self._host, SOFT_LIMIT_SIGNAL)


def _refused(
    task: Any, exc: AutoceleryError, uuid: str, args: Any, kwargs: Any, request: dict[str, Any]
) -> Any:
    """Fail the call through Celery's own tracer, so that result, errbacks, chord, signals and log are as ever."""
    if outcome.is_worker_lost(exc):
        return outcome.lost(exc)
    header = request.pop(HEADER, None)
    if isinstance(header, Mapping) and isinstance(header.get("task"), str):
        request["task"] = header["task"]
    failing = _Failing(task, exc, request["task"])
    tracer = build_tracer(failing.name, failing, task.app.loader, request.get("hostname"), app=task.app)
    return tracer(uuid, args, kwargs, request)


class _Failing:
    """The live task, with a body that raises."""

    def __init__(self, task: Any, exc: AutoceleryError, name: str) -> None:
        self._task = task
        self._exc = exc
        self.name = name
        self.throws = (AutoceleryError,)  # expected: one line in the log, without a traceback

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def run(self, *args: Any, **kwargs: Any) -> None:
        """Raise what the call was refused with."""
        raise self._exc
