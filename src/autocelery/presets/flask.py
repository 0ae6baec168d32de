"""Celery in a Flask project: `init_app`, or the extension `Autocelery`.

It follows Flask's own pattern for Celery: the Celery app is
``app.extensions["celery"]``, settings are the mapping ``CELERY`` and the keys
``CELERY_*`` of the configuration, and every task runs in an app context.

Example (``make_celery.py``, for ``celery -A make_celery worker``)::

    flask_app = create_app()
    celery_app = flask_app.extensions["celery"]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery

from autocelery.errors import ConfigurationError
from autocelery.presets._making import make_app
from autocelery.presets._options import options_from
from autocelery.presets._settings import Framework
from autocelery.presets._tasks import CheckedTask

try:
    from flask import Flask
except ModuleNotFoundError as exc:
    raise ConfigurationError(
        "autocelery.presets.flask needs Flask, which is not installed. Run: pip install autocelery[flask]"
    ) from exc

__all__ = ["Autocelery", "init_app"]

_PREFIX = "CELERY_"


def init_app(app: Flask, **options: Any) -> Celery:
    """Give a Flask app its Celery app, as ``app.extensions["celery"]``.

    Without a broker, tasks run in the calling process where ``app.debug`` or
    ``app.testing`` is on, or pytest runs.

    Args:
        app: the Flask app, with its configuration loaded.
        **options: of `autocelery.presets`: ``time_limit``, ``prefix``, ``broker_url`` and so on.

    Raises:
        ConfigurationError: an option is not known, or a setting is malformed.
        BrokerNotConfigured: there is no broker, and this is no machine for development.

    Example:
        >>> app = Flask("shop")
        >>> celery_app = init_app(app, time_limit=600, broker_url="redis://")
        >>> celery_app.conf.task_time_limit
        600
    """
    existing: Celery | None = app.extensions.get("celery")
    if existing is not None:
        return existing
    framework = Framework(project=_name_of(app), settings={}, namespace=_PREFIX)
    made = make_app(
        framework,
        options_from(options, "init_app"),
        own_settings(app.config),
        debug=app.debug or app.testing,
        task_cls=_task_in_context_of(app),
    )
    made.set_default()
    app.extensions["celery"] = made
    return made


class Autocelery:
    """The same as an extension of Flask's kind: made once, given to each app.

    Args:
        app: the app, or later by `init_app`.
        **options: as of `init_app`.

    Example:
        >>> celery = Autocelery(time_limit=600)
        >>> def create_app():
        ...     app = Flask("shop")
        ...     app.config["CELERY_BROKER_URL"] = "redis://"
        ...     celery.init_app(app)
        ...     return app
        >>> create_app().extensions["celery"].conf.task_time_limit
        600
    """

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, **options: Any) -> Celery:
        """Give ``app`` its Celery app; see `init_app` of this module."""
        return init_app(app, **{**self._options, **options})


def own_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the project's own settings by Celery's names: the mapping ``CELERY``, and ``CELERY_*``.

    Raises:
        ConfigurationError: ``CELERY`` is no mapping, or both have a setting, with different values.
    """
    mapping = config.get("CELERY") or {}
    if not isinstance(mapping, Mapping):
        raise ConfigurationError(
            f"CELERY is {type(mapping).__name__} and no mapping. Write CELERY = {{'task_ignore_result': True}}, with "
            "Celery's names in small letters, or CELERY_TASK_IGNORE_RESULT = True."
        )
    own = {str(name): value for name, value in mapping.items()}
    for key, value in config.items():
        if not key.startswith(_PREFIX):
            continue
        name = key.removeprefix(_PREFIX).lower()
        if name in own and own[name] != value:
            raise ConfigurationError(
                f"{name} is set twice, differently: in CELERY and as {key}. Keep one of them."
            )
        own[name] = value
    return own


def _name_of(app: Flask) -> str:
    name = app.import_name.partition(".")[0]
    return Path(app.root_path).name if name == "__main__" else name


def _task_in_context_of(app: Flask) -> type[CheckedTask]:
    class FlaskTask(CheckedTask):
        """A task that runs in a context of its own of the Flask app, as a request does."""

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            with app.app_context():
                return self.run(*args, **kwargs)

    return FlaskTask
