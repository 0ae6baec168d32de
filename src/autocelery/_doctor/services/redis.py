"""What a Redis that is the broker says of itself: its settings, and whose keys it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery import Celery

from autocelery._celery.queues import names_of_all

#: How many keys are looked at.
_SAMPLE = 500
#: Keys of kombu and Celery, whatever queues there are.
_OURS = (
    "_kombu.",
    "unacked",
    "celery-task-meta-",
    "celery-taskset-meta-",
    "chord-unlock-",
    "/0.",
    "autocelery",
)


@dataclass(frozen=True, slots=True)
class RedisView:
    """``settings`` are those of ``CONFIG GET``, empty where that is forbidden; ``strangers`` are keys of others."""

    version: str
    settings: Mapping[str, str]
    strangers: tuple[str, ...]

    @classmethod
    def take(cls, app: Celery) -> RedisView | None:
        """Ask the server; ``None`` where it is lost meanwhile."""
        from redis.exceptions import RedisError

        try:
            with app.connection_for_write() as connection, connection.channel() as channel:
                client = channel.client
                version = str(client.info("server").get("redis_version", ""))
                return cls(version, _settings(client), _strangers(app, client))
        except (RedisError, OSError):
            return None

    @property
    def maxmemory(self) -> int:
        """Bytes that it may hold; 0: no limit."""
        text = self.settings.get("maxmemory", "0")
        return int(text) if text.isdecimal() else 0

    @property
    def eviction(self) -> str:
        """What it does when it is full; empty where it did not say."""
        return self.settings.get("maxmemory-policy", "")

    @property
    def is_kept(self) -> bool | None:
        """Whether it writes to disk; ``None`` where it did not say."""
        if not self.settings:
            return None
        return self.settings.get("appendonly") == "yes" or bool(self.settings.get("save", "").strip())


def _settings(client: Any) -> dict[str, str]:
    from redis.exceptions import ResponseError

    found: dict[str, str] = {}
    for name in ("maxmemory", "maxmemory-policy", "appendonly", "save"):
        try:
            found.update(client.config_get(name))
        except ResponseError:  # a managed Redis forbids it
            return {}
    return {_text(key): _text(value) for key, value in found.items()}


def _strangers(app: Celery, client: Any) -> tuple[str, ...]:
    """Return some keys that are neither Celery's nor of a queue of this app."""
    from redis import Redis

    queues = names_of_all(app)
    found = []
    plain = Redis(connection_pool=client.connection_pool)  # kombu's own puts the prefix before each name
    for seen, key in enumerate(plain.scan_iter(count=_SAMPLE)):
        if seen >= _SAMPLE:
            break
        name = _text(key)
        is_queue = any(name == queue or name.startswith(f"{queue}\x06") for queue in queues)
        is_control = name.endswith((".pidbox", ".reply.celery.pidbox")) or "celeryev" in name
        if not is_queue and not is_control and not any(each in name for each in _OURS):
            found.append(name)
    return tuple(sorted(found)[:20])


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
