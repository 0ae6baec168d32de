"""The embedded broker: a private Redis-compatible server, or folders, for as long as its owner lives.

Nothing here is for production. ``autocelery demo`` and ``autocelery dev`` use it so that
Celery runs on a machine on which nobody has set up a broker.
"""

from __future__ import annotations

from autocelery._broker.choosing import CHOICES, Choice
from autocelery._broker.guarding import GuardedProcess
from autocelery._broker.running import EmbeddedBroker, LocalBroker

__all__ = ["CHOICES", "Choice", "EmbeddedBroker", "GuardedProcess", "LocalBroker"]
