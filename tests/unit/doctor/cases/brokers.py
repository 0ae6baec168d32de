"""Brokers, and how they are reached."""

from __future__ import annotations

from tests.unit.doctor.cases.case import fires, silent

CASES = [
    fires("AC001", "sqlite", broker_url="sqla+sqlite:///x.db", says="proj/celery.py:4"),
    fires("AC001", "mongodb", broker_url="mongodb://localhost/x"),
    silent("AC001", "redis"),
    silent("AC001", "results-in-a-database", result_backend="db+sqlite:///x.db"),
    fires("AC002", "memory", broker_url="memory://"),
    fires("AC002", "filesystem", broker_url="filesystem://"),
    silent("AC002", "redis"),
    fires("AC004", "elsewhere", broker_url="amqp://guest:guest@mq.internal//", says="mq.internal"),
    silent("AC004", "here", broker_url="amqp://guest:guest@localhost//"),
    silent("AC004", "own-user", broker_url="amqp://shop:x@mq.internal//"),
]
