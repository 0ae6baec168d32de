"""One message, run as a worker runs it: decoded by kombu, traced by Celery's own tracer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery import Celery, signals, states
from celery.app.task import Context
from celery.app.trace import build_tracer
from celery.exceptions import NotRegistered, Reject
from celery.worker.request import Request
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.serialization import prepare_accept_content
from kombu.transport.virtual import Message

from autocelery.errors import TaskNotInSnapshot
from autocelery_host import aims, attachments, canvas
from autocelery_host.header import HEADER, target_of

if TYPE_CHECKING:
    from autocelery._eager.shipping import EagerShipper

logger = logging.getLogger("autocelery.eager")

#: What ``self.request.hostname`` says.
HOSTNAME = "eager@this-process"


class Received(Request):
    """A call that this process got from itself; it expires by the clock of the line."""

    now: datetime

    def maybe_expire(self) -> bool:
        """Return whether it is too late to run it."""
        return self.expires is not None and self.now > self.expires


class Runner:
    """Runs the messages of one app."""

    def __init__(self, app: Celery, shipper: EagerShipper) -> None:
        self._app = app
        self._shipper = shipper
        self._has_imported = False

    def run(self, raw: dict[str, Any], now: datetime) -> bool:
        """Run the call in the message ``raw``.

        Args:
            raw: the message as the transport has it.
            now: what time it is for the call, in UTC.

        Returns:
            whether the task put it back (``Reject(requeue=True)``).
        """
        app = self._app
        with app.connection_for_read() as connection:
            message = Message(raw, channel=connection.default_channel)  # type: ignore[no-untyped-call]
        accepted = app.conf.accept_content
        message.accept = prepare_accept_content(accepted)  # type: ignore[no-untyped-call]
        try:
            header = message.headers.get(HEADER)
            task = self._task(message.headers["task"], header)
            request = Received(message, app=app, hostname=HOSTNAME, task=task)
        except (NotRegistered, TaskNotInSnapshot, ContentDisallowed, DecodeError) as exc:
            return self._refused(message, exc)
        request.now = now
        signals.task_received.send(sender=self, request=request)
        if request.revoked():
            return False
        with self._as_sent(header):
            return self._traced(task, request, header)

    def _traced(self, task: Any, request: Received, header: Any) -> bool:
        _, _, embed = request._payload
        told = {**request.request_dict, "is_eager": False, **(embed or {})}
        args, kwargs = request.args, request.kwargs
        if header is not None:
            self._make_plain(told, header)
            told["arguments_sent"] = args, kwargs
            args, kwargs = self._opened(args), self._opened(kwargs)
        tracer = build_tracer(task.name, task, self._app.loader, HOSTNAME, app=self._app)
        _, info, _, _ = tracer(request.id, args, kwargs, told)
        return info is not None and isinstance(info.retval, Reject) and bool(info.retval.requeue)

    def _task(self, name: str, header: Any) -> Any:
        """Return the task of a message, of a live call the local one.

        Raises:
            NotRegistered: there is none.
            TaskNotInSnapshot: a live call is pinned to code that is not this process's.
        """
        if header is not None:
            target, name = target_of(header), header["task"]
            if not self._shipper.has(target):
                raise TaskNotInSnapshot(
                    f"The call of {name} is pinned to the snapshot {target.snapshot[:12]}, and without a broker only "
                    "the code of this process can run. Call the task's own .live, or set CELERY_BROKER_URL."
                )
            by_value = self._shipper.function(target.snapshot, name)
            if by_value is not None:
                return by_value
        if name not in self._app.tasks and not self._has_imported:
            self._has_imported = True
            self._app.loader.import_default_modules()  # as a worker does when it starts
        return self._app.tasks[name]

    def _make_plain(self, told: dict[str, Any], header: Any) -> None:
        """Make the request of a live call what its task expects, as its host would."""
        name = told["task"] = header["task"]
        if told.get("shadow") == name:
            told["shadow"] = None
        own = target_of(header)
        for hanging in ("callbacks", "errbacks", "chain"):
            if told.get(hanging):
                told[hanging] = [canvas.to_plain(self._app, each, own) for each in told[hanging]]
        if told.get("chord"):
            told["chord"] = canvas.to_plain(self._app, told["chord"], own)

    def _opened(self, arguments: Any) -> Any:
        return attachments.opened(arguments, lambda each: self._shipper.carrier.open(each, "", None))

    @contextmanager
    def _as_sent(self, header: Any) -> Iterator[None]:
        """Make what the call sends live where it is live, and deployed where it is not."""
        target = target_of(header) if header is not None else None
        with aims.sending_as(lambda app, name: target):
            yield

    def _refused(self, message: Any, exc: Exception) -> bool:
        """Fail a call that no task is run for; on a broker some of these would never end."""
        headers = message.headers
        name = headers.get("shadow") or headers["task"]
        logger.error("%s[%s] cannot run: %s", name, headers["id"], exc)
        if isinstance(exc, NotRegistered):
            signals.task_unknown.send(
                sender=self, message=message, exc=exc, name=headers["task"], id=headers["id"]
            )
        request = Context({**headers, "errbacks": None, "chord": None})
        self._app.backend.mark_as_failure(headers["id"], exc, request=request, state=states.FAILURE)
        return False
