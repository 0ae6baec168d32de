"""Periodic tasks with their schedule in a database: ``celery -A proj beat -S autocelery.beat:DatabaseScheduler``."""

from __future__ import annotations

from autocelery._beat.from_settings import Once, TimeOfDay
from autocelery._beat.scheduler import DatabaseScheduler

__all__ = ["DatabaseScheduler", "Once", "TimeOfDay"]
