"""Live calls through each store there is: it is wiped in the middle of a run, and nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest

from autocelery._broker import EmbeddedBroker
from tests import services
from tests.shops import Caller, Shop, own_server

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Place:
    """A store's address, how to empty it, and what callers and workers have in their environment."""

    address: str
    wipe: Callable[[], None]
    environment: dict[str, str] = field(default_factory=dict)


def postgresql(owned: ExitStack, request: pytest.FixtureRequest, _: Path) -> Place:
    request.getfixturevalue("postgres_url")
    return in_table(owned.enter_context(services.own_postgres_database()))


def sqlite(_: ExitStack, __: pytest.FixtureRequest, folder: Path) -> Place:
    return in_table(f"sqlite:///{folder}/blobs.sqlite")


def in_table(address: str) -> Place:
    return Place(address, lambda: services.drop_table(address, "autocelery_blobs"))


def s3(_: ExitStack, request: pytest.FixtureRequest, __: Path) -> Place:
    endpoint = request.getfixturevalue("s3_endpoint")
    variables = services.aws_variables(endpoint)
    with pytest.MonkeyPatch.context() as here:
        for name, value in variables.items():
            here.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="live-calls")

    def wipe() -> None:
        with pytest.MonkeyPatch.context() as here:
            for name, value in variables.items():
                here.setenv(name, value)
            services.empty_bucket(endpoint, "live-calls")

    return Place("s3://live-calls/blobs", wipe, variables)


def fsspec(_: ExitStack, __: pytest.FixtureRequest, folder: Path) -> Place:
    path = folder / "blobs"
    return Place(f"fsspec+{path.as_uri()}", lambda: shutil.rmtree(path, ignore_errors=True))


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with ExitStack() as owned:
        yield own_server(owned)


@pytest.fixture(scope="module", params=[postgresql, sqlite, s3, fsspec], ids=lambda place: place.__name__)
def running(
    request: pytest.FixtureRequest, broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shop, Caller, Place]]:
    """A stock worker and a caller that share a broker, and the store for code."""
    folder = tmp_path_factory.mktemp("stores")
    with ExitStack() as owned:
        place: Place = request.param(owned, request, folder)
        environment = {**place.environment, "AUTOCELERY_STORE": place.address}
        shop = Shop(folder / "shop", broker.broker_url, broker.result_backend, **environment)
        owned.callback(shop.close)
        shop.configure(task_default_queue=request.param.__name__)
        caller = shop.caller()
        shop.worker(request.param.__name__, "-c", "1")
        yield shop, caller, place


def edited(shop: Shop, number: int) -> None:
    shop.write("tasks.py", shop.tasks.replace("return x + y", f"return x + y + {number}"))


def test_code_goes_through_it_again_and_again(running: tuple[Shop, Caller, Place]) -> None:
    shop, caller, _ = running
    for number in range(100, 103):
        edited(shop, number)
        assert shop.result(caller.send("add", 1, 1)) == number + 2


def test_what_it_loses_before_or_while_calls_run_is_sent_again(running: tuple[Shop, Caller, Place]) -> None:
    shop, caller, place = running
    edited(shop, 200)
    caller.do("auto.snapshot().id")
    place.wipe()
    assert shop.result(caller.send("add", 1, 1)) == 202
    for number in range(210, 213):
        edited(shop, number)
        task_id = caller.send("add", 1, 1)
        place.wipe()
        assert shop.result(task_id) == number + 2


def test_several_snapshots_are_sent_again_at_once(running: tuple[Shop, Caller, Place]) -> None:
    shop, caller, place = running
    send = "auto.live(lambda x: x + {}).apply_async((1,), countdown=2).id"
    ids = [caller.do(send.format(number)) for number in range(250, 254)]
    place.wipe()
    assert [shop.result(each) for each in ids] == [number + 1 for number in range(250, 254)]


def test_plan_shows_it_and_finds_the_workers_the_same(running: tuple[Shop, Caller, Place]) -> None:
    shop, caller, _ = running
    edited(shop, 300)
    assert shop.result(caller.send("add", 1, 1)) == 302
    plan = "__import__('autocelery._publish.planning')._publish.planning.plan(auto, 4)"
    told = caller.do(f"[each.what for each in {plan}.problems]")
    assert [each for each in told if "store" in each.lower()] == []
