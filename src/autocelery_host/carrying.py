"""Attachments in a host: its agent signs, stores, fetches and checks them; the host pickles and unpickles.

A host has no key. It hands the agent an open file and gets a reference, or
hands it a reference and gets an open file, whose bytes a trusted key has
signed for that use.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from typing import IO, Any

from celery import Celery

import autocelery.errors
from autocelery.errors import AgentUnavailable, AttachmentUnreadable, AutoceleryError, ValueNotPicklable
from autocelery_host import frames
from autocelery_host.attachments import Value
from autocelery_host.pickling import Pickler, Unpickler

#: How many references a host remembers, so that what a retry hands on stays what the caller signed.
REMEMBERED = 256


class HostCarrier:
    """Keeps and opens the attachments of one host by way of the agent that listens at ``address``."""

    def __init__(self, app: Celery, address: str) -> None:
        self._app = app
        self._address = address
        self._seen: OrderedDict[tuple[str, str, str | None], dict[str, Any]] = OrderedDict()

    def keep(self, values: Sequence[Value], snapshot: str, call: str | None) -> list[dict[str, Any]]:
        """Return references to ``values``; see `autocelery_host.attachments.Carrier`."""
        return [self._kept(each, snapshot, call) for each in values]

    def open(self, reference: object, snapshot: str, call: str | None) -> Any:
        """Return the value behind ``reference``; see `autocelery_host.attachments.Carrier`."""
        _, fds = self._ask({"op": "open", "reference": reference, "snapshot": snapshot, "call": call})
        with os.fdopen(fds[0], "rb") as file:
            value = read(self._app, file, reference)
        if isinstance(reference, dict) and call is None and reference["snapshot"] == snapshot:
            self._remember((reference["digest"], snapshot, None), reference)
        return value

    def _kept(self, value: Value, snapshot: str, call: str | None) -> dict[str, Any]:
        with tempfile.TemporaryFile() as file:
            write(self._app, value, file)
            file.seek(0)
            seen = (hashlib.file_digest(file, "sha256").hexdigest(), snapshot, call)
            if seen in self._seen:
                return self._seen[seen]
            question = {"op": "keep", "type": type_of(value.value), "snapshot": snapshot, "call": call}
            told, _ = self._ask(question, (file.fileno(),))
        reference: dict[str, Any] = told["reference"]
        self._remember(seen, reference)
        return reference

    def _remember(self, seen: tuple[str, str, str | None], reference: dict[str, Any]) -> None:
        self._seen[seen] = reference
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _ask(self, question: dict[str, Any], fds: tuple[int, ...] = ()) -> tuple[dict[str, Any], list[int]]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
                agent.connect(self._address)
                frames.send(agent, json.dumps(question).encode(), fds)
                payload, received = frames.receive_with_fds(agent)
        except OSError as exc:
            raise _agent_gone(str(exc)) from exc
        if payload is None:
            raise _agent_gone("it closed the connection")
        told: dict[str, Any] = json.loads(payload)
        if "error" in told:
            kind: type[AutoceleryError] = getattr(autocelery.errors, told["error"][0], AutoceleryError)
            raise kind(told["error"][1])
        return told, received


def _agent_gone(reason: str) -> AgentUnavailable:
    return AgentUnavailable(
        f"The agent beside this worker does not answer ({reason}), and it is the agent that signs and fetches values. "
        "It is started again by the worker; send the call again."
    )


def write(app: Celery, value: Value, file: IO[bytes]) -> None:
    """Pickle ``value`` into ``file``.

    Raises:
        ValueNotPicklable: it cannot be pickled.
    """
    try:
        Pickler(file, app).dump(value.value)
    except AutoceleryError:
        raise
    except Exception as exc:
        raise ValueNotPicklable(
            f"{value.place[:1].upper()}{value.place[1:]}, of type {type_of(value.value)}, cannot be sent: the "
            f"serializer does not carry it, and pickle says {type(exc).__name__}: {exc}. Send what it is made of "
            "instead (a path, an address, plain data), and make the object where it is used."
        ) from exc


def read(app: Celery, file: IO[bytes], reference: Any) -> Any:
    """Return the value in ``file``, which was authenticated.

    Raises:
        AttachmentUnreadable: it needs what is not here, or its class refuses.
    """
    try:
        return Unpickler(file, app).load()
    except AutoceleryError:
        raise
    except Exception as exc:
        raise AttachmentUnreadable(
            f"The {reference['purpose']} of type {reference['type']} cannot be unpickled here: "
            f"{type(exc).__name__}: {exc}. Both sides need the packages that the value is made with, in versions "
            "that understand each other, and the modules that define its classes."
        ) from exc


def type_of(value: object) -> str:
    """Return the name of the value's class, for people.

    >>> type_of({1})
    'builtins.set'
    """
    kind = type(value)
    return (
        "".join(each for each in f"{kind.__module__}.{kind.__qualname__}" if each.isprintable())[:200] or "?"
    )
