"""An app that is eager for the length of a block, whatever its settings say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery

from autocelery._eager import make_eager


@contextmanager
def eager(app: Celery) -> Iterator[Celery]:
    """Run the calls of ``app`` in the calling process, at once; its results are kept in memory.

    >>> from celery import Celery
    >>> app = Celery("shop")
    >>> @app.task
    ... def add(a, b):
    ...     return a + b
    >>> with eager(app):
    ...     add.delay(2, 2).get()
    4
    """
    before = getattr(app, "autocelery_eager", None)
    if before is not None:
        before.stop()
    now = make_eager(app, announce=False, in_memory=True)
    try:
        yield app
    finally:
        now.stop()
        if before is not None:
            before.start()
