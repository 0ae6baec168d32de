"""What is public is a short list, and this is it."""

from __future__ import annotations

import subprocess
import sys

import autocelery
from autocelery import errors
from autocelery._publish.calling import LiveCall


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def test_the_package_exports_the_facade_the_snapshot_and_the_errors() -> None:
    assert set(autocelery.__all__) == {"Autocelery", "AutoceleryError", "Snapshot", "errors"}
    assert all(hasattr(autocelery, name) for name in autocelery.__all__)


def test_an_autocelery_has_these_names() -> None:
    assert public(autocelery.Autocelery) == {
        "found",
        "listener",
        "live",
        "map",
        "shipper",
        "snapshot",
        "source",
        "stream",
        "using",
        "wait",
    }


def test_a_live_call_has_the_names_of_a_task() -> None:
    assert public(LiveCall) == {
        "apply",
        "apply_async",
        "chunks",
        "delay",
        "map",
        "name",
        "pinned",
        "s",
        "si",
        "signature",
        "starmap",
        "subtask",
    }


def test_every_error_is_listed_has_one_root_and_survives_pickle_and_celerys_json() -> None:
    import pickle

    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert defined == set(errors.__all__)
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, errors.AutoceleryError)
        raised = kind("what happened; what to do")
        again = pickle.loads(pickle.dumps(raised))
        assert (type(again), again.message) == (kind, "what happened; what to do")
        assert (type(kind(*raised.args)), str(kind(*raised.args))) == (kind, "what happened; what to do")


def test_the_package_alone_imports_neither_cryptography_nor_a_store() -> None:
    code = "import sys, autocelery; print([m for m in ('cryptography', 'redis', 'rich', 'click') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cryptography" not in done.stdout
    assert "redis" not in done.stdout
    assert "rich" not in done.stdout
