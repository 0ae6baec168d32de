"""Values that the app's serializer does not carry: beside the message they go as blobs, in it as references.

What the serializer carries goes as it is. An argument, or a result, that it
does not carry goes as one pickle, signed; the message or the result backend
has a mapping ``{"autocelery.attachment": {...}}`` in its place, which anybody
can read. Who signs, stores and checks differs: a caller does it itself
(`autocelery._publish.attaching`), a host asks its agent
(`autocelery_host.carrying`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from celery import Celery, states
from celery.backends.base import Backend
from celery.exceptions import NotRegistered
from celery.result import ResultBase
from celery.utils.saferepr import saferepr
from kombu.serialization import dumps

from autocelery.errors import AutoceleryError, WorkerWithoutAutocelery
from autocelery_host.header import LIVE_TASK

MARK: Final = "autocelery.attachment"
#: What is said where a worker did not know the live task.
_REJECTED: Final = (
    "The worker that took this live call rejected it: autocelery is not in its deployed app. Add "
    "`auto = Autocelery(app)` to it, install autocelery there, and restart the worker once. `autocelery plan` names "
    "the workers that lack it."
)
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is to be attached, and what it is: ``argument 1 of proj.tasks.score``."""

    place: str
    value: Any


class Carrier(Protocol):
    """Keeps attachments and gives them back, for one app in one process."""

    def keep(self, values: Sequence[Value], snapshot: str, call: str | None) -> list[dict[str, Any]]:
        """Return references to ``values``: results of ``call``, or arguments where it is ``None``.

        Raises:
            ValueNotPicklable: one of them cannot be pickled; none was kept.
            StoreError: the blob store does not take them.
        """

    def open(self, reference: object, snapshot: str, call: str | None) -> Any:
        """Return the value behind ``reference``, once it is known that a trusted key signed it for that.

        Raises:
            AttachmentError: it is not unpickled, with the reason.
        """


def carrier_of(app: Celery) -> Carrier | None:
    """Return what keeps the attachments of ``app`` in this process; ``None`` for an app without autocelery."""
    of_host = app.__dict__.get("_autocelery_carrier")
    if of_host is not None:
        return of_host  # type: ignore[no-any-return]
    auto = getattr(app, "autocelery", None)
    return auto.shipper.carrier if auto is not None else None


def carries(value: Any, serializer: str) -> bool:
    """Whether the serializer can write ``value``.

    >>> carries([1, "two"], "json"), carries({1, 2}, "json")
    (True, False)
    """
    if serializer == "pickle" or type(value) in _PLAIN:
        return True
    try:
        dumps(value, serializer=serializer)  # type: ignore[no-untyped-call]
    except Exception:  # whatever it raises, sending the value would raise too
        return False
    return True


def attach_arguments(app: Celery, options: dict[str, Any], snapshot: str, name: str) -> None:
    """Replace, in the ``options`` of a message, each argument of the task ``name`` that cannot travel in it."""
    serializer = options.get("serializer") or app.conf.task_serializer
    args, kwargs = options.get("args"), options.get("kwargs")
    if not (isinstance(args, list | tuple | None) and isinstance(kwargs, Mapping | None)):
        return  # Celery says what is wrong with them
    stray = [
        (where, Value(f"{shown} of {name}", value))
        for where, shown, value in _places(args or (), kwargs or {})
        if not carries(value, serializer)
    ]
    carrier = carrier_of(app) if stray else None
    if carrier is None:
        return
    _keep_reprs(app, options)
    references = carrier.keep([value for _, value in stray], snapshot, None)
    placed: dict[Any, Any] = {}
    for (where, _), reference in zip(stray, references, strict=True):
        placed[where] = {MARK: reference}
    options["args"] = [placed.get(number, value) for number, value in enumerate(args or ())]
    options["kwargs"] = {key: placed.get(key, value) for key, value in (kwargs or {}).items()}


def _places(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[int | str, str, Any]]:
    positional: list[tuple[int | str, str, Any]] = [
        (number, f"argument {number + 1}", value) for number, value in enumerate(args)
    ]
    return positional + [(key, f"argument {key!r}", value) for key, value in kwargs.items()]


def _keep_reprs(app: Celery, options: dict[str, Any]) -> None:
    """Have logs and monitors show the values, not the references."""
    amqp = app.amqp
    for field, given, most in (
        ("argsrepr", options.get("args") or (), amqp.argsrepr_maxsize),
        ("kwargsrepr", options.get("kwargs") or {}, amqp.kwargsrepr_maxsize),
    ):
        if options.get(field) is None:
            options[field] = saferepr(given, most)


def attach_to_signature(
    app: Celery, signature: dict[str, Any], serializer: str, header: Any
) -> dict[str, Any]:
    """Return the signature of one live call with its arguments replaced as `attach_arguments` does."""
    options = {"args": signature.get("args"), "kwargs": signature.get("kwargs"), "serializer": serializer}
    attach_arguments(app, options, header["snapshot"], header["task"])
    return {**signature, "args": options["args"], "kwargs": options["kwargs"]}


def opened(value: Any, open_one: Callable[[object], Any]) -> Any:
    """Return ``value`` with what is behind each reference in it, however deep in lists and mappings.

    Raises:
        AttachmentError: one of them cannot be had.
    """
    if isinstance(value, Mapping):
        if value.keys() == {MARK}:
            return open_one(value[MARK])
        changed = {key: opened(each, open_one) for key, each in value.items()}
        return changed if any(changed[key] is not value[key] for key in value) else value
    if type(value) in (list, tuple):
        items = [opened(each, open_one) for each in value]
        return type(value)(items) if any(a is not b for a, b in zip(items, value, strict=True)) else value
    return value


class AttachedResults(Backend):
    """Mixed into the class of an app's result backend: results that it cannot store are attached."""

    def meta_from_decoded(self, meta: Any) -> Any:
        """Return the metadata with the value that it refers to; one that cannot be had is the call's failure.

        So is a worker that has no autocelery, under a name that says what to do.
        """
        meta = super().meta_from_decoded(meta)
        result = meta.get("result")
        if isinstance(result, NotRegistered) and result.args == (LIVE_TASK,):
            return {**meta, "result": WorkerWithoutAutocelery(_REJECTED)}
        if not (isinstance(result, dict) and result.keys() == {MARK}):
            return meta
        carrier = carrier_of(self.app)
        if carrier is None:
            return meta
        try:
            value = carrier.open(result[MARK], "", str(meta.get("task_id")))
        except AutoceleryError as exc:
            return {**meta, "status": states.FAILURE, "result": exc, "traceback": None}
        return {**meta, "result": value}

    def attached(self, task_id: str, result: Any, state: str, snapshot: str) -> Any:
        """Return ``result`` as it can be stored."""
        if state in self.EXCEPTION_STATES or isinstance(result, ResultBase):
            return result
        if carries(result, self.serializer) or (carrier := carrier_of(self.app)) is None:
            return result
        return {MARK: carrier.keep([Value(f"the result of call {task_id}", result)], snapshot, task_id)[0]}


def install(app: Celery) -> None:
    """Give ``app`` a result backend that knows attachments; a second time changes nothing."""
    if "_get_backend" in app.__dict__:
        return
    app._get_backend = lambda: _with_attachments(type(app)._get_backend(app))
    existing = app._backend
    if existing is not None:
        _with_attachments(existing)


def _with_attachments(backend: Any) -> Any:
    kind = type(backend)
    if not issubclass(kind, AttachedResults):
        backend.__class__ = type(kind.__name__, (AttachedResults, kind), {"__module__": kind.__module__})
    return backend
