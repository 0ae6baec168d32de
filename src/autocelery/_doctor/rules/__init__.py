"""The rules, by what they speak of; importing this fills the table."""

from autocelery._doctor.rule import TABLE
from autocelery._doctor.rules import (
    beats,
    brokers,
    code,
    delivery,
    limits,
    queues,
    results,
    running,
    security,
    sending,
    services,
    versions,
)

__all__ = [
    "TABLE",
    "beats",
    "brokers",
    "code",
    "delivery",
    "limits",
    "queues",
    "results",
    "running",
    "security",
    "sending",
    "services",
    "versions",
]
