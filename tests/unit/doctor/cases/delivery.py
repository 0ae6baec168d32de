"""Acknowledgement and redelivery."""

from __future__ import annotations

from tests.unit.doctor.cases.case import fires, silent

_ADD = "@app.task\ndef add(x, y):\n    return x + y\n"
_LATE = "@app.task(acks_late=True)\ndef late():\n    pass\n"
_REPORT = "@app.task(time_limit=3600)\ndef report():\n    pass\n"
_AMQP = "amqp://guest:guest@localhost//"

CASES = [
    fires("AC010", "no-limit", _LATE, task_time_limit=None, says="3600"),
    fires(
        "AC010",
        "setting-without-limit",
        task_acks_late=True,
        task_time_limit=None,
        says="task_time_limit = 1800",
    ),
    fires("AC010", "limit-above", _LATE, task_time_limit=7200, says="14400"),
    fires("AC010", "short-timeout", _LATE, broker_transport_options={"visibility_timeout": 60}),
    silent("AC010", "soft-limit", _LATE, task_time_limit=None, task_soft_time_limit=600),
    silent("AC010", "limit-below", _LATE, task_time_limit=600),
    silent("AC010", "early", _ADD, task_time_limit=7200),
    silent("AC010", "rabbitmq", _LATE, task_time_limit=None, broker_url=_AMQP),
    silent(
        "AC010", "raised", _LATE, task_time_limit=7200, broker_transport_options={"visibility_timeout": 14400}
    ),
    fires(
        "AC011",
        "countdown",
        f"{_ADD}def send():\n    add.apply_async((1, 2), countdown=2 * 3600)\n",
        says="7200",
    ),
    fires(
        "AC011",
        "eta",
        f"""
from datetime import datetime, timedelta, timezone
{_ADD}
def send():
    add.apply_async((1, 2), eta=datetime.now(timezone.utc) + timedelta(days=2))
""",
        says="172800",
    ),
    fires("AC011", "retry", "@app.task(bind=True)\ndef again(self):\n    raise self.retry(countdown=4000)\n"),
    fires(
        "AC011",
        "task",
        "@app.task(bind=True, default_retry_delay=4000)\ndef again(self):\n    raise self.retry()\n",
    ),
    silent("AC011", "short-timeout", _ADD, broker_transport_options={"visibility_timeout": 60}),
    silent(
        "AC011",
        "backoff-that-ends-before",
        "@app.task(autoretry_for=(OSError,), retry_backoff=True, retry_backoff_max=7200)\ndef call():\n    pass\n",
    ),
    fires(
        "AC011",
        "backoff",
        "@app.task(autoretry_for=(OSError,), retry_backoff=60, retry_backoff_max=7200, max_retries=9)\n"
        "def call():\n    pass\n",
        says="7200",
    ),
    silent(
        "AC011",
        "no-message",
        f"{_ADD}class Delivery:\n    pass\ndef send(delivery):\n"
        "    Delivery(countdown=7200)\n    add.delay(1, countdown=7200)\n    delivery.set(countdown=7200)\n",
    ),
    fires("AC011", "signature", f"{_ADD}def send():\n    add.s(1, 2).set(countdown=7200).delay()\n"),
    silent("AC011", "short", f"{_ADD}def send():\n    add.apply_async((1, 2), countdown=600)\n"),
    silent("AC011", "unknown", f"{_ADD}def send(delay):\n    add.apply_async((1, 2), countdown=delay)\n"),
    fires("AC012", "late", _LATE, says="worker_prefetch_multiplier = 1"),
    fires("AC012", "long", _REPORT, says="proj.tasks.report"),
    fires("AC012", "unbounded", worker_prefetch_multiplier=0, says="bound"),
    silent("AC012", "one", _LATE, worker_prefetch_multiplier=1),
    silent("AC012", "short-and-early", _ADD),
    fires("AC013", "long-and-early", _REPORT, worker_prefetch_multiplier=1),
    silent("AC013", "late", _REPORT, worker_prefetch_multiplier=1, task_acks_late=True),
    silent("AC013", "short", _ADD, worker_prefetch_multiplier=1),
    fires("AC014", "late", _LATE),
    silent("AC014", "rejected", _LATE, task_reject_on_worker_lost=True),
    fires("AC015", "setting", task_reject_on_worker_lost=True),
    fires(
        "AC015",
        "task",
        "@app.task(reject_on_worker_lost=True)\ndef lost():\n    pass\n",
        says="proj.tasks.lost",
    ),
    silent("AC015", "both", "@app.task(reject_on_worker_lost=True, acks_late=True)\ndef lost():\n    pass\n"),
    fires("AC016", "late", _LATE, broker_url=_AMQP, task_time_limit=7200),
    fires(
        "AC016",
        "delay",
        f"{_ADD}def send():\n    add.apply_async((1, 2), countdown=7200)\n",
        broker_url=_AMQP,
    ),
    silent(
        "AC016",
        "queue-that-waits-longer",
        "from kombu import Queue\n"
        "app.conf.task_queues = [Queue('celery', queue_arguments={'x-consumer-timeout': 9**7})]\n"
        f"{_ADD}def send():\n    add.apply_async((1, 2), countdown=7200)\n",
        broker_url=_AMQP,
    ),
    silent("AC016", "short", _LATE, broker_url=_AMQP),
    silent("AC016", "redis", _LATE, task_time_limit=7200),
    fires("AC017", "late", _LATE),
    silent("AC017", "cancelled", _LATE, worker_cancel_long_running_tasks_on_connection_loss=True),
    fires("AC018", "transient", broker_url=_AMQP, task_default_delivery_mode="transient"),
    silent("AC018", "redis", task_default_delivery_mode="transient"),
    silent("AC018", "persistent", broker_url=_AMQP),
]
