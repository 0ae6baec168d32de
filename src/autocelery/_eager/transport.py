"""A transport of kombu's whose messages of tasks wait in line in this process; all others are kombu's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from kombu.transport import memory, virtual
from kombu.utils.json import dumps, loads

#: Takes in the message of a task as it was published.
Taking = Callable[[dict[str, Any]], None]

#: Seconds for which a worker on this transport does not notice that it has to stop.
LONGEST_WAIT = 0.1


def transport_for(take: Taking | None = None) -> type[memory.Transport]:
    """Return an in-memory transport that shares nothing with any other, as kombu's own does.

    Args:
        take: gets the messages of tasks; without it they lie in their queues until a worker fetches them.
    """

    class Channel(memory.Channel):
        def _put(self, queue: str, message: dict[str, Any], **options: Any) -> None:
            if take is None or "task" not in (message.get("headers") or {}):
                super()._put(queue, message, **options)  # type: ignore[no-untyped-call]
                return
            held = dumps(message)  # type: ignore[no-untyped-call]  # as a broker holds it: headers are JSON too
            take(loads(held))  # type: ignore[no-untyped-call]

        def close(self) -> None:
            """Leave the queues to other channels: what was published is not lost with who has published it."""
            virtual.Channel.close(self)  # type: ignore[no-untyped-call]

    Channel.queues, Channel.events = (
        {},
        defaultdict(set),
    )  # of all channels of this transport, and of no other

    class Transport(memory.Transport):
        global_state = virtual.BrokerState()  # type: ignore[no-untyped-call]

        polling_interval = 0.01  # kombu's second is what each message would wait

        def drain_events(self, connection: Any, timeout: Any = None, **_: Any) -> Any:
            """Wait for a message; briefly, since a worker looks only in between whether it has to stop."""
            wait = LONGEST_WAIT if timeout is None else min(timeout, LONGEST_WAIT)
            return super().drain_events(connection, timeout=wait)  # type: ignore[no-untyped-call]

    Transport.Channel = Channel
    return Transport
