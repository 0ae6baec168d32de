"""A broker that is not there: however a live call is sent, it says so in the same words; a deployed one as before."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, group
from kombu.exceptions import OperationalError

from autocelery import Autocelery
from autocelery._publish.running import run_script
from autocelery.errors import BrokerUnavailable

_TASKS = """
from celery import Celery
app = Celery("{module}", broker={broker!r}, backend={backend!r}, set_as_current=False)
app.conf.task_publish_retry = False
app.conf.broker_transport_options = {{"max_retries": 1, "interval_start": 0, "interval_step": 0}}
@app.task(shared=False)
def add(x, y=1):
    return x + y
"""
_BROKERS = {"redis": ("redis://localhost:1/0", None), "amqp": ("amqp://localhost:1//", "rpc://")}


@pytest.fixture(params=_BROKERS)
def module(
    request: pytest.FixtureRequest, tmp_path: Path, autocelery_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A module whose app has a broker that is not there, and a store that is."""
    broker, backend = _BROKERS[request.param]
    monkeypatch.setenv("AUTOCELERY_STORE", str(tmp_path / "blobs"))
    path = tmp_path / "project" / f"down_{request.param}.py"
    path.parent.mkdir()
    path.write_text(_TASKS.format(module=path.stem, broker=broker, backend=backend))
    return path


@pytest.fixture
def auto(module: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Autocelery]:
    monkeypatch.syspath_prepend(module.parent)
    yield Autocelery(importlib.import_module(module.stem).app, top=module.parent)
    del sys.modules[module.stem]


@pytest.fixture
def add(auto: Autocelery) -> Any:
    return auto.app.tasks[f"{auto.app.main}.add"]


def in_a_block(auto: Autocelery, add: Any) -> object:
    with auto.live():
        return add.delay(1, 1)


WAYS: dict[str, Callable[[Autocelery, Any], object]] = {
    "delay": lambda auto, add: add.live.delay(1, 1),
    "apply_async": lambda auto, add: add.live.apply_async((1, 1), headers={"own": "header"}),
    "signature": lambda auto, add: add.live.s(1, 1).delay(),
    "function": lambda auto, add: auto.live(lambda: 1).delay(),
    "block": in_a_block,
    "group": lambda auto, add: group(add.live.s(1, 1), add.live.s(2, 2))(),
    "chain": lambda auto, add: chain(add.live.s(1, 1), add.live.s(2))(),
    "map": lambda auto, add: list(auto.map(add, [1, 2])),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_live_call_names_the_broker_and_the_mend(auto: Autocelery, add: Any, way: str) -> None:
    wanted = r"localhost:1.* cannot be reached .* no message was sent.* broker_url"
    with pytest.raises(BrokerUnavailable, match=wanted) as error:
        WAYS[way](auto, add)
    assert isinstance(error.value, OperationalError)  # what callers of delay() catch already


def test_a_deployed_call_raises_what_celery_raises(add: Any) -> None:
    with pytest.raises(OperationalError) as error:
        add.delay(1, 1)
    assert type(error.value) is OperationalError


def test_a_script_whose_app_knows_nothing_of_autocelery_hears_it_too(module: Path) -> None:
    module.write_text(f"{module.read_text()}\nadd.delay(1, 1)\n")
    with pytest.raises(BrokerUnavailable, match="no message was sent"):
        run_script(None, module, [])
