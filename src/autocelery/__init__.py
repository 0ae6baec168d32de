"""Celery on automatic: a running fleet runs the code that is in front of you.

app = Celery("proj", broker="redis://...", backend="redis://...")
auto = Autocelery(app)

add.live.delay(2, 2).get()      # this call runs the working tree as it is now
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocelery import errors
    from autocelery._model import Snapshot
    from autocelery._publish.facade import Autocelery
    from autocelery.errors import AutoceleryError

#: Where each name is.
_MODULES = {
    "Autocelery": "autocelery._publish.facade",
    "AutoceleryError": "autocelery.errors",
    "Snapshot": "autocelery._model",
}

__all__ = ["Autocelery", "AutoceleryError", "Snapshot", "errors"]


def load_ipython_extension(shell: Any) -> None:
    """Add ``%%live`` and ``%live`` to IPython or a notebook, for ``%load_ext autocelery``."""
    from autocelery._notebook import magics

    magics.load(shell)


def __getattr__(name: str) -> Any:
    """Import what is asked for: a host needs the errors only, and a probe not even those, which bring Celery along."""
    if name == "errors":
        return importlib.import_module("autocelery.errors")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return globals()[name]
