"""The schedule that the commands of ``autocelery beat`` are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocelery._beat.store import BeatStore
    from autocelery._cli.shell import Shell


def opened(shell: Shell) -> tuple[Any, BeatStore]:
    """Return the app, with the modules of its tasks imported, and the database with its schedule.

    Raises:
        AppNotFound: there is none, or it is not clear which.
        BeatNotConfigured: nothing says where the schedule is.
    """
    from autocelery._beat.opening import open_store
    from autocelery._publish import naming

    app = shell.find_app()
    naming.import_tasks(app)  # entries may be added where tasks are
    return app, open_store(app)
