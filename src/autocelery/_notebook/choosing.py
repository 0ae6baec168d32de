"""Which app a notebook means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from celery import Celery

from autocelery._publish.facade import Autocelery
from autocelery.errors import AppNotFound

_VARIABLES = ("AUTOCELERY_APP", "CELERY_APP")


def chosen(notebook: Mapping[str, Any], named: str | None) -> Autocelery:
    """Return the Autocelery of the app that is meant.

    Args:
        notebook: the notebook's names.
        named: one of them, or a module as for ``celery -A``; ``None``: the only one that the
            notebook has, else the one that ``AUTOCELERY_APP`` or ``CELERY_APP`` names.

    Raises:
        AppNotFound: there is none, or more than one.
    """
    if named is not None:
        return _of(notebook[named] if named in notebook else _imported(named), named)
    here = {id(auto.app): auto for each in notebook.values() if (auto := _autocelery(each)) is not None}
    if len(here) == 1:
        return next(iter(here.values()))
    given = next((os.environ[each] for each in _VARIABLES if os.environ.get(each)), None)
    if not here and given is not None:
        return _of(_imported(given), given)
    found = f"{len(here)} apps with autocelery" if here else "no app with autocelery"
    raise AppNotFound(
        f"The notebook has {found}. Import the one that is meant, as in: from proj.celery import auto; or name it: "
        "%%live -A proj"
    )


def _autocelery(value: object) -> Autocelery | None:
    found = value.__dict__.get("autocelery") if isinstance(value, Celery) else value
    return found if isinstance(found, Autocelery) else None


def _of(value: object, named: str) -> Autocelery:
    found = _autocelery(value)
    if found is not None:
        return found
    if isinstance(value, Celery):
        return Autocelery(value)
    raise AppNotFound(f"{named!r} is no Celery app and no Autocelery. Name one of them: %%live -A proj")


def _imported(named: str) -> Any:
    from celery.app.utils import find_app

    try:
        return find_app(named)
    except (ImportError, AttributeError) as exc:
        raise AppNotFound(
            f"{named!r} is neither a name of this notebook nor a module with a Celery app ({exc}). Name one of "
            "them: %%live -A proj"
        ) from exc
