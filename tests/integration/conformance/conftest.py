"""The fleets that the suite runs on, and ``same``, which runs a scenario on one of them in every way of calling."""

from __future__ import annotations

import difflib
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import services, since
from tests.conftest import remove_tree
from tests.integration.conformance.fleets import Caller, Fleet, record_of
from tests.integration.conformance.records import Record
from tests.wheels import runtime_index

#: Every scenario runs on these.
_EVERYWHERE = ("redis-prefork", "redis-threads", "redis-solo")
#: Those marked ``reduced`` run on these too: broker and backend, and the pool.
#: ``own``: in an environment that stands alone, and has nothing of the worker's packages.
_REDUCED = (
    "rabbitmq+rpc-prefork",
    "rabbitmq+postgres-prefork",
    "redis+postgres-threads",
    "redis-gevent",
    "redis+own-prefork",
)
_WAYS = ("deployed", "live", "block")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "reduced: runs with the other brokers, backends and pools too")
    config.addinivalue_line(
        "markers", "pools(*names): runs under these pools only, and says why in its docstring"
    )
    config.addinivalue_line("markers", "without(*parts): does not run where the fleet has one of these parts")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test the fleets that it runs on."""
    if "fleet" not in metafunc.fixturenames:
        return
    marks = {mark.name: mark for mark in metafunc.definition.iter_markers()}
    names = _EVERYWHERE + (_REDUCED if "reduced" in marks else ())
    if "pools" in marks:
        names = tuple(name for name in names if name.rpartition("-")[2] in marks["pools"].args)
    if "without" in marks:
        names = tuple(
            name for name in names if not set(name.replace("-", "+").split("+")) & set(marks["without"].args)
        )
    metafunc.parametrize("fleet", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Fleet]:
    """A worker with the conformance project; each test of the session that names it uses the same one."""
    services_named, _, pool = request.param.rpartition("-")
    prefix = f"ac-{secrets.token_hex(6)}:"
    with ExitStack() as owned:
        folder = Path(tempfile.mkdtemp(prefix="ac-"))
        owned.callback(remove_tree, folder)
        owned.callback(services.remove_redis_keys, prefix)
        settings = {
            "celery": _settings(request, services_named, prefix, redis_url, folder, owned),
            "redis": redis_url,
            "prefix": prefix,
            "unbuffered_events": pool == "threads" and not since.THREADS_TELL_EVERY_EVENT,
        }
        index = runtime_index(folder / "index", "redis") if services_named.endswith("+own") else None
        made = Fleet(folder, pool, settings, index)
        owned.callback(made.close)
        yield made


def _settings(
    request: pytest.FixtureRequest, named: str, prefix: str, redis_url: str, folder: Path, owned: ExitStack
) -> dict[str, Any]:
    queue = prefix.strip(":")
    settings: dict[str, Any] = {
        "broker_url": redis_url,
        "result_backend": redis_url,
        "broker_transport_options": {"global_keyprefix": prefix},
        "result_backend_transport_options": {"global_keyprefix": prefix},
        "task_default_queue": queue,
        "task_routes": {"*.routed": {"queue": f"{queue}-routed"}},
        "task_send_sent_event": True,
        "worker_send_task_events": True,
        "result_extended": True,
        "accept_content": ["json", "pickle"],
        "broker_connection_retry_on_startup": True,
        "worker_prefetch_multiplier": 16,
    }
    if named.startswith("rabbitmq"):
        request.getfixturevalue("rabbitmq_url")
        settings["broker_url"] = owned.enter_context(services.own_rabbitmq()).url
        settings["autocelery_store"] = f"file://{folder / 'store'}"
        del settings["broker_transport_options"]
    if named.endswith("+rpc"):
        settings["result_backend"] = "rpc://"
    if named.endswith("+postgres"):
        request.getfixturevalue("postgres_url")
        settings["result_backend"] = f"db+{owned.enter_context(services.own_postgres_database())}"
    if not settings["result_backend"].startswith("redis"):
        del settings["result_backend_transport_options"]
    return settings


@pytest.fixture
def same(fleet: Fleet) -> Callable[..., Record]:
    """Run a scenario deployed, by ``.live`` and in ``with auto.live()``; its record has to be the same each time.

    Returns the record, for what Celery documents about it.
    """

    def run(
        scenario: Callable[[Caller], Any],
        ways: tuple[str, ...] = _WAYS,
        apart_from: Callable[[Record], Record] = lambda record: record,
        before: Callable[[Caller], None] = lambda caller: None,
    ) -> Record:
        callers = [Caller(fleet, way) for way in ways]
        values = []
        for caller in callers:
            before(caller)
            values.append(caller.run(scenario))
        records = [apart_from(record_of(*each)) for each in zip(callers, values, strict=True)]
        for way, record in zip(ways[1:], records[1:], strict=True):
            if record != records[0]:
                difference = difflib.unified_diff(
                    records[0].lines(), record.lines(), ways[0], way, n=1, lineterm=""
                )
                pytest.fail("\n".join(["The records differ:", *difference]), pytrace=False)
        return records[0]

    return run


def without_logs(record: Record) -> Record:
    """Return ``record`` without what the worker logged."""
    return replace(record, calls=tuple(replace(each, logged=()) for each in record.calls))
