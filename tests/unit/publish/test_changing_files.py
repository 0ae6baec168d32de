"""Files that another program writes to while a snapshot is made of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery

from autocelery import Autocelery
from autocelery._publish import shipping
from autocelery._snapshot.chunking import WHOLE_MAX
from autocelery.errors import FileKeepsChanging


@pytest.fixture
def auto(tmp_path: Path, autocelery_home: Path, monkeypatch: pytest.MonkeyPatch) -> Autocelery:
    monkeypatch.setenv("AUTOCELERY_STORE", str(tmp_path / "blobs"))
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "tasks.py").write_text("")
    return Autocelery(Celery("shop", broker="memory://", set_as_current=False), top=str(tmp_path / "tree"))


def write_before_each_sending(auto: Autocelery, write: Callable[[], object]) -> None:
    """Call ``write`` whenever the store is asked what it lacks: after a tree is read and before it is sent."""
    store = auto.shipper.store
    original = store.missing

    def missing(names: Collection[str]) -> set[str]:
        write()
        return original(names)

    store.missing = missing  # type: ignore[method-assign]


@pytest.mark.parametrize("size", [10, WHOLE_MAX + 10])
def test_one_that_changes_whenever_it_is_about_to_be_sent_is_named(auto: Autocelery, size: int) -> None:
    log = auto.shipper.top / "app.log"
    log.write_bytes(os.urandom(size))
    write_before_each_sending(auto, lambda: log.write_bytes(os.urandom(size)))
    with pytest.raises(FileKeepsChanging, match=rf"^{log} changed each of the 5 times .*exclude\.$"):
        auto.snapshot()


def test_one_that_is_written_for_a_moment_is_waited_for(
    auto: Autocelery, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = auto.shipper.top / "data.csv"
    data.write_bytes(os.urandom(10))
    slept: list[float] = []
    clock = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=slept.append)
    monkeypatch.setattr(shipping, "time", clock)
    write_before_each_sending(auto, lambda: sum(slept) < 0.3 and data.write_bytes(os.urandom(10)))
    assert auto.snapshot().id == auto.shipper.collect().id
