"""All that the rules look at; each part is collected when a rule first asks for it, and once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from celery import Celery

from autocelery._doctor.deployment import Command, commands_in, commands_running
from autocelery._doctor.services.broker import Broker, BrokerView
from autocelery._doctor.services.workers import Fleet, ask
from autocelery._doctor.settings import Settings
from autocelery._doctor.source.index import Source, shown
from autocelery._doctor.source.registry import RegisteredTask, registered_tasks
from autocelery._publish.locating import module_of, start_for

#: Distributions that `celery report` names, and that have bugs of their own.
_DISTRIBUTIONS = (
    "celery",
    "kombu",
    "billiard",
    "redis",
    "amqp",
    "django-celery-beat",
    "django-celery-results",
)


class Evidence:
    """An app as the rules see it.

    Args:
        app: is finalized, with its tasks imported.
        offline: nothing is asked of the broker, the workers and the processes of this machine.
        timeout: seconds that workers have to answer.
        watch: seconds for which the workers' events are listened to.
    """

    def __init__(
        self, app: Celery, *, offline: bool = False, timeout: float = 1.0, watch: float = 0.0
    ) -> None:
        self.app = app
        self.offline = offline
        self.timeout = timeout
        self.watch = watch
        self.folder = Path(start_for(app)).resolve()

    @cached_property
    def source(self) -> Source:
        """The project's own Python files."""
        return Source.read(self.folder)

    @cached_property
    def app_file(self) -> str:
        """The file that makes the app, or the one that it is imported from."""
        home = self.settings.configuration.home
        found = module_of(self.app)
        file = getattr(found[0], "__file__", None) if found is not None else None
        return home.shown if home is not None else shown(Path(file or self.folder / "pyproject.toml"))

    @cached_property
    def settings(self) -> Settings:
        """What is set, and where."""
        return Settings(self.app, self.source)

    @cached_property
    def tasks(self) -> tuple[RegisteredTask, ...]:
        """The project's tasks as they are registered, each with its code where that was found."""
        return registered_tasks(self.app, self.source)

    @cached_property
    def broker(self) -> Broker:
        """Which kind of broker the settings name, whether or not it may be asked."""
        return Broker.of(self.app)

    @cached_property
    def broker_view(self) -> BrokerView | None:
        """What the broker says; ``None`` when it is not to be asked, or there is none."""
        if self.offline or self.is_eager:
            return None
        return BrokerView.take(self.app, self.broker)

    @cached_property
    def fleet(self) -> Fleet:
        """The workers that answered; none when they are not to be asked, or the broker is away."""
        if self.broker_view is None or self.broker_view.problem:
            return Fleet()
        return ask(self.app, self.timeout, self.watch)

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """What is installed here."""
        found = {}
        for name in _DISTRIBUTIONS:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return found

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """The Celery commands in the project's deployment files."""
        return commands_in(self.folder)

    @cached_property
    def running(self) -> tuple[Command, ...]:
        """The Celery commands of this app that run on this machine."""
        return () if self.offline else commands_running(self.app)

    @cached_property
    def is_eager(self) -> bool:
        """Whether the app runs its tasks in the calling process, because no broker is configured."""
        return getattr(self.app, "autocelery_eager", None) is not None

    @cached_property
    def django_zone(self) -> str:
        """Django's TIME_ZONE where Django is set up; empty where it is not."""
        settings = getattr(sys.modules.get("django.conf"), "settings", None)
        return str(settings.TIME_ZONE) if settings is not None and settings.configured else ""

    @cached_property
    def beat_schedule(self) -> Mapping[str, Mapping[str, Any]]:
        """The periodic tasks, by their names."""
        found = self.app.conf.beat_schedule
        entries = found.items() if isinstance(found, Mapping) else ()
        return {str(name): dict(entry) for name, entry in entries if isinstance(entry, Mapping)}
