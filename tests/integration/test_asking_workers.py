"""Workers are asked before a call is sent: the first that would take it is enough, on every broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from autocelery._publish import inspecting, requiring
from autocelery.errors import NoWorkers
from tests.stopwatch import Stopwatch
from tests.workers import Worker

pytestmark = pytest.mark.slow

_APP = """
from celery import Celery
from autocelery import Autocelery
app = Celery("asked", broker={url!r})
app.conf.update({settings!r})
auto = Autocelery(app)
"""


@pytest.fixture(params=["redis", "rabbitmq"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """The broker's address, and settings that keep to what is the test's own."""
    if request.param == "redis":
        prefix = {"global_keyprefix": request.getfixturevalue("redis_prefix")}
        return request.getfixturevalue("redis_url"), {"broker_transport_options": prefix}
    vhost = request.getfixturevalue("rabbitmq_vhost")
    return vhost.url, {"task_default_queue": vhost.queue, "autocelery_store": str(tmp_path / "blobs")}


def test_a_worker_that_listens_is_enough_and_one_that_does_not_is_named(
    settings: tuple[str, dict[str, Any]], tmp_path: Path, autocelery_home: Path
) -> None:
    url, own = settings
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "asked.py").write_text(_APP.format(url=url, settings=own))
    worker = Worker(folder, "asked", "listening", "-c", "1", "-P", "solo").start()
    try:
        app = Celery("asked", broker=url, set_as_current=False)
        app.conf.update(own)
        queue = app.conf.task_default_queue
        with Stopwatch() as watch:
            for _ in range(3):
                requiring.require_worker(app, 5.0, queue)
        assert watch.seconds < 5.0, watch  # nobody was waited for once one had answered
        with pytest.raises(NoWorkers, match=rf"'nowhere'.*{worker.hostname} to {queue}"):
            requiring.require_worker(app, 1.0, "nowhere")
        assert [each.queues for each in inspecting.workers(app)] == [(queue,)]
    finally:
        worker.stop()
