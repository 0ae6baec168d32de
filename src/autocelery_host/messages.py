"""What makes a message a live call, on both sides of the wire.

A live call is a Celery protocol 2 message for the task ``autocelery.live``
with one more header, ``autocelery``. This module writes that header, and
turns what hangs on a call (callbacks, errbacks, the rest of a chain, a
chord's body) live with it, so that no step of a canvas ever falls back to
deployed code, whoever sends it.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from celery import Celery
from celery.app.amqp import AMQP, task_message
from celery.app.task import Task
from kombu.utils.imports import symbol_by_name

from autocelery_host import attachments

LIVE_TASK: Final = "autocelery.live"
HEADER: Final = "autocelery"
HEADER_VERSION: Final = 1
#: The field of the header with the channel that wants the call's output.
OUTPUT: Final = "output"
#: The field with the digest of the envelope that holds the call's environment variables.
VARIABLES: Final = "variables"

#: What the worker's main process reads from the task of a message, besides the limits that
#: Celery sends itself. Each is sent only where it differs from Celery's default.
MAIN_PROCESS_OPTIONS: Final[Mapping[str, bool]] = {
    "acks_late": False,
    "acks_on_failure": True,
    "acks_on_timeout": True,
    "acks_on_failure_or_timeout": True,
    "reject_on_worker_lost": False,
    "retry_on_worker_lost": False,
    "store_errors_even_if_ignored": False,
    "send_events": True,
}
#: The same, read only where ``retry_on_worker_lost`` is on.
RETRY_OPTIONS: Final = ("max_retries", "default_retry_delay")

_AS_TASK_V2: Final = tuple(inspect.signature(AMQP.as_task_v2).parameters)[1:]


class Target(NamedTuple):
    """What a live call runs: a snapshot, as the key signed it, with the variables in an envelope."""

    snapshot: str
    key: str
    variables: str | None = None


#: Gives what a call of the app's named task runs; ``None``: it is a deployed call.
Aim = Callable[[Celery, str], Target | None]
#: What everything sent from here runs; ``None``: calls are deployed calls.
_aim: ContextVar[Aim | None] = ContextVar("autocelery_aim", default=None)
#: The same, for a whole process: a host's.
_process_aim: Aim | None = None

#: Gives the channel that the output of an app's call is sent to, by id and name; ``None``: nobody wants it.
Asking = Callable[[Celery, str, str], str | None]
_asking: ContextVar[Asking | None] = ContextVar("autocelery_asking", default=None)


def send_everything_as(target: Target) -> None:
    """Make every call that this process sends a live call of ``target``."""
    global _process_aim
    _process_aim = lambda app, name: target  # noqa: E731


@contextlib.contextmanager
def sending_as(aim: Aim) -> Iterator[None]:
    """Make every call sent in this block, in this thread or task, a live call of what ``aim`` gives for its name."""
    token = _aim.set(aim)
    try:
        yield
    finally:
        _aim.reset(token)


@contextlib.contextmanager
def asking(wants: Asking) -> Iterator[None]:
    """Have the live calls sent in this block, in this thread or task, send their output where ``wants`` says."""
    token = _asking.set(wants)
    try:
        yield
    finally:
        _asking.reset(token)


def header_for(app: Celery, name: str, target: Target, task: Task | None = None) -> dict[str, Any]:
    """Return the ``autocelery`` header of a live call of the task ``name``, which may be in no registry."""
    header: dict[str, Any] = {
        "v": HEADER_VERSION,
        "snapshot": target.snapshot,
        "key": target.key,
        "task": name,
    }
    if target.variables is not None:
        header[VARIABLES] = target.variables
    task = task or app._tasks.get(name)
    if task is None:
        return header
    module = type(task).__module__
    if not name.startswith((f"{module}.", "celery.")) and module != "__main__":
        header["module"] = module
    options: dict[str, Any] = {
        option: bool(value)
        for option, default in MAIN_PROCESS_OPTIONS.items()
        if (value := getattr(task, option, None)) is not None and bool(value) != default
    }
    if options.get("retry_on_worker_lost"):
        options |= {option: getattr(task, option) for option in RETRY_OPTIONS}
    if options:
        header["options"] = options
    return header


class LiveMessages(AMQP):
    """Celery's AMQP with live calls: mixed into the class of the app's own."""

    def as_task_v2(self, *args: Any, **kwargs: Any) -> task_message:
        """Return the message of a task, a live call's where one is asked for or in force."""
        options = dict(zip(_AS_TASK_V2, args, strict=False)) | kwargs
        name = options.pop("name")
        header = (options.get("headers") or {}).get(HEADER)
        if header is None:
            aim = _aim.get() or _process_aim
            target = aim(self.app, name) if aim is not None else None
            if target is None:
                return super().as_task_v2(name=name, **options)
            header = header_for(self.app, name, target)
        elif name not in (
            header["task"],
            LIVE_TASK,
        ):  # Celery hands a chord body's headers to the unlock task
            header = header_for(self.app, name, target_of(header))
        header = _asked(self.app, header, options["task_id"])
        self._make_hanging_live(options, header)
        real = header["task"]
        attachments.attach_arguments(self.app, options, header["snapshot"], real)
        message = super().as_task_v2(name=real, **options)
        message.headers["shadow"] = message.headers.get("shadow") or real
        message.headers["task"] = LIVE_TASK
        message.headers[HEADER] = header
        return message._replace(headers=_Headers(message.headers))

    def _make_hanging_live(self, options: dict[str, Any], header: Mapping[str, Any]) -> None:
        whose = _aim_of_hanging(target_of(header))
        serializer = options.get("serializer") or self.app.conf.task_serializer
        for hanging in ("callbacks", "errbacks", "chain"):
            if options.get(hanging):
                options[hanging] = [to_live(self.app, each, whose, serializer) for each in options[hanging]]
        if options.get("chord"):
            options["chord"] = to_live(self.app, options["chord"], whose, serializer)


class _Headers(dict[str, Any]):
    """A message's headers, which the sender then updates with the ones that the caller gave: not with ours."""

    def update(self, given: Mapping[str, Any], **named: Any) -> None:  # type: ignore[override]
        super().update({**given, **named, HEADER: self[HEADER]})


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


def to_live(app: Celery, signature: Any, aim: Aim, serializer: str = "json") -> Any:
    """Return ``signature`` with every task in it a live call of what ``aim`` gives for its name.

    One that is live already keeps the snapshot that it names. Arguments that
    the serializer does not carry are attached.
    """
    live = _converted(signature, lambda plain: _live_leaf(app, plain, aim))
    if attachments.carries(live, serializer):
        return live
    return _converted(live, lambda leaf: _attached_leaf(app, leaf, serializer))


def _asked(app: Celery, header: dict[str, Any], task_id: str | None) -> dict[str, Any]:
    """Return ``header`` with the channel that wants the output of the call with that id, if one does."""
    wants = _asking.get()
    channel = wants(app, task_id, header["task"]) if wants is not None and task_id else None
    return header if channel is None else {**header, OUTPUT: channel}


def channels_of(app: Celery, signature: Any) -> dict[str, str]:
    """Return, by their ids, the channels that want the output of the calls in ``signature``."""
    found: dict[str, str] = {}

    def note(leaf: dict[str, Any]) -> dict[str, Any]:
        options = leaf.get("options") or {}
        header = options.get(HEADER) or (options.get("headers") or {}).get(HEADER) or {}
        if OUTPUT in header and options.get("task_id"):
            found[options["task_id"]] = header[OUTPUT]
        return leaf

    _converted(signature, note)
    return found


def target_of(header: Mapping[str, Any]) -> Target:
    """Return what the call with this header runs."""
    return Target(header["snapshot"], header["key"], header.get(VARIABLES))


def _aim_of_hanging(target: Target) -> Aim:
    """What hangs on a live call runs its snapshot, unless a task is in ``__main__`` and needs one of its own."""
    sent_from = _aim.get() or _process_aim

    def aim(app: Celery, name: str) -> Target:
        if sent_from is not None:
            return sent_from(app, name) or target
        task = app._tasks.get(name)
        if task is not None and type(task).__module__ == "__main__" and hasattr(app, "autocelery"):
            return Target(*app.autocelery._target_beside(task, target))
        return target

    return aim


def to_plain(app: Celery, signature: Any, own: Target) -> Any:
    """Return ``signature`` with the live calls of ``own`` in it as plain ones.

    For the host of that snapshot with those variables, where Celery's own rules for callbacks need
    the tasks themselves; what is sent from there is live again.
    """
    return _converted(signature, lambda leaf: _plain_leaf(app, leaf, own))


def _converted(signature: Any, leaf: Any) -> Any:
    if not isinstance(signature, Mapping) or "task" not in signature:
        return signature
    copied = dict(signature)
    inner = copied.get("kwargs") or {}
    nested = {
        part: [_converted(each, leaf) for each in inner[part]]
        if isinstance(inner[part], (list, tuple))
        else _converted(inner[part], leaf)
        for part in ("tasks", "header", "body")
        if copied.get("subtask_type") in ("group", "chain", "chord") and part in inner
    }
    if nested:
        copied["kwargs"] = {**inner, **nested}
    else:
        copied = leaf(copied)
    return _with_hanging(copied, leaf)


def _with_hanging(signature: dict[str, Any], leaf: Any) -> dict[str, Any]:
    options = signature.get("options") or {}
    hanging = {
        name: [_converted(each, leaf) for each in options[name]]
        if isinstance(options[name], (list, tuple))
        else _converted(options[name], leaf)
        for name in ("link", "link_error", "chain", "chord")
        if options.get(name)
    }
    return {**signature, "options": {**options, **hanging}} if hanging else signature


def _live_leaf(app: Celery, signature: dict[str, Any], aim: Aim) -> dict[str, Any]:
    options = dict(signature.get("options") or {})
    headers = dict(options.get("headers") or {})
    if signature["task"] == LIVE_TASK:
        return _asked_leaf(app, signature, options, headers)
    name = signature["task"]
    if HEADER not in headers:
        target = aim(app, name)
        if target is None:
            return signature
        headers[HEADER] = header_for(app, name, target)
    headers[HEADER] = _asked(app, headers[HEADER], options.get("task_id"))
    options.update({"headers": headers, HEADER: headers[HEADER], "route_name": name})
    options.setdefault("shadow", name)
    return {**signature, "task": LIVE_TASK, "options": options}


def _attached_leaf(app: Celery, signature: dict[str, Any], serializer: str) -> dict[str, Any]:
    options = signature.get("options") or {}
    header = options.get(HEADER) or (options.get("headers") or {}).get(HEADER)
    if signature["task"] != LIVE_TASK or header is None:
        return signature
    return attachments.attach_to_signature(app, signature, serializer, header)


def _asked_leaf(
    app: Celery, signature: dict[str, Any], options: dict[str, Any], headers: dict[str, Any]
) -> dict[str, Any]:
    header = options.get(HEADER) or headers.get(HEADER)
    if not header or (asked := _asked(app, header, options.get("task_id"))) is header:
        return signature
    options.update({"headers": {**headers, HEADER: asked}, HEADER: asked})
    return {**signature, "options": options}


def _plain_leaf(app: Celery, signature: dict[str, Any], own: Target) -> dict[str, Any]:
    options = dict(signature.get("options") or {})
    headers = dict(options.get("headers") or {})
    header = options.get(HEADER) or headers.get(HEADER) or {}
    if signature["task"] != LIVE_TASK or header.get("snapshot") != own.snapshot:
        return signature
    if header.get(VARIABLES) != own.variables:  # what is sent from here has ours
        return signature
    name = header["task"]
    brought = exec_options(app._tasks[name]) if name in app._tasks else {}
    for option, value in {"shadow": name, "headers": {HEADER: header}, **brought}.items():
        if options.get(option) == value:
            del options[option]  # the task brings it along again
    if "headers" in options:
        options["headers"] = {each: value for each, value in headers.items() if each != HEADER}
    for option in (HEADER, "route_name"):
        options.pop(option, None)
    return {**signature, "task": name, "options": options}


def exec_options(task: Task) -> dict[str, Any]:
    """Return the options that ``task`` itself brings to each of its calls."""
    options = task._get_exec_options() or {}
    # ignore_result is none of them, but Celery 5.4 leaves there what an earlier call had.
    return {name: value for name, value in options.items() if value is not None and name != "ignore_result"}
