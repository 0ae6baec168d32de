"""Why the presets set what they set, one sentence or two a setting; the documentation shows them."""

from __future__ import annotations

REASONS = {
    "broker_url": "`CELERY_BROKER_URL` of the environment, else `REDIS_URL`.",
    "result_backend": (
        "Results in Django's own database: visible in the admin, backed up with the rest. Elsewhere the shared Redis."
    ),
    "cache_backend": "Where results go if `result_backend` is `django-cache`: the cache of that name, on `REDIS_URL`.",
    "broker_transport_options": (
        "`global_keyprefix` keeps projects on one Redis apart. Connections are given up in seconds, and what is half "
        "open is noticed. `visibility_timeout` is twice the time limit: a message may wait behind one task and then "
        "run as long, and must not be delivered again meanwhile."
    ),
    "result_backend_transport_options": "The same prefix on the side of the results.",
    "redis_socket_connect_timeout": "A Redis that does not answer is an error in seconds, not in minutes.",
    "redis_socket_keepalive": "The system notices connections whose other end is gone.",
    "redis_retry_on_timeout": "A read that timed out is tried once more before it is an error.",
    "redis_backend_health_check_interval": "A connection that a firewall has dropped is noticed before it is used.",
    "task_time_limit": "A task that hangs ends: its process is killed.",
    "task_soft_time_limit": "Before it is killed, a task hears `SoftTimeLimitExceeded` and can tidy up.",
    "timezone": "Crontabs mean the time zone that the rest of the project means.",
    "beat_scheduler": (
        "The schedule of the settings, without a file beside it; after a restart intervals begin anew. "
        '`beat="database"` remembers.'
    ),
    "beat_database_url": (
        'With `beat="database"`: the schedule is in Django\'s own database, where the admin shows and edits it.'
    ),
    "task_track_started": "A task that runs can be told from one that waits.",
    "task_remote_tracebacks": "`get()` raises with the traceback of the worker (tblib).",
    "task_serializer": "JSON can be read by anything and runs nothing when it is read, which pickle does.",
    "result_serializer": "The same for results.",
    "accept_content": "A message in another format is refused: whoever can write to the broker could else run code.",
    "result_extended": "Results carry the task's name, arguments and queue; without it the admin shows ids alone.",
    "worker_cancel_long_running_tasks_on_connection_loss": (
        "A broker that lost its connection gives late-acknowledged tasks to another worker: the run here is cancelled, "
        "so that there are not two."
    ),
    "worker_prefetch_multiplier": "Tasks wait in the queue, where any free worker takes them, not behind a long one.",
    "broker_connection_retry_on_startup": "Broker and worker may start in any order; without it Celery 5 warns.",
    "task_delay_on_commit": "A task that is sent in a transaction starts after the commit, and finds what was written.",
}
