"""A live call that its broker does not take: the error, which says what to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from autocelery.errors import BrokerUnavailable
from autocelery_host import aims
from autocelery_host.header import HEADER

_MARK = "names_the_broker"


def install(app: Celery) -> None:
    """Have live calls of ``app`` raise `BrokerUnavailable`, however they are sent; a second time changes nothing.

    Deployed calls raise what Celery raises, of which `BrokerUnavailable` is one.
    """
    sending = app.send_task  # somebody may have put one of their own there
    if not hasattr(sending, _MARK):
        app.send_task = naming_the_broker(sending, lambda *_: app)


def naming_the_broker(sending: Callable[..., Any], app: Callable[..., Celery]) -> Callable[..., Any]:
    """Return ``sending``, the ``send_task`` of an app or of its class, with that error; ``app`` finds the app."""

    @wraps(sending)
    def send_task(*args: Any, **options: Any) -> Any:
        try:
            return sending(*args, **options)
        except OperationalError as exc:
            is_live = HEADER in (options.get("headers") or {}) or aims.current() is not None
            if is_live and not isinstance(exc, BrokerUnavailable):
                raise broker_gone(app(*args), exc) from exc
            raise

    setattr(send_task, _MARK, True)
    return send_task


def broker_gone(app: Celery, exc: BaseException, outcome: str = "no message was sent") -> BrokerUnavailable:
    """Return the error for a broker that cannot be reached; ``outcome`` is what comes of it."""
    from autocelery._blobs.addresses import without_password

    with app.connection_for_write() as connection:
        url = without_password(connection.as_uri(include_password=True))  # kombu's own has stars for none
    return BrokerUnavailable(
        f"The broker at {url} cannot be reached ({exc}); {outcome}. Is it running, and is the app's broker_url "
        "right here?"
    )
