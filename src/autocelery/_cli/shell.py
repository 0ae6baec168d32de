"""What the global options say, as the commands use it."""

from __future__ import annotations

import importlib.util
import logging
import os
import shlex
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autocelery.errors import AppNotFound

if TYPE_CHECKING:
    from autocelery import Autocelery

logger = logging.getLogger(__name__)

#: For every command that sends live calls, or plans them.
env_option = click.option(
    "--env",
    multiple=True,
    metavar="NAME",
    help="Take this environment variable along, encrypted to the workers; may be given several times.",
)


@dataclass(frozen=True, slots=True)
class Shell:
    """The global options; every command gets them as ``click``'s context object."""

    app: str | None = None
    broker: str | None = None
    workdir: str | None = None

    def find_app(self, leaving_out: Path | None = None) -> Any:
        """Return the Celery app that is meant, as Celery's own command would set it up.

        Args:
            leaving_out: a file that is not imported in search of it.

        Raises:
            AppNotFound: there is none, or it is not clear which.
        """
        from autocelery._cli.finding import find_app
        from autocelery._publish import naming

        self.prepare()
        found = find_app(self.app, leaving_out)
        name = self.app or naming.name_of(found.app) or found.name
        naming.remember_options(found.app, self._options(name))
        return found.app

    def auto(self) -> Autocelery:
        """Return the Autocelery of the app; an app without one gets it here, for the caller's side.

        Raises:
            AppNotFound: there is no app, or it is not clear which.
        """
        return _with_autocelery(self.find_app())

    def auto_for_script(self, script: Path) -> Autocelery | None:
        """Return the Autocelery of the app named with ``-A``; ``None`` where the script decides.

        An app that is found without ``-A`` gets its Autocelery, in case the script uses it.
        Django is set up, as Celery does before it imports tasks: the script does so itself.

        Raises:
            AppNotFound: ``-A`` names none, or Django cannot be set up for it.
        """
        if self.app:
            auto = self.auto()
            _set_django_up()
            return auto
        try:
            _with_autocelery(self.find_app(leaving_out=script))
            _set_django_up()
        except AppNotFound as error:
            logger.debug("no app but the script's own: %s", error)
        return None

    def _options(self, name: str) -> str:
        """Return what to write after ``celery`` or ``autocelery`` to get the same app again."""
        from autocelery._blobs.addresses import without_password

        broker = without_password(self.broker) if self.broker and "@" in self.broker else self.broker
        given = {"-A": name, "-b": broker, "--workdir": self.workdir}
        return " ".join(f"{option} {shlex.quote(value)}" for option, value in given.items() if value)

    def prepare(self) -> None:
        """Have this process, and those that it starts, use the broker and the folder that are named."""
        if self.broker:
            os.environ["CELERY_BROKER_URL"] = self.broker  # what `celery -b` does
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)  # as Celery does while it imports the app; lazy imports need it later


def taking_along(env: tuple[str, ...]) -> AbstractContextManager[None]:
    """Have the calls that are sent in this block take the variables ``env`` along.

    Raises:
        ConfigurationError: one is no name.
        VariableNotSet: one is not set here.
    """
    from autocelery import _config
    from autocelery._publish import variables

    variables.values_of(_config.variable_names(env, "--env"))  # before anything is sent
    return variables.naming(env)


def patience_with(app: Any) -> float:
    """Return the seconds that workers get to say that they are there: some transports poll once a second."""
    with app.connection_for_write() as connection:
        return 1.0 if connection.transport.implements.asynchronous else 4.0


def _with_autocelery(app: Any) -> Autocelery:
    from autocelery._publish.facade import for_app

    return for_app(app)


def _set_django_up() -> None:
    """Load the apps of a Django project; elsewhere do nothing.

    Raises:
        AppNotFound: its settings, or one of its apps, cannot be imported.
    """
    if not os.environ.get("DJANGO_SETTINGS_MODULE") or importlib.util.find_spec("django") is None:
        return
    import django

    from autocelery._publish import import_errors

    try:
        django.setup()
    except (Exception, SystemExit) as error:
        raise AppNotFound(import_errors.told("Django's settings and apps", error)) from error
