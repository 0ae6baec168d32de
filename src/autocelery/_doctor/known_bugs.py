"""Versions with known bugs, each with its upstream issue. As of November 2026."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version


@dataclass(frozen=True, slots=True)
class KnownBug:
    """What is wrong from version ``since`` (empty: always) until ``fixed`` came out, on ``date``.

    ``needs`` names what it only happens with: a kind of broker, or ``django`` or ``results``.
    """

    package: str
    since: str
    fixed: str
    date: str
    issue: str
    what: str
    needs: str = ""


#: Newest first.
KNOWN_BUGS = (
    KnownBug("kombu", "", "5.6.2", "2025-12-29", "celery/kombu#2426",
             "Redis Sentinel: the user and password of the master are not used", "sentinel"),
    KnownBug("celery", "5.6.1", "5.6.2", "2026-01-04", "celery/celery#10045",
             "a worker of a Django project makes a second controller of itself", "django"),
    KnownBug("celery", "", "5.6.2", "2026-01-04", "celery/celery#9869",
             "a revoked task goes on being PENDING in the result backend", "results"),
    KnownBug("celery", "", "5.6.1", "2025-12-29", "celery/celery#9986",
             "no heartbeats during a warm shutdown: RabbitMQ drops the connection and delivers again", "rabbitmq"),
    KnownBug("celery", "", "5.6.0", "2025-11-30", "celery/celery#8882",
             "each exception of a task leaves memory behind in the worker"),
    KnownBug("celery", "", "5.6.0", "2025-11-30", "celery/celery#9806",
             "results that are waited for are never forgotten by the process that sent them", "results"),
    KnownBug("celery", "5.5.0", "5.6.0", "2025-11-30", "celery/celery#9997",
             "the broker's password is written to the log where delays wait in the broker", "rabbitmq"),
    KnownBug("celery", "", "5.6.0", "2025-11-30", "celery/celery#9788",
             "a chord whose body is a group hangs when its header fails", "results"),
    KnownBug("celery", "", "5.5.2", "2025-04-25", "celery/celery#9669",
             "the time that is left until an ETA is wrong across a change of clocks"),
    KnownBug("celery", "5.5.0", "5.5.1", "2025-04-08", "celery/celery#9657",
             "quorum queues with several brokers to fail over to: AttributeError at start", "rabbitmq"),
    KnownBug("celery", "", "5.5.0", "2025-03-31", "celery/celery#9348",
             "tasks that were acknowledged late run again after a warm shutdown"),
    KnownBug("celery", "", "5.5.0", "2025-03-31", "celery/celery#9021",
             "tasks run several times in chains of chains with groups"),
    KnownBug("kombu", "5.2.3", "5.4.0", "2024-08-06", "celery/kombu#2007",
             "a worker takes nothing any more after its connection to Redis was lost", "redis"),
    KnownBug("celery", "5.3.0", "5.4.0", "2024-04-17", "celery/celery#8796",
             "a worker takes nothing any more after Redis was restarted", "redis"),
)  # fmt: skip


def bugs_of(versions: Mapping[str, str], has: frozenset[str]) -> list[KnownBug]:
    """Return the bugs of what is installed.

    Args:
        versions: by distribution.
        has: what the app uses, of what ``needs`` may name.
    """
    found = []
    for bug in KNOWN_BUGS:
        try:
            version = Version(versions.get(bug.package, ""))
        except InvalidVersion:
            continue
        is_old = version < Version(bug.fixed) and (not bug.since or version >= Version(bug.since))
        if is_old and (not bug.needs or bug.needs in has):
            found.append(bug)
    return found
