"""SQLite in live calls: data stays where the worker has it, though the code runs in a folder of its own.

A settings module says ``BASE_DIR / "db.sqlite3"``. In a host that is a file
beside the code that was sent: it would be empty, and gone with it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from django.conf import settings

from autocelery_host import current_snapshot

#: Where a worker's databases in files are, by alias; set for the hosts that it starts.
VARIABLE = "AUTOCELERY_DJANGO_SQLITE"


def tell_hosts() -> None:
    """Say, to whatever this worker starts, where its databases in files are."""
    files = {
        alias: str(Path(each["NAME"]).absolute())
        for alias, each in settings.DATABASES.items()
        if _is_file(each)
    }
    os.environ[VARIABLE] = json.dumps(files)


def use_files_of_worker() -> None:
    """In a host, take the worker's files for the databases of the same alias; elsewhere nothing."""
    if current_snapshot() is None:
        return
    for alias, path in json.loads(os.environ.get(VARIABLE, "{}")).items():
        here = settings.DATABASES.get(alias, {})
        if _is_file(here):
            here["NAME"] = path


def _is_file(database: dict[str, object]) -> bool:
    name = str(database.get("NAME") or "")
    in_memory = ":memory:" in name or name.startswith("file:")
    return str(database.get("ENGINE", "")).endswith("sqlite3") and bool(name) and not in_memory
