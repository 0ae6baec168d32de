"""For tests of whoever uses Celery: eager apps, workers, what was sent, time that can be moved; and fakes.

Fixtures for pytest are there as soon as autocelery is installed; without
pytest, use the context managers.
"""

from __future__ import annotations

from autocelery.testing.beat import Beat, Fired
from autocelery.testing.eager import eager
from autocelery.testing.sent import Sent, assert_not_sent, assert_sent, recording
from autocelery.testing.signatures import upgraded
from autocelery.testing.stores import MemoryStore
from autocelery.testing.time import Time
from autocelery.testing.workers import broker_worker, memory_worker

__all__ = [
    "Beat",
    "Fired",
    "MemoryStore",
    "Sent",
    "Time",
    "assert_not_sent",
    "assert_sent",
    "broker_worker",
    "eager",
    "memory_worker",
    "recording",
    "upgraded",
]
