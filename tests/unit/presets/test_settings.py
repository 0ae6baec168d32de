"""The settings that every preset computes: what wins, what follows from what, and what is refused."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from celery import Celery
from celery.app.defaults import DEFAULTS
from celery.backends.redis import RedisBackend
from kombu.transport import redis as kombu_redis

from autocelery._blobs import store_url_for
from autocelery.errors import ConfigurationError
from autocelery.presets._options import options_from
from autocelery.presets._settings import Framework, Setting, Settings, compute

SHARED = {"REDIS_URL": "redis://:hunter2@shared:6379/1"}


def settings(
    environ: Mapping[str, str] | None = None,
    own: Mapping[str, Any] | None = None,
    backend: str | None = None,
    **options: Any,
) -> Settings:
    framework = Framework(project="shop", result_backend=backend, settings={})
    return compute(options_from(options, "configure"), environ or {}, framework, own or {})


def named(found: Settings, name: str) -> Setting:
    return next(each for each in found.settings if each.name == name)


def test_the_shared_redis_gets_a_prefix_of_the_project_on_both_sides() -> None:
    values = settings(SHARED).values()
    assert values["broker_url"] == values["result_backend"] == SHARED["REDIS_URL"]
    assert values["broker_transport_options"]["global_keyprefix"] == "shop:celery:"
    assert values["result_backend_transport_options"] == {"global_keyprefix": "shop:celery:"}


def test_environment_and_prefix_make_the_keys_of_two_deployments_differ() -> None:
    staging = settings({**SHARED, "ENVIRONMENT": "staging"}).values()["broker_transport_options"]
    other = settings(SHARED, environment="live", prefix="boutique").values()["broker_transport_options"]
    assert staging["global_keyprefix"] == "staging:shop:celery:"
    assert other["global_keyprefix"] == "live:boutique:celery:"


@pytest.mark.parametrize(
    ("environ", "own", "broker"),
    [
        ({**SHARED, "CELERY_BROKER_URL": "redis://own/2"}, {}, "redis://own/2"),
        (SHARED, {"broker_url": "redis://own/2"}, "redis://own/2"),
        (SHARED, {"broker_url": "amqp://own//"}, "amqp://own//"),
        ({**SHARED, "CELERY_BROKER_URL": "redis://own/2"}, {"broker_url": "amqp://own//"}, "redis://own/2"),
    ],
)
def test_a_broker_of_the_projects_own_gets_no_prefix(
    environ: dict[str, str], own: dict[str, str], broker: str
) -> None:
    values = settings(environ, own, backend="django-db").values()
    assert values["broker_url"] == broker
    assert "global_keyprefix" not in values.get("broker_transport_options", {})
    assert "result_backend_transport_options" not in values


def test_a_prefix_that_was_asked_for_holds_for_a_broker_of_the_projects_own_too() -> None:
    values = settings({"CELERY_BROKER_URL": "redis://own/2"}, prefix="boutique").values()
    assert values["broker_transport_options"]["global_keyprefix"] == "boutique:celery:"


def test_results_in_another_redis_of_the_projects_own_get_no_prefix() -> None:
    values = settings({**SHARED, "CELERY_RESULT_BACKEND": "redis://own/2"}).values()
    assert "result_backend_transport_options" not in values


@pytest.mark.parametrize(
    ("environ", "own"),
    [
        ({"CELERY_BROKER_URL": "amqp://own//"}, {}),
        ({"CELERY_BROKER_URL": "redis://own/2"}, {}),
        ({}, {"broker_url": "amqp://own//"}),
    ],
)
def test_results_in_the_shared_redis_get_the_prefix_whatever_the_broker_is(
    environ: dict[str, str], own: dict[str, str]
) -> None:
    found = settings({**SHARED, **environ, "ENVIRONMENT": "staging"}, own)
    assert found.values()["result_backend_transport_options"] == {"global_keyprefix": "staging:shop:celery:"}
    assert "global_keyprefix" not in found.values().get("broker_transport_options", {})


def test_a_prefix_that_was_asked_for_holds_for_results_of_the_projects_own_too() -> None:
    own = {"CELERY_BROKER_URL": "redis://own/2", "CELERY_RESULT_BACKEND": "redis://own/2"}
    values = settings(own, prefix="ovens").values()
    assert values["result_backend_transport_options"] == {"global_keyprefix": "ovens:celery:"}
    assert values["broker_transport_options"]["global_keyprefix"] == "ovens:celery:"
    assert "result_backend_transport_options" not in settings(own).values()


def test_blobs_beside_results_in_the_shared_redis_have_their_prefix_too() -> None:
    app = Celery(set_as_current=False)
    app.config_from_object(settings({**SHARED, "CELERY_BROKER_URL": "amqp://own//"}).values())
    assert parse_qsl(urlsplit(store_url_for(app)).query) == [("autocelery_prefix", "shop:celery:autocelery:")]


def test_what_the_project_says_wins_and_of_a_mapping_key_by_key() -> None:
    own = {
        "task_time_limit": 5,
        "accept_content": ["yaml"],
        "broker_transport_options": {"visibility_timeout": 99},
    }
    found = settings(SHARED, own)
    assert {name: found.values()[name] for name in ("task_time_limit", "accept_content")} == {
        "task_time_limit": 5,
        "accept_content": ["yaml"],
    }
    assert named(found, "task_time_limit").origin == "project"
    options = found.values()["broker_transport_options"]
    assert (options["visibility_timeout"], options["global_keyprefix"]) == (99, "shop:celery:")


def test_each_value_says_where_it_came_from() -> None:
    found = settings({**SHARED, "CELERY_RESULT_BACKEND": "rpc://"}, {"timezone": "UTC"}, time_limit=600)
    said = {each.name: (each.origin, each.where) for each in found.settings}
    assert said["broker_url"] == ("environment", "REDIS_URL")
    assert said["result_backend"] == ("environment", "CELERY_RESULT_BACKEND")
    assert said["task_time_limit"] == said["task_soft_time_limit"] == ("option", "time_limit=")
    assert said["timezone"] == ("project", "")
    assert said["task_serializer"] == ("preset", "")


def test_every_setting_has_its_reason() -> None:
    found = settings(SHARED, backend=None)
    assert [each.name for each in found.settings if not each.reason] == []


@pytest.mark.parametrize(("hard", "soft"), [(3600, 3540), (600, 540), (10, 9), (0.5, 0.45)])
def test_the_soft_limit_is_before_the_hard_one(hard: float, soft: float) -> None:
    assert settings(time_limit=hard).values()["task_soft_time_limit"] == soft


def test_a_message_may_wait_behind_a_task_and_run_as_long_before_it_is_delivered_again() -> None:
    def seconds(limit: int) -> Any:
        return settings(SHARED, time_limit=limit).values()["broker_transport_options"]["visibility_timeout"]

    assert [seconds(limit) for limit in (60, 3600, 7200)] == [3600, 7200, 14400]


@pytest.mark.parametrize(
    ("own", "soft", "visible"),
    [({"task_time_limit": 60}, 54, 3600), ({"task_time_limit": 36_000}, 35_940, 72_000)],
)
def test_what_depends_on_the_time_limit_follows_the_one_of_the_project(
    own: dict[str, Any], soft: float, visible: float
) -> None:
    found = settings(SHARED, own, time_limit=600)
    assert named(found, "task_soft_time_limit").value == soft
    assert named(found, "task_soft_time_limit").where == "from task_time_limit"
    assert found.values()["broker_transport_options"]["visibility_timeout"] == visible
    assert settings(SHARED, {**own, "task_soft_time_limit": 5}).values()["task_soft_time_limit"] == 5
    assert settings(SHARED, own, soft_time_limit=50).values()["task_soft_time_limit"] == 50


def test_an_own_time_limit_below_the_soft_one_of_the_options_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="soft_time_limit=90 is not below time_limit=60"):
        settings(own={"task_time_limit": 60}, soft_time_limit=90)


def test_a_project_that_sets_no_time_limit_has_the_soft_one_of_the_preset() -> None:
    assert settings(own={"task_time_limit": 0}).values()["task_soft_time_limit"] == 3540


def test_kombu_and_celery_read_every_name_that_is_set() -> None:
    values = settings(SHARED).values()
    assert set(values["broker_transport_options"]) <= set(kombu_redis.Channel.from_transport_options)
    read_by_results = inspect.getsource(RedisBackend.__init__)
    assert [name for name in values if name not in DEFAULTS and f"'{name}'" not in read_by_results] == []


def test_without_a_broker_there_is_none_and_nothing_of_one() -> None:
    found = settings(backend="django-db")
    assert found.broker is None
    assert [name for name in found.values() if name.startswith("broker_")] == [
        "broker_connection_retry_on_startup"
    ]


def test_a_unix_socket_and_tls_are_written_as_celery_takes_them() -> None:
    assert settings({"REDIS_URL": "unix:///run/redis.sock"}).values()["broker_url"] == (
        "redis+socket:///run/redis.sock"
    )
    secure = settings({"REDIS_URL": "rediss://host:6380/0"}).values()["result_backend"]
    assert secure == "rediss://host:6380/0?ssl_cert_reqs=required"
    app = Celery(backend=secure, set_as_current=False)
    assert app.backend.connparams["host"] == "host"


@pytest.mark.parametrize(
    "url",
    ["localhost:6379", "http://host", "redis://:hunter2@host:port/0", "redis://host/first", "redis://[host"],
)
def test_a_malformed_redis_url_is_named_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"REDIS_URL.*Set REDIS_URL as in") as raised:
        settings({"REDIS_URL": url})
    assert "hunter2" not in raised.value.message


@pytest.mark.parametrize(
    ("environ", "own", "names"),
    [
        ({"CELERY_BROKER_URL": "localhost"}, {}, "CELERY_BROKER_URL is no URL"),
        ({"CELERY_BROKER_URL": "rabbit://host"}, {}, "CELERY_BROKER_URL has the scheme 'rabbit'"),
        ({}, {"broker_url": "rabbit://host"}, "broker_url has the scheme 'rabbit'"),
        ({}, {"timezone": "Mars/Base"}, "timezone is 'Mars/Base'"),
    ],
)
def test_a_malformed_setting_is_named(environ: dict[str, str], own: dict[str, str], names: str) -> None:
    with pytest.raises(ConfigurationError, match=names):
        settings(environ, own)


@pytest.mark.parametrize(
    "url", ["memory://", "amqp://a//;amqp://b//", "sqs://", "redis+socket:///x", "pyamqp://"]
)
def test_brokers_that_kombu_knows_are_taken(url: str) -> None:
    assert settings({"CELERY_BROKER_URL": url}).values()["broker_url"] == url


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"time_limt": 5}, "Did you mean time_limit"),
        ({"time_limit": 0}, "time_limit=0"),
        ({"time_limit": True}, "time_limit=True"),
        ({"time_limit": 5, "soft_time_limit": 5}, "not below time_limit=5"),
        ({"timezone": "Mars/Base"}, "timezone is 'Mars/Base'"),
        ({"beat": "redis"}, "neither 'plain' nor 'database'"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        settings(**options)
