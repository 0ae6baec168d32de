"""Celery on automatic: a running fleet runs the code that is in front of you.

app = Celery("proj", broker="redis://...", backend="redis://...")
auto = Autocelery(app)

add.live.delay(2, 2).get()      # this call runs the working tree as it is now
"""

from __future__ import annotations

from autocelery import errors
from autocelery._model import Snapshot
from autocelery._publish.facade import Autocelery
from autocelery.errors import AutoceleryError

__all__ = ["Autocelery", "AutoceleryError", "Snapshot", "errors"]
