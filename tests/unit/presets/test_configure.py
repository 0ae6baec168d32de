"""`configure` in a settings module: what the project says before and after it, and the class that does the same."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from model_w.env_manager import AutoPreset, ComposePreset, EnvManager

from autocelery.errors import ConfigurationError
from autocelery.presets.django import CeleryPreset, _configuring, configure

REDIS = "redis://localhost:6379/0"


@pytest.fixture(autouse=True)
def a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each test begin as a process does: nothing was written, and the environment says one thing."""
    monkeypatch.setattr(_configuring, "_configured", None)
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REDIS_URL", REDIS)


def module(**own: Any) -> dict[str, Any]:
    return {
        "__name__": "shop.settings",
        "INSTALLED_APPS": ["shop.orders"],
        "TIME_ZONE": "Europe/Madrid",
        **own,
    }


def celerys(namespace: MutableMapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in namespace.items() if name.startswith("CELERY_")}


def test_a_project_that_says_nothing_gets_the_defaults_and_the_apps() -> None:
    namespace = module()
    configure(namespace)
    assert namespace["CELERY_BROKER_URL"] == REDIS
    assert namespace["CELERY_RESULT_BACKEND"] == "django-db"
    assert namespace["CELERY_TIMEZONE"] == "Europe/Madrid"
    assert namespace["INSTALLED_APPS"] == [
        "shop.orders",
        "autocelery.presets.django",
        "django_celery_results",
    ]
    cache = namespace["CACHES"]["django-cache"]
    assert (cache["LOCATION"], cache["KEY_PREFIX"]) == (REDIS, "shop:cache")
    assert "locmem" in namespace["CACHES"]["default"]["BACKEND"]


def test_a_second_call_changes_nothing() -> None:
    namespace = module()
    configure(namespace)
    once = {**namespace}
    configure(namespace)
    assert namespace == once


def test_what_stands_before_wins() -> None:
    namespace = module(CELERY_TASK_TIME_LIMIT=5, CELERY_TIMEZONE="UTC", CELERY_RESULT_BACKEND="rpc://")
    configure(namespace)
    assert (
        celerys(namespace).items()
        >= {
            "CELERY_TASK_TIME_LIMIT": 5,
            "CELERY_TIMEZONE": "UTC",
            "CELERY_RESULT_BACKEND": "rpc://",
        }.items()
    )
    assert "django_celery_results" not in namespace["INSTALLED_APPS"]


def test_a_project_that_has_its_own_cache_keeps_it() -> None:
    caches = {"default": {"BACKEND": "x"}, "django-cache": {"BACKEND": "y"}}
    namespace = module(CACHES=caches)
    configure(namespace)
    assert namespace["CACHES"] is caches


def test_turned_off_it_changes_nothing_at_all() -> None:
    namespace = module()
    configure(namespace, enable_celery=False)
    assert namespace == module()


def test_a_tuple_of_apps_stays_one_and_none_is_added_twice() -> None:
    namespace = module(INSTALLED_APPS=("django_celery_results",))
    configure(namespace)
    assert namespace["INSTALLED_APPS"] == ("django_celery_results", "autocelery.presets.django")


@pytest.mark.parametrize("how", ["pre and post", "around"])
def test_the_class_gives_the_same_settings_as_the_call(how: str) -> None:
    called, composed = module(), {"__name__": "shop.settings"}
    configure(called, time_limit=600)
    preset = CeleryPreset(time_limit=600)
    if how == "around":
        with preset.around(composed):
            composed.update(module())
    else:
        preset.pre(object(), composed)
        composed.update(module())
        preset.post(object(), composed)
    assert composed == called


def test_between_the_hooks_a_project_sees_settings_and_changes_them() -> None:
    namespace = module()
    with CeleryPreset().around(namespace):
        assert namespace["CELERY_TASK_TIME_LIMIT"] == 3600
        namespace["CELERY_BROKER_TRANSPORT_OPTIONS"]["visibility_timeout"] = 60
        namespace["CELERY_TASK_TIME_LIMIT"] = 30
    assert namespace["CELERY_BROKER_TRANSPORT_OPTIONS"]["visibility_timeout"] == 60
    assert namespace["CELERY_TASK_TIME_LIMIT"] == 30


class Shop(AutoPreset):
    """Somebody else's preset: it has the settings that others build on, and looks at them in the end."""

    seen: Any = None

    def pre_shop(self) -> Iterator[tuple[str, Any]]:
        """Say what every shop says."""
        yield from module(CELERY_TASK_TIME_LIMIT=30).items()

    def post_shop(self, context: MutableMapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """See what the others made of it."""
        self.seen = dict(context)
        yield from ()


def test_model_ws_env_manager_takes_it_among_its_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACK", "false")
    others, composed = Shop(), {"__name__": "shop.settings"}
    presets = ComposePreset(CeleryPreset(beat="database"), others)
    with EnvManager(presets, dotenv_path=False, locals_to_change=composed) as env:
        assert composed["CELERY_RESULT_BACKEND"] == "django-db"
        composed["CELERY_TASK_TRACK_STARTED"] = env.get("TRACK", is_yaml=True)
    called = module(CELERY_TASK_TIME_LIMIT=30, CELERY_TASK_TRACK_STARTED=False)
    configure(called, beat="database")
    assert composed == called
    assert others.seen == composed


def test_what_the_environment_lacks_is_model_ws_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_SECRET", raising=False)
    composed = module()
    with (
        pytest.raises(ImproperlyConfigured, match="SHOP_SECRET"),
        EnvManager(CeleryPreset(), dotenv_path=False, locals_to_change=composed) as env,
    ):
        env.get("SHOP_SECRET")


def test_a_settings_module_with_env_manager_needs_no_namespace() -> None:
    code = (
        "from model_w.env_manager import EnvManager\n"
        "from autocelery.presets.django import CeleryPreset\n"
        "with EnvManager(CeleryPreset(time_limit=600), dotenv_path=False):\n"
        "    INSTALLED_APPS = []\n"
        "    TIME_ZONE = 'Europe/Madrid'\n"
    )
    namespace: dict[str, Any] = {"__name__": "shop.settings"}
    exec(code, namespace)
    assert (namespace["CELERY_TASK_TIME_LIMIT"], namespace["CELERY_TIMEZONE"]) == (600, "Europe/Madrid")
    assert "autocelery.presets.django" in namespace["INSTALLED_APPS"]


def test_the_database_beat_brings_its_app_unless_its_schedule_is_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = "autocelery.presets.django.beat"
    namespace = module()
    configure(namespace, beat="database")
    assert namespace["CELERY_BEAT_SCHEDULER"] == "autocelery.beat:DatabaseScheduler"
    assert namespace["CELERY_BEAT_DATABASE_URL"] == "django-db"
    assert app in namespace["INSTALLED_APPS"]
    own = module(CELERY_BEAT_DATABASE_URL="sqlite:////beat")
    configure(own, beat="database")
    assert app not in own["INSTALLED_APPS"]
    monkeypatch.setenv("CELERY_BEAT_DATABASE_URL", "sqlite:////other")
    configure(own := module(), beat="database")
    assert own["CELERY_BEAT_DATABASE_URL"] == "sqlite:////other"
    assert app not in own["INSTALLED_APPS"]


def test_a_broker_that_is_set_between_the_hooks_takes_back_what_followed_from_the_other() -> None:
    namespace = module()
    with CeleryPreset().around(namespace):
        namespace["CELERY_BROKER_URL"] = "amqp://own//"
    assert "CELERY_BROKER_TRANSPORT_OPTIONS" not in namespace
    assert "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS" not in namespace


def test_settings_that_another_module_took_over_are_still_known_as_the_presets() -> None:
    base = module()
    configure(base)
    production = {**base, "__name__": "shop.settings.production", "CELERY_BROKER_URL": "amqp://own//"}
    configure(production, time_limit=60)
    assert production["CELERY_TASK_TIME_LIMIT"] == 60
    assert "CELERY_BROKER_TRANSPORT_OPTIONS" not in production


def test_what_is_no_namespace_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"configure\(globals\(\)\)"):
        configure("shop.settings")  # type: ignore[arg-type]


def test_a_celery_setting_that_is_wrong_is_named_as_django_names_it() -> None:
    with pytest.raises(ConfigurationError, match="CELERY_TIMEZONE is 'Mars/Base'"):
        configure(module(CELERY_TIMEZONE="Mars/Base"))
