"""Rules on the broker that the settings name."""

from __future__ import annotations

from collections.abc import Iterator

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Place, Sight
from autocelery._doctor.rule import rule
from autocelery._doctor.services.broker import is_this_machine

#: What kombu's Redis transport reads of its options.
_REDIS_OPTIONS = "redis_"


@rule(
    "AC001",
    "A database as the broker",
    level="error",
    since="every version; kombu calls the transport experimental",
    why="Each worker asks the database again and again for the next message: it is slow with a few workers and "
    "locks rows with many. Remote control, events and revoking do not work, so that no worker can be inspected.",
    fix="Use Redis or RabbitMQ: broker_url = 'redis://host:6379/0'",
)
def database_as_broker(evidence: Evidence) -> Iterator[Sight]:
    """See a SQL database, MongoDB or Django's tables where messages should be."""
    if evidence.broker.kind == "database":
        yield Sight(
            evidence.settings.place("broker_url"), f"The broker is a database: {evidence.broker.shown}."
        )


@rule(
    "AC002",
    "A broker for tests only",
    level="error",
    since="every version",
    why="The memory transport ends with its process, so that a worker never sees what another process sent. The "
    "filesystem transport polls a folder once a second, and its messages can be read half-written.",
    fix="Use Redis or RabbitMQ: broker_url = 'redis://host:6379/0'",
)
def broker_for_tests(evidence: Evidence) -> Iterator[Sight]:
    """See the memory and filesystem transports."""
    if evidence.broker.kind in ("memory", "filesystem") and not evidence.is_eager:
        yield Sight(evidence.settings.place("broker_url"), f"The broker is {evidence.broker.shown}.")


@rule(
    "AC003",
    "The broker is away",
    level="error",
    since="every version",
    why="Nothing can be sent and nothing is taken. What else the doctor says is read from settings and code alone.",
    fix="Start the broker, or correct broker_url; --offline looks at settings and code only.",
)
def broker_away(evidence: Evidence) -> Iterator[Sight]:
    """See a broker that does not answer."""
    view = evidence.broker_view
    if view is not None and view.problem:
        yield Sight(Place("broker"), f"{evidence.broker.shown} does not answer: {view.problem}")


@rule(
    "AC004",
    "The user guest on another machine",
    level="warning",
    since="RabbitMQ 3.3, which refuses guest from other machines by default",
    why="guest with the password guest is what everybody tries first. A RabbitMQ that lets it in from other "
    "machines lets everybody in, and whoever can send messages decides what workers run.",
    fix="Make a user for this app: rabbitmqctl add_user NAME, and name it in broker_url.",
)
def guest_elsewhere(evidence: Evidence) -> Iterator[Sight]:
    """See guest:guest in the address of a broker that is on another machine."""
    broker = evidence.broker
    if broker.kind == "rabbitmq" and "guest:guest@" in broker.url and not is_this_machine(broker.host):
        yield Sight(
            evidence.settings.place("broker_url"), f"{broker.host} is used as guest with its known password."
        )
