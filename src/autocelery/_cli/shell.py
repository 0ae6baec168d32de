"""What the global options say, as the commands use it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Shell:
    """The global options; every command gets them as ``click``'s context object."""

    app: str | None = None
    broker: str | None = None
    debug: bool = False

    def find_app(self) -> Any:
        """Return the Celery app that is meant, as Celery's own command would set it up.

        Raises:
            AppNotFound: there is none, or it is not clear which.
        """
        from autocelery._cli.finding import find_app

        if self.broker:
            os.environ["CELERY_BROKER_URL"] = self.broker  # what `celery -b` does
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)  # as Celery does while it imports the app; lazy imports need it later
        return find_app(self.app)
