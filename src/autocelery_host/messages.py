"""What makes a message a live call, on both sides of the wire.

A live call is a Celery protocol 2 message for the task ``autocelery.live``
with one more header, ``autocelery``. This module writes that header, and
turns what hangs on a call (callbacks, errbacks, the rest of a chain, a
chord's body) live with it, so that no step of a canvas ever falls back to
deployed code, whoever sends it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

from celery import Celery
from celery.app.amqp import AMQP, task_message
from kombu.utils.imports import symbol_by_name

from autocelery_host import aims, attachments
from autocelery_host.canvas import aim_of_hanging, to_live
from autocelery_host.header import HEADER, LIVE_TASK, header_for, target_of
from autocelery_host.shapes import SIGNATURE
from autocelery_host.stamping import stamped

_OURS: Final = frozenset({HEADER, SIGNATURE})
_AS_TASK_V2: Final = tuple(inspect.signature(AMQP.as_task_v2).parameters)[1:]


class LiveMessages(AMQP):
    """Celery's AMQP with live calls: mixed into the class of the app's own."""

    def as_task_v2(self, *args: Any, **kwargs: Any) -> task_message:
        """Return the message of a task, a live call's where one is asked for or in force."""
        options = dict(zip(_AS_TASK_V2, args, strict=False)) | kwargs
        name = options.pop("name")
        header = (options.get("headers") or {}).get(HEADER)
        if header is None:
            aim = aims.current()
            target = aim(self.app, name) if aim is not None else None
            if target is None:
                options = stamped(self.app, name, options)
                message = super().as_task_v2(name=name, **options)
                return message._replace(headers=SentHeaders(self.app, message.headers, _said(options)))
            header = header_for(self.app, name, target)
        elif name not in (
            header["task"],
            LIVE_TASK,
        ):  # Celery hands a chord body's headers to the unlock task
            header = header_for(self.app, name, target_of(header))
        header = aims.asked(self.app, header, options["task_id"])
        real = header["task"]
        options = stamped(self.app, real, options)
        self._make_hanging_live(options, header)
        attachments.attach_arguments(self.app, options, header["snapshot"], real)
        message = super().as_task_v2(name=real, **options)
        message.headers["shadow"] = message.headers.get("shadow") or real
        message.headers["task"] = LIVE_TASK
        ours = {HEADER: header, **_said(options)}
        return message._replace(headers=SentHeaders(self.app, message.headers, ours))

    def _make_hanging_live(self, options: dict[str, Any], header: Mapping[str, Any]) -> None:
        whose = aim_of_hanging(target_of(header))
        serializer = options.get("serializer") or self.app.conf.task_serializer
        for hanging in ("callbacks", "errbacks", "chain"):
            if options.get(hanging):
                options[hanging] = [to_live(self.app, each, whose, serializer) for each in options[hanging]]
        if options.get("chord"):
            options["chord"] = to_live(self.app, options["chord"], whose, serializer)


class SentHeaders(dict[str, Any]):
    """A message's headers with ours, which the sender then updates with those that the caller gave: not with ours.

    Celery gives them to who hears that a message was sent, and does not say by which app: ``app_id`` does.
    """

    def __init__(self, app: Celery, headers: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
        super().__init__({**headers, **ours})
        self.app_id = id(app)

    def update(self, given: Mapping[str, Any], **named: Any) -> None:  # type: ignore[override]
        """Take what the caller gave, but for what would be in place of ours."""
        super().update({key: value for key, value in {**given, **named}.items() if key not in _OURS})


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the header with the signature that a message is sent for, if it is known."""
    headers = options.get("headers") or {}
    return {SIGNATURE: headers[SIGNATURE]} if SIGNATURE in headers else {}


def decided(app: Celery, name: str, options: Mapping[str, Any], serializer: str) -> dict[str, Any]:
    """Return the ``options`` of ``apply_async`` for a call that is sent later, with what it runs if it is sent now.

    What hangs on it runs the same. It is sent in `aims.sending_as_decided`.

    Args:
        app: the app of the task.
        name: the task's.
        options: of ``apply_async``, with a ``task_id``.
        serializer: of the message.
    """
    headers = options.get("headers") or {}
    header = headers.get(HEADER)
    if header is None:
        aim = aims.current()
        target = aim(app, name) if aim is not None else None
        if target is None:
            return dict(options)
        header = header_for(app, name, target)
    whose = aim_of_hanging(target_of(header))
    changed: dict[str, Any] = {
        hanging: _each_live(app, options[hanging], whose, serializer)
        for hanging in ("link", "link_error", "chain", "chord")
        if options.get(hanging)
    }
    changed["headers"] = {**headers, HEADER: aims.asked(app, header, options["task_id"])}
    return {**options, **changed}


def _each_live(app: Celery, hanging: Any, whose: aims.Aim, serializer: str) -> Any:
    if isinstance(hanging, list | tuple):
        return [to_live(app, each, whose, serializer) for each in hanging]
    return to_live(app, hanging, whose, serializer)


def install(app: Celery) -> None:
    """Give ``app`` live messages; a second time changes nothing."""
    attachments.install(app)
    existing = app.__dict__.get("amqp")
    if existing is None:
        app.amqp_cls = live_amqp(app.amqp_cls)
    elif not isinstance(existing, LiveMessages):
        existing.__class__ = live_amqp(type(existing))
        existing.task_protocols = {**existing.task_protocols, 2: existing.as_task_v2}
        existing.__dict__.pop("create_task_message", None)


def live_amqp(named: str | type[AMQP]) -> type[AMQP]:
    """Return Celery's AMQP class, given as ``app.amqp_cls`` holds it, with live messages."""
    kind: type[AMQP] = symbol_by_name(named)  # type: ignore[no-untyped-call]
    return kind if issubclass(kind, LiveMessages) else type(f"Live{kind.__name__}", (LiveMessages, kind), {})
