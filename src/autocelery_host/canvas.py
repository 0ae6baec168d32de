"""Signatures, live and plain, however deep they are nested in a canvas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery import Celery

from autocelery_host import aims, attachments
from autocelery_host.header import HEADER, LIVE_TASK, OUTPUT, VARIABLES, Target, exec_options, header_for


def to_live(app: Celery, signature: Any, aim: aims.Aim, serializer: str = "json") -> Any:
    """Return ``signature`` with every task in it a live call of what ``aim`` gives for its name.

    One that is live already keeps the snapshot that it names. Arguments that
    the serializer does not carry are attached.
    """
    live = converted(signature, lambda plain: _live_leaf(app, plain, aim))
    if attachments.carries(live, serializer):
        return live
    return converted(live, lambda leaf: _attached_leaf(app, leaf, serializer))


def channels_of(app: Celery, signature: Any) -> dict[str, str]:
    """Return, by their ids, the channels that want the output of the calls in ``signature``."""
    found: dict[str, str] = {}

    def note(leaf: dict[str, Any]) -> dict[str, Any]:
        options = leaf.get("options") or {}
        header = options.get(HEADER) or (options.get("headers") or {}).get(HEADER) or {}
        if OUTPUT in header and options.get("task_id"):
            found[options["task_id"]] = header[OUTPUT]
        return leaf

    converted(signature, note)
    return found


def aim_of_hanging(target: Target) -> aims.Aim:
    """What hangs on a live call runs its snapshot, unless a task is in ``__main__`` and needs one of its own."""
    sent_from = aims.current()

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
    return converted(signature, lambda leaf: _plain_leaf(app, leaf, own))


def converted(signature: Any, leaf: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return ``signature`` with ``leaf`` of each task's in it, whether it is called or hangs on another."""
    if not isinstance(signature, Mapping) or "task" not in signature:
        return signature
    copied = dict(signature)
    inner = copied.get("kwargs") or {}
    nested = {
        part: [converted(each, leaf) for each in inner[part]]
        if isinstance(inner[part], (list, tuple))
        else converted(inner[part], leaf)
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
        name: [converted(each, leaf) for each in options[name]]
        if isinstance(options[name], (list, tuple))
        else converted(options[name], leaf)
        for name in ("link", "link_error", "chain", "chord")
        if options.get(name)
    }
    return {**signature, "options": {**options, **hanging}} if hanging else signature


def _live_leaf(app: Celery, signature: dict[str, Any], aim: aims.Aim) -> dict[str, Any]:
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
    headers[HEADER] = aims.asked(app, headers[HEADER], options.get("task_id"))
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
    if not header or (asked := aims.asked(app, header, options.get("task_id"))) is header:
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
