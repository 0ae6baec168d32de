"""The schedule of redbeat, as `beat_own` makes one; ``-A benchmarks.drivers.beat_redbeat``."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime

from celery import Celery
from celery.schedules import schedule

from benchmarks.drivers import arguments, reply

DAY = 86400
app = Celery("measured", broker=os.environ.get("BENCH_BROKER", "memory://"))
app.conf.broker_transport_options = {"global_keyprefix": os.environ.get("BENCH_NAMESPACE", "")}
app.conf.task_ignore_result = True
app.conf.redbeat_redis_url = os.environ.get("BENCH_BROKER", "")
app.conf.redbeat_redis_options = {}
app.conf.redbeat_key_prefix = f"{os.environ.get('BENCH_NAMESPACE', '')}redbeat:"


@app.task(name="measured")
def measured(_number: int) -> None:
    """Do nothing; nobody runs it."""


def main() -> None:
    """Make ``count`` entries that are due in half a day, and then those of ``due`` at these seconds of the epoch."""
    from redbeat.decoder import RedBeatJSONEncoder
    from redbeat.schedulers import RedBeatSchedulerEntry, get_redis

    asked = arguments()
    every = schedule(DAY)
    far = [(number, time.time() + DAY / 2) for number in range(asked.get("count", 0))]
    armed = list(enumerate(asked.get("due", ())))
    RedBeatSchedulerEntry("first", "measured", every, app=app)  # which gives the app its redbeat_conf
    client, prefix = get_redis(app), app.redbeat_conf.key_prefix
    for begin in range(0, len(far + armed), 2000):
        with client.pipeline(transaction=False) as pipe:  # what its entries' save() writes, many at a time
            for number, due in (far + armed)[begin : begin + 2000]:
                name = f"entry {number}"
                told = {"name": name, "task": "measured", "args": [number], "kwargs": {}, "options": {}}
                told |= {"schedule": every, "enabled": True}
                meta = {"last_run_at": datetime.fromtimestamp(due - DAY, UTC), "total_run_count": 1}
                pipe.hset(prefix + name, "definition", json.dumps(told, cls=RedBeatJSONEncoder))
                pipe.hset(prefix + name, "meta", json.dumps(meta, cls=RedBeatJSONEncoder))
                pipe.zadd(app.redbeat_conf.schedule_key, {prefix + name: due})
            pipe.execute()
    reply(len(far) + len(armed))


if __name__ == "__main__":
    main()
