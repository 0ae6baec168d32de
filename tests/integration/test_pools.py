"""Pools besides those that the conformance suite runs under."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autocelery._publish import planning, requiring
from autocelery.errors import ConfigurationError
from tests.conftest import remove_tree
from tests.integration.conformance.projects import Project
from tests.waiting import PATIENCE
from tests.workers import Worker


@pytest.fixture
def project(redis_url: str, redis_prefix: str) -> Iterator[Project]:
    """The conformance project, with a broker and a backend of the test's own."""
    folder = Path(tempfile.mkdtemp(prefix="ac-"))
    celery = {
        "broker_url": redis_url,
        "result_backend": redis_url,
        "broker_transport_options": {"global_keyprefix": redis_prefix},
        "result_backend_transport_options": {"global_keyprefix": redis_prefix},
    }
    made = Project(folder, {"celery": celery, "redis": redis_url, "prefix": redis_prefix})
    yield made
    made.close()
    remove_tree(folder)


def test_a_worker_with_eventlet_runs_deployed_calls_and_says_why_it_refuses_live_ones(
    project: Project,
) -> None:
    pytest.importorskip("eventlet", reason="there is none for this Python")
    worker = Worker(project.folder, project.package, "eventlet", "-P", "eventlet", "-c", "2")
    try:
        worker.start()
        add = project.task("add")
        assert add.delay(1, 1).get(timeout=PATIENCE) == 2
        with pytest.raises(ConfigurationError, match="celery worker -P gevent"):
            add.live.delay(1, 1).get(timeout=PATIENCE)
        with pytest.raises(ConfigurationError, match=f"{worker.hostname} refuses.*celery worker -P gevent"):
            requiring.require_worker(project.app, queue=project.app.conf.task_default_queue)
        planned = planning.plan(project.app.autocelery)
        [problem] = [each for each in planned.problems if worker.hostname in each.what]
        assert (problem.level, "eventlet" in problem.what) == ("error", True)
        assert problem.mend.startswith("Start the worker with another pool: `celery worker -P gevent`")
        assert worker.text().count("Live calls are refused: this worker has the eventlet pool") == 1
    finally:
        worker.stop()
