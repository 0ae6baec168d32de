"""Celery on automatic: a running fleet runs the code that is in front of you.

app = Celery("proj", broker="redis://...", backend="redis://...")
auto = Autocelery(app)

add.live.delay(2, 2).get()      # this call runs the working tree as it is now
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autocelery import errors
from autocelery._model import Snapshot
from autocelery.errors import AutoceleryError

if TYPE_CHECKING:
    from autocelery._publish.facade import Autocelery

__all__ = ["Autocelery", "AutoceleryError", "Snapshot", "errors"]


def load_ipython_extension(shell: Any) -> None:
    """Add ``%%live`` and ``%live`` to IPython or a notebook, for ``%load_ext autocelery``."""
    from autocelery._notebook import magics

    magics.load(shell)


def __getattr__(name: str) -> Any:
    """Import the facade when it is asked for: a host, or the command line's ``--help``, needs the errors only."""
    if name != "Autocelery":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from autocelery._publish.facade import Autocelery

    globals()[name] = Autocelery
    return Autocelery
