"""The schedule of django-celery-beat, as `beat_own` makes one; ``-A benchmarks.drivers.beat_django``."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import django
from celery import Celery
from django.conf import settings

from benchmarks.drivers import arguments, reply

DAY = 86400
_parts = urlsplit(os.environ.get("BENCH_DATABASE", ""))
_database: dict[str, Any] = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": _parts.path[1:],
    "HOST": _parts.hostname or "",
    "PORT": _parts.port or "",
    "USER": _parts.username or "",
    "PASSWORD": _parts.password or "",
}
settings.configure(
    INSTALLED_APPS=["django_celery_beat"],
    DATABASES={"default": _database},
    USE_TZ=True,
    TIME_ZONE="UTC",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

app = Celery("measured", broker=os.environ.get("BENCH_BROKER", "memory://"))
app.conf.broker_transport_options = {"global_keyprefix": os.environ.get("BENCH_NAMESPACE", "")}
app.conf.task_ignore_result = True


@app.task(name="measured")
def measured(_number: int) -> None:
    """Do nothing; nobody runs it."""


def main() -> None:
    """Make ``count`` entries that are due in half a day, and then those of ``due`` at these seconds of the epoch."""
    from django.core.management import call_command
    from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

    asked = arguments()
    count, due = asked.get("count", 0), asked.get("due", ())
    if count:
        call_command("migrate", verbosity=0)
        every = IntervalSchedule.objects.create(every=DAY, period="seconds")
        half = datetime.now(UTC) - timedelta(seconds=DAY / 2)
        told = [
            PeriodicTask(
                name=f"entry {each}", task="measured", args=f"[{each}]", interval=every, last_run_at=half
            )
            for each in range(count)
        ]
        PeriodicTask.objects.bulk_create(told, batch_size=2000)
    if due:
        armed = list(PeriodicTask.objects.filter(name__in=[f"entry {each}" for each in range(len(due))]))
        for each in armed:
            each.last_run_at = datetime.fromtimestamp(due[int(each.name.split()[1])] - DAY, UTC)
        PeriodicTask.objects.bulk_update(armed, ["last_run_at"], batch_size=500)
    PeriodicTasks.update_changed()
    reply(count + len(due))


if __name__ == "__main__":
    main()
