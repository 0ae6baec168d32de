"""What of messages and workers nothing can be told is never called safe."""

from __future__ import annotations

from celery import Celery

from autocelery._check.comparing import Declared, Verdict, compare
from autocelery._check.messages import compare_queued
from autocelery_host.shapes import shape_of


def test_a_broker_whose_messages_cannot_be_looked_at_is_named() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.send_task("shop.add", (1,))
    [found] = compare_queued(app)
    assert (found.task, found.verdict) == ("(all queues)", Verdict.UNKNOWN)
    assert "kind memory" in found.why[0]
    app.close()


def test_a_signature_that_is_not_known_is_not_safe() -> None:
    known, hidden = Declared(shape_of("shop.add", lambda x: x)), Declared(None, doubt="It does not say.")
    for old, new in ((known, hidden), (hidden, known), (hidden, hidden)):
        [found] = compare({"shop.add": old}, {"shop.add": new})
        assert (found.verdict, found.why) == (Verdict.UNKNOWN, ("It does not say.",))
