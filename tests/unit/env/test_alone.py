"""What an environment that stands alone is made of, and which are refused."""

from __future__ import annotations

import pytest
from celery import Celery

from autocelery._env.alone import why_impossible
from autocelery._env.comparing import environment_id
from autocelery._env.interpreters import Interpreter, own_interpreter
from autocelery._env.pins import FAMILY
from autocelery._model import Lock, Pin
from autocelery._publish.transports import transports_of
from autocelery._snapshot import lock as locks
from autocelery.errors import SnapshotInvalid
from tests.wheels import runtime_pins

COMPLETE = tuple(Pin(name, "5.6") for name in ("amqp", "billiard", "celery", "kombu", "vine"))


def test_the_runtime_is_celery_and_what_autocelery_needs_without_itself() -> None:
    names = {pin.name for pin in runtime_pins("redis")}
    assert {*FAMILY, "cloudpickle", "cryptography", "redis"} - {"autocelery"} <= names
    assert "autocelery" not in names
    assert why_impossible(runtime_pins()) == ""


@pytest.mark.parametrize("version", ["5.3.6", "5.8.0", "6.0"])
def test_a_celery_that_hosts_do_not_run_with_is_impossible(version: str) -> None:
    pins = [*(pin for pin in COMPLETE if pin.name != "celery"), Pin("celery", version)]
    assert f"brings Celery {version}" in why_impossible(pins)


def test_without_all_of_celery_it_is_impossible() -> None:
    assert "billiard" in why_impossible([pin for pin in COMPLETE if pin.name != "billiard"])


def test_what_the_code_needs_goes_before_what_celery_needs() -> None:
    lock = Lock((Pin("click", "8.0"),), runtime=(Pin("celery", "5.6.0"), Pin("click", "8.3")))
    assert lock.complete == (Pin("celery", "5.6.0"), Pin("click", "8.0"))


def test_a_lock_comes_back_as_it_was() -> None:
    lock = Lock((Pin("click", "8.0"),), is_alone=True, runtime=COMPLETE)
    assert locks.decode(locks.encode(lock)) == lock


def test_a_runtime_that_is_none_is_refused() -> None:
    raw = locks.encode(Lock(runtime=(Pin("celery", "5.6.0"),)))
    for broken in (raw.replace(b'"celery"', b'"../x"'), raw.replace(b'"runtime":[[', b'"other":[[')):
        with pytest.raises(SnapshotInvalid):
            locks.decode(broken)


def test_an_environment_that_stands_alone_is_another_one_for_each_interpreter() -> None:
    older, newer = Interpreter("/usr/bin/python3.12", "3.12.1"), Interpreter("/usr/bin/python3.12", "3.12.9")
    names = {environment_id(COMPLETE, each) for each in (None, own_interpreter(), older, newer)}
    assert len(names) == 4


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"broker_url": "redis://h/0"}, {"redis"}),
        ({"broker_url": "rediss://h/0;rediss://other/0"}, {"redis"}),
        ({"broker_url": "sqs://"}, {"boto3"}),
        ({"broker_url": "amqp://", "result_backend": "db+sqlite://"}, {"sqlalchemy"}),
        ({"broker_url": "amqp://", "task_serializer": "msgpack"}, {"msgpack"}),
    ],
)
def test_transport_backend_and_serializers_bring_their_packages(
    settings: dict[str, str], wanted: set[str]
) -> None:
    app = Celery("app", set_as_current=False)
    app.conf.update(settings)
    assert wanted <= transports_of(app)
    assert {"redis", "boto3", "sqlalchemy", "msgpack"} & transports_of(app) == wanted
