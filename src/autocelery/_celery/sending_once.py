"""Putting a message into a Redis broker's queue together with the proof that it was put there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kombu.utils.json import dumps

#: Proofs are removed as soon as the database knows that a message was sent. After a crash, one is kept for so long, in
#: seconds, for whoever takes over.
PROOF_SECONDS = 24 * 3600
_PROOF = "autocelery.beat.sent:"


class LeaseOver(Exception):
    """The lease ended before the message was sent; it was not."""


def can_prove(channel: Any) -> bool:
    """Whether the broker behind ``channel`` is one that can: Redis, Valkey, or a Sentinel's."""
    if channel.connection.client.transport.driver_type != "redis":
        return False
    from kombu.transport.redis import Channel

    return isinstance(channel, Channel) and not type(channel).__name__.startswith("Cluster")


@contextmanager
def proving(channel: Any, is_sure: Callable[[], bool]) -> Iterator[None]:
    """Have messages that are put on ``channel`` inside be put once for each task id, by whomever.

    The queue and the proof change in one transaction of the broker's, which watches the proof: between the look for
    it and the push, a rival's push makes this one fail. ``is_sure`` is asked in between, so that a process that was
    frozen before does not send, and one that is frozen after it is noticed by the broker.

    Raises:
        LeaseOver: ``is_sure`` says no.
    """
    from redis import WatchError

    def put(queue: str, message: dict[str, Any], **_options: Any) -> None:
        prefix = prefix_of(channel)
        key = prefix + channel._q_for_pri(queue, channel._get_message_priority(message, reverse=False))
        proof = f"{prefix}{_PROOF}{message['headers']['id']}"
        with channel.conn_or_acquire() as client, plain(client).pipeline() as pipe:
            pipe.watch(proof)
            if pipe.exists(proof):
                return
            if not is_sure():
                raise LeaseOver
            pipe.multi()
            pipe.set(proof, queue, ex=PROOF_SECONDS)
            pipe.lpush(key, dumps(message))  # type: ignore[no-untyped-call]
            try:
                pipe.execute()
            except WatchError:
                return  # another instance sent it meanwhile

    channel._put = put
    try:
        yield
    finally:
        del channel._put


def forget(channel: Any, task_ids: Iterable[str]) -> None:
    """Remove the proofs of messages that are known to be sent."""
    prefix = prefix_of(channel)
    names = [f"{prefix}{_PROOF}{each}" for each in task_ids]
    if names:
        with channel.conn_or_acquire() as client:
            plain(client).unlink(*names)


def prefix_of(channel: Any) -> str:
    """Return what stands before each key of a Redis broker's."""
    return str(getattr(channel, "global_keyprefix", "") or "")


def plain(client: Any) -> Any:
    """Return a client of the same connections that leaves names as they are."""
    import redis

    return redis.Redis(connection_pool=client.connection_pool)
