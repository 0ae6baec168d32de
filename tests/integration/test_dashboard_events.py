"""The dashboard's word on a worker whose tasks it cannot see."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery

from autocelery._dashboard.fleet import Fleet, ShownWorker
from tests.waiting import wait_for
from tests.workers import Worker

pytestmark = pytest.mark.slow

_APP = """
from celery import Celery
app = Celery("quiet", broker={url!r})
app.conf.broker_transport_options = {{"global_keyprefix": {prefix!r}}}
@app.task(name="quiet.add", ignore_result=True)
def add(x, y):
    return x + y
"""


def test_a_worker_without_task_events_is_told_from_one_that_enables_them_while_it_runs(
    redis_url: str, redis_prefix: str, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "quiet.py").write_text(_APP.format(url=redis_url, prefix=redis_prefix))
    app = Celery("quiet", broker=redis_url, set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": redis_prefix}
    worker, fleet = Worker(folder, "quiet", "quiet", "-P", "solo"), Fleet(app)

    def shown() -> ShownWorker | None:
        return next((each for each in fleet.shown().workers if each.name == worker.hostname), None)

    def run_one_more() -> None:
        before = worker.text().count("succeeded")
        app.send_task("quiet.add", (1, 2))
        wait_for(lambda: worker.text().count("succeeded") > before, what="the task has run")

    try:
        worker.start()
        fleet.start()
        run_one_more()
        wait_for(lambda: (each := shown()) is not None and each.processed, what="its heartbeat is heard")
        run_one_more()
        wait_for(lambda: (each := shown()) is not None and not each.tells, what="its silence is noticed")
        app.control.enable_events()
        run_one_more()
        wait_for(lambda: (each := shown()) is not None and each.tells, what="its events are heard")
    finally:
        fleet.stop()
        worker.stop()
