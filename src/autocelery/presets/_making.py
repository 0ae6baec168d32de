"""A Celery app with the settings of production, for the frameworks that leave the making of it to the project."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from celery import Celery, signals

from autocelery._eager import make_eager_without_broker
from autocelery._publish.facade import Autocelery
from autocelery.errors import BrokerNotConfigured
from autocelery.presets._options import Options
from autocelery.presets._settings import Framework, compute


def make_app(
    framework: Framework, options: Options, own: Mapping[str, Any], debug: bool, **given: Any
) -> Celery:
    """Return the Celery app of a project, ready for live calls, and eager where there is no broker.

    Args:
        framework: what the framework knows.
        options: what the project told the preset.
        own: the project's own settings, by Celery's names; they win.
        debug: whether this is a machine for development, or a test.
        **given: of `celery.Celery`.

    Raises:
        ConfigurationError: a setting is malformed.
        BrokerNotConfigured: there is no broker, and this is neither.
    """
    app = Celery(framework.project, **given)
    if options.enable_celery:
        computed = compute(options, os.environ, framework, own)
        app.config_from_object({**own, **computed.values()})
        make_eager_without_broker(app, debug or _is_a_test())
    else:
        app.config_from_object(dict(own))
    Autocelery(app)
    signals.celeryd_init.connect(_refuse_worker, weak=False, dispatch_uid="autocelery-presets-worker")
    return app


def _is_a_test() -> bool:
    return "pytest" in sys.modules


def _refuse_worker(instance: Any = None, **_: Any) -> None:
    """End, at its start, a worker that nobody could send anything to; Celery would log an error and go on."""
    if hasattr(instance.app, "autocelery_eager"):
        raise SystemExit(
            str(
                BrokerNotConfigured(
                    "No broker is configured: tasks run in the processes that call them, and a worker has nothing to "
                    "do. Set CELERY_BROKER_URL, for instance to redis://localhost:6379/0, here and for those."
                )
            )
        )
