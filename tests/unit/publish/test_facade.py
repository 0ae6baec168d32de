"""What a user meets at a prompt: how things show themselves, wrong calls, and finding a snapshot again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from autocelery import Autocelery, Snapshot
from autocelery._publish.calling import LiveCall
from autocelery._signing import keys, statement
from autocelery.errors import SnapshotNotFound, WrongCall

ONE, OTHER = "3f2a" + "1" * 60, "3f2b" + "2" * 60


@pytest.fixture
def auto(tmp_path: Path, autocelery_home: Path, monkeypatch: pytest.MonkeyPatch) -> Autocelery:
    monkeypatch.setenv("AUTOCELERY_STORE", str(tmp_path / "blobs"))
    return Autocelery(Celery("shop", broker="memory://", set_as_current=False))


@pytest.fixture
def add(auto: Autocelery) -> Any:
    @auto.app.task(name="shop.tasks.add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    return add


def sign(auto: Autocelery, snapshot: str) -> str:
    """Put our own statement over ``snapshot`` into the store, as if it had been sent."""
    from autocelery import _config

    key = keys.own_key(_config.home())
    auto.shipper.store.put({f"{snapshot}.{key.id}.sig": statement.sign(key, snapshot, 0, 1, "/me")})
    return key.id


def test_what_one_sees_at_a_prompt_is_short(auto: Autocelery, add: Any) -> None:
    snapshot = Snapshot(ONE, "a" * 16)
    assert repr(auto) == "<Autocelery of shop>"
    assert repr(snapshot) == "<Snapshot 3f2a11111111>"
    assert repr(add.live) == "<live shop.tasks.add>"
    assert repr(add.using(snapshot)) == "<live shop.tasks.add of snapshot 3f2a11111111>"


def test_a_live_call_called_as_a_function_says_how_it_is_sent(auto: Autocelery, add: Any) -> None:
    with pytest.raises(WrongCall, match=r"Send it with add\.live\.delay\(\.\.\.\), or run .* add\(\.\.\.\)"):
        add.live(1, 2)
    with pytest.raises(TypeError, match=r"add\.using\(\.\.\.\)\.delay\(\.\.\.\)"):
        add.using(Snapshot(ONE, "a" * 16))(1, 2)
    with pytest.raises(WrongCall, match=r"A signature of a live call is no function.* \.delay\(\)"):
        add.using(Snapshot(ONE, "a" * 16)).s(1, 2)()


def test_apply_says_why_it_does_not_run_here(auto: Autocelery, add: Any) -> None:
    with pytest.raises(WrongCall, match=r"add\.live\.apply_async\(\.\.\.\), or .* add\.apply\(\.\.\.\)"):
        add.live.apply((1, 2))


def test_live_of_what_is_live_already_is_the_same(auto: Autocelery, add: Any) -> None:
    pinned = add.using(Snapshot(ONE, "a" * 16))
    assert isinstance(pinned, LiveCall)
    assert auto.live(pinned) is pinned


def test_what_is_pinned_is_not_mapped_over_the_working_tree(auto: Autocelery, add: Any) -> None:
    with pytest.raises(WrongCall, match=r"a map runs the working tree.*group\("):
        auto.map(add.using(Snapshot(ONE, "a" * 16)), [1])


def test_a_snapshot_is_found_by_its_first_digits_if_they_are_of_one_only(auto: Autocelery) -> None:
    key = sign(auto, ONE)
    sign(auto, OTHER)
    assert auto.found("3f2a") == Snapshot(ONE, key)
    with pytest.raises(SnapshotNotFound, match=r"2 snapshots begin with '3f2': 3f2a11111111, 3f2b"):
        auto.found("3f2")
    with pytest.raises(
        SnapshotNotFound, match=r"No snapshot whose id begins with 'ff' is in the folder .*/blobs\."
    ) as error:
        auto.found("ff")
    assert "://" not in error.value.message
    with pytest.raises(SnapshotNotFound):
        auto.found("")
    assert "snapshots list" in error.value.message


def test_a_whole_id_is_asked_for_and_the_store_is_not_listed(
    auto: Autocelery, add: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = sign(auto, ONE)
    with monkeypatch.context() as unlisted:
        unlisted.setattr(auto.shipper.store, "names", None)
        assert auto.found(ONE) == Snapshot(ONE, key)
        assert repr(add.using(ONE)) == "<live shop.tasks.add of snapshot 3f2a11111111>"
    stranger = "b" * 16
    auto.shipper.store.put({f"{OTHER}.{stranger}.sig": b"by somebody whom the worker may trust"})
    assert auto.found(OTHER) == Snapshot(OTHER, stranger)
