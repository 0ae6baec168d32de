"""The class of a Django project's tasks: sent after the commit, and only with what can be sent."""

from __future__ import annotations

from typing import Any

from celery.contrib.django.task import DjangoTask
from celery.result import AsyncResult
from celery.utils import uuid
from django.db import ProgrammingError, connections, transaction
from django.db.utils import OperationalError

from autocelery._celery import at_once
from autocelery.errors import DatabaseNotMigrated
from autocelery.presets import _arguments
from autocelery.presets.django._deferring import DeferredCall
from autocelery_host import messages
from autocelery_host.header import HEADER

#: What belongs to the moment of a call and is not kept until a commit.
_OF_THE_MOMENT = ("producer", "connection", "publisher")


class ProjectTask(DjangoTask):
    """A task whose calls, inside a transaction, are sent when it is committed.

    ``send_on_commit`` of a task, or of one call, is for those that should
    not wait: ``task.apply_async(args, send_on_commit=False)``.
    """

    abstract = True
    #: ``None``: as the setting ``CELERY_TASK_DELAY_ON_COMMIT`` says.
    send_on_commit: bool | None = None

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> AsyncResult:
        """Send the task now, or, where a transaction is open, after its commit. The id is known at once.

        Raises:
            ArgumentNotSerializable: an argument is a model instance or something else that cannot be sent.
            DatabaseNotMigrated: the tables that results are stored in are missing.
        """
        waits = options.pop("send_on_commit", None)
        alias = _open_transaction() if self._waits(waits) else None
        if alias is None:
            return self._send(args, kwargs, options)
        deferred = self._deferred(args, kwargs, {**options, "send_on_commit": waits})
        transaction.on_commit(deferred, using=alias)
        return self.AsyncResult(deferred.task_id)

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Send the task after the commit of Django's default database, as Celery has it."""
        self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(self, args: Any = None, kwargs: Any = None, **options: Any) -> None:
        """Send the task after the commit of Django's default database, with the options of `apply_async`."""
        transaction.on_commit(self._deferred(args, kwargs, options))

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        """Send the retry at once: its exception rolls the transaction back, and would take it along."""
        with at_once.sending_at_once():
            return super().retry(*args, **kwargs)

    def replace(self, sig: Any) -> Any:
        """Send the replacement at once, for the same reason."""
        with at_once.sending_at_once():
            return super().replace(sig)

    def _deferred(self, args: Any, kwargs: Any, options: dict[str, Any]) -> DeferredCall:
        """Return the call for later, with all that is decided where it is made: whether it is live, for one."""
        kept = {name: value for name, value in options.items() if name not in _OF_THE_MOMENT}
        kept["task_id"] = kept.get("task_id") or uuid()
        serializer = _arguments.serializer_of(self, kept)
        if not self.app.conf.task_always_eager:
            kept = messages.decided(self.app, self.name, kept, serializer)
        if HEADER not in (kept.get("headers") or {}):
            _arguments.check(self, args, kwargs, serializer)
        return DeferredCall(self, args, kwargs, kept)

    def _waits(self, said: bool | None) -> bool:
        for each in (False if at_once.is_asked() else None, said, self.send_on_commit):
            if each is not None:
                return each
        return bool(self.app.conf.get("task_delay_on_commit"))

    def _send(self, args: Any, kwargs: Any, options: dict[str, Any]) -> AsyncResult:
        try:
            with _arguments.explained(self, args, kwargs, options):
                return super().apply_async(args, kwargs, **options)
        except (OperationalError, ProgrammingError) as error:
            if "django_celery_results" not in str(error):
                raise
            from autocelery.presets.django._workers import not_migrated

            raise DatabaseNotMigrated(not_migrated()) from error


def _open_transaction() -> str | None:
    """Return the alias of a database in which a transaction is open, if there is one.

    The transaction that a ``TestCase`` puts around each test is never
    committed, so it is none: tests see their results.
    """
    for connection in connections.all(initialized_only=True):
        blocks = connection.atomic_blocks
        if connection.in_atomic_block and any(not _is_of_a_test(block) for block in blocks):
            return str(connection.alias)
    return None


def _is_of_a_test(block: Any) -> bool:
    return bool(getattr(block, "_from_testcase", False))
