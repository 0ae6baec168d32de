"""Defects of settings, keys, stores, brokers and workers."""

from __future__ import annotations

from benchmarks.defects.seeding import Defect, Seeding


def _other_store(project: Seeding) -> None:
    store = project.folder / "store"
    store.mkdir()
    project.environment["AUTOCELERY_STORE"] = str(store)


def _nothing(project: Seeding) -> None:
    """The fleet is the defect."""


def _untrusted(project: Seeding) -> None:
    project.environment["AUTOCELERY_HOME"] = str(project.folder / "home")


def _revoked(project: Seeding) -> None:
    project.write("proj/version.py", "VERSION = 'revoked'\n")
    project.run("call", "--detach", "proj.tasks.price", "2")
    listed = project.run("snapshots", "list").stdout
    project.run("snapshots", "revoke", listed.splitlines()[1].split()[0])


def _nobody_listens(project: Seeding) -> None:
    project.settings["task_routes"] = {"proj.tasks.price": {"queue": "gpu"}}


def _no_backend(project: Seeding) -> None:
    project.settings["result_backend"] = None


def _variable(project: Seeding) -> None:
    project.environment["PRICES_TOKEN"] = "here only"
    project.task('import os\nreturn len(os.environ["PRICES_TOKEN"])')


DEFECTS = (
    Defect("another store than the workers'", _other_store, ("would look for code in", "AUTOCELERY_STORE")),
    Defect("no worker", _nothing, ("No worker answers", "celery -A proj worker"), fleet="nobody"),
    Defect("a worker without autocelery", _nothing, ("live task", "Autocelery(app)"), fleet="bare"),
    Defect("a key that the workers do not trust", _untrusted, ("does not trust", "keys trust")),
    Defect("a tree that was revoked", _revoked, ("was revoked",)),
    Defect("a queue to which nobody listens", _nobody_listens, ("gpu", "proj.tasks.price")),
    Defect("no result backend", _no_backend, ("result backend", "result_backend"), "warning"),
    Defect(
        "a variable that the workers do not have", _variable, ("PRICES_TOKEN", "proj/tasks.py"), "warning"
    ),
)
