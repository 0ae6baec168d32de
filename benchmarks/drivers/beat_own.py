"""The schedule of autocelery's beat: made, and some of it due at given times; ``-A benchmarks.drivers.beat_own``."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from celery import Celery

from benchmarks.drivers import arguments, reply

#: Every entry of every side is an interval of a day.
DAY = 86400
app = Celery("measured", broker=os.environ.get("BENCH_BROKER", "memory://"))
app.conf.broker_transport_options = {"global_keyprefix": os.environ.get("BENCH_NAMESPACE", "")}
app.conf.beat_database_url = os.environ.get("BENCH_DATABASE", "")
app.conf.task_ignore_result = True


@app.task(name="measured")
def measured(_number: int) -> None:
    """Do nothing; nobody runs it."""


def main() -> None:
    """Make ``count`` entries that are due in half a day, and then those of ``due`` at these seconds of the epoch."""
    from autocelery._beat.definition import Definition, id_of
    from autocelery._beat.opening import open_store
    from autocelery._beat.store import Edits, Entry

    asked = arguments()
    store = open_store(app)
    store.prepare()
    far = datetime.now(UTC) + timedelta(seconds=DAY / 2)

    def entry(number: int, due: datetime) -> Entry:
        told = Definition("measured", {"kind": "interval", "seconds": float(DAY)}, args=(number,)).encode()
        before = due - timedelta(seconds=DAY)
        key = f"entry {number}"
        return Entry(id_of(key), key, told, "database", None, False, before, due, due, before)

    made = [entry(number, far) for number in range(asked.get("count", 0))]
    for begin in range(0, len(made), 2000):
        part = made[begin : begin + 2000]
        store.edit([], lambda _found, _now, part=part: Edits(part))
    armed = [entry(each, datetime.fromtimestamp(due, UTC)) for each, due in enumerate(asked.get("due", ()))]
    if armed:
        store.edit([each.id for each in armed], lambda _found, _now: Edits(armed))
    reply(len(made) + len(armed))


if __name__ == "__main__":
    main()
