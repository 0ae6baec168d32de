"""Celery in a Flask app: where its settings come from, and what its tasks run in."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from celery import Celery, _state, shared_task
from flask import Flask, current_app, g
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from autocelery.errors import ArgumentNotSerializable, BrokerNotConfigured, ConfigurationError
from autocelery.presets.flask import Autocelery, init_app


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No broker is named by who runs the tests, and Celery's current app is as it was afterwards."""
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "REDIS_URL", "ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    before = _state.default_app
    yield
    _state.set_default_app(before)


def flask_app(**config: Any) -> Flask:
    app = Flask("shop")
    app.config.update(config)
    return app


def test_the_mapping_and_the_keys_are_celerys_settings_and_win() -> None:
    app = flask_app(
        CELERY={"task_ignore_result": True, "task_time_limit": 5},
        CELERY_BROKER_URL="redis://broker",
        CELERY_TIMEZONE="Europe/Madrid",
    )
    celery = init_app(app)
    assert app.extensions["celery"] is celery
    conf = celery.conf
    assert (conf.task_ignore_result, conf.task_time_limit) == (True, 5)
    assert (conf.broker_url, conf.timezone) == ("redis://broker", "Europe/Madrid")
    assert (conf.task_track_started, conf.accept_content) == (True, ["json"])


def test_the_environment_and_the_options_are_those_of_every_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://shared")
    monkeypatch.setenv("ENVIRONMENT", "staging")
    celery = init_app(flask_app(), time_limit=600, prefix="bakery")
    assert celery.conf.broker_url == celery.conf.result_backend == "redis://shared"
    assert celery.conf.broker_transport_options["global_keyprefix"] == "staging:bakery:celery:"
    assert (celery.conf.task_time_limit, celery.conf.task_soft_time_limit) == (600, 540)


def test_the_prefix_is_the_package_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://shared")
    options = init_app(Flask("shop")).conf.broker_transport_options
    assert options["global_keyprefix"] == "shop:celery:"


def test_a_setting_that_is_there_twice_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="CELERY_TASK_TIME_LIMIT"):
        init_app(flask_app(CELERY={"task_time_limit": 5}, CELERY_TASK_TIME_LIMIT=6))


def test_a_mapping_that_is_none_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="CELERY is list"):
        init_app(flask_app(CELERY=["task_time_limit"]))


def test_an_option_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean time_limit"):
        init_app(flask_app(), time_limits=3)


def test_every_task_runs_in_a_context_of_its_own() -> None:
    app = flask_app(TAX=0.25, TESTING=True)
    init_app(app)

    @shared_task(name="taxed")
    def taxed() -> Any:
        g.seen = getattr(g, "seen", 0) + 1
        return [current_app.config["TAX"], g.seen]

    with app.app_context():
        g.seen = 41
        assert taxed.delay().get() == [0.25, 1]
        assert g.seen == 41
    assert taxed.live.delay().get() == [0.25, 1]


class Orders(DeclarativeBase):
    """The tables of a shop."""


class Order(Orders):
    """A row, as Flask-SQLAlchemy's models are."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.mark.parametrize("broker", ["memory://", None])
def test_a_row_is_no_argument_and_what_json_carries_is(broker: str | None) -> None:
    app = flask_app(TESTING=True, **({"CELERY_BROKER_URL": broker} if broker else {}))
    celery = init_app(app)

    @celery.task(name="invoice", shared=False)
    def invoice(order: Any, at: Any = None) -> str:
        return str(order)

    with pytest.raises(ArgumentNotSerializable, match=r"order is an Order.*session\.get\(Order, key\)"):
        invoice.delay(Order())
    with pytest.raises(ArgumentNotSerializable, match=r"at\['days'\] is a set.*sorted"):
        invoice.apply_async((1,), {"at": {"days": {1, 2}}})
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        invoice.delay()
    sent = invoice.delay(Decimal("1.5"), at=datetime.date(2026, 1, 31))
    assert broker or sent.get() == "1.5"


def test_the_extension_is_made_once_and_given_to_each_app() -> None:
    celery = Autocelery(time_limit=600)
    first, second = flask_app(TESTING=True), flask_app(TESTING=True, CELERY_TASK_TIME_LIMIT=7)
    for app in (first, second):
        celery.init_app(app)
    assert first.extensions["celery"] is not second.extensions["celery"]
    assert first.extensions["celery"].conf.task_time_limit == 600
    assert second.extensions["celery"].conf.task_time_limit == 7
    assert celery.init_app(first) is first.extensions["celery"]


def test_turned_off_it_is_celery_with_the_projects_settings_alone() -> None:
    celery = init_app(flask_app(CELERY={"broker_url": "memory://"}), enable_celery=False)
    assert isinstance(celery, Celery)
    assert celery.conf.broker_url == "memory://"
    assert celery.conf.task_track_started is False


def outside_of_a_test(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_without_a_broker_it_needs_debug() -> None:
    code = "from flask import Flask; from autocelery.presets.flask import init_app; app = Flask('shop'); {}"
    refused = outside_of_a_test(code.format("init_app(app)"))
    assert BrokerNotConfigured.__name__ in refused
    assert "CELERY_BROKER_URL" in refused
    said = outside_of_a_test(code.format("app.debug = True; init_app(app)"))
    assert said.strip() == (
        "No broker: tasks of shop run in this process, at once. Set CELERY_BROKER_URL=redis://... for workers."
    )


def test_a_worker_without_a_broker_is_told_so() -> None:
    code = (
        "from flask import Flask; from autocelery.presets.flask import init_app; app = Flask('shop');"
        "app.debug = True; init_app(app).worker_main(['worker', '-P', 'solo'])"
    )
    said = outside_of_a_test(code)
    assert "a worker has nothing to do" in said
    assert "Traceback" not in said
