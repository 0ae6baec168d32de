"""The packages that code needs: named as an index knows them, and as they are installed now."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autocelery._env.locks.choosing import needs_of
from autocelery._model import Lock, Package, Pin
from autocelery._publish.packages import packages_for
from autocelery._snapshot import lock
from autocelery.errors import SnapshotInvalid
from tests.wheels import installed, make_wheel


def pins_for(distributions: list[str]) -> tuple[Pin, ...]:
    return needs_of(None, distributions).pins


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return folder


def install(site: Path, name: str, version: str, *files: str) -> Path:
    """Install a wheel and return the folder with its metadata."""
    wheel = make_wheel(site.parent / "wheels", name, "1.0", dict.fromkeys(files, ""))
    installed([wheel], site)
    told = site / f"{name}-1.0.dist-info"
    metadata = told / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", f"Version: {version}"))
    return told


@pytest.mark.parametrize(
    ("told", "pinned"),
    [("1.0", "1.0"), ("v1.0", "1.0"), ("1.0-1", "1.0.post1"), ("1.0.0-beta", "1.0.0b0"), ("1.0+cu-1", "1.0+cu.1")],
)  # fmt: skip
def test_a_version_is_pinned_as_every_index_spells_it(site: Path, told: str, pinned: str) -> None:
    install(site, "oddly", told, "oddly.py")
    pins = pins_for(["oddly"])
    assert pins == (Pin("oddly", pinned),)
    assert lock.decode(lock.encode(Lock(pins))) == Lock(pins)


@pytest.mark.parametrize("version", ["2004d", "not a version", "9" * 5000])
def test_what_no_index_can_be_asked_for_is_not_pinned(site: Path, version: str) -> None:
    install(site, "oddly", version, "oddly.py")
    assert pins_for(["oddly"]) == ()
    assert packages_for(["oddly"], []) == (Package("oddly", "oddly", version),)


def test_every_part_of_a_namespace_package_is_named(site: Path) -> None:
    install(site, "spaced_one", "1.0", "spaced/one.py")
    install(site, "spaced_two", "2.0", "spaced/two.py")
    assert packages_for(["spaced"], []) == (
        Package("spaced", "spaced_one", "1.0"),
        Package("spaced", "spaced_two", "2.0"),
    )


def test_an_installation_that_was_interrupted_is_not_named(site: Path) -> None:
    (install(site, "torn", "1.0", "torn.py") / "METADATA").unlink()
    assert packages_for(["torn"], []) == ()


def test_a_package_that_is_updated_in_place_is_pinned_anew(site: Path) -> None:
    told = install(site, "moving", "1.0", "moving.py")
    assert pins_for(["moving"]) == (Pin("moving", "1.0"),)
    (told / "METADATA").write_text((told / "METADATA").read_text().replace("Version: 1.0", "Version: 2.0"))
    told.rename(site / "moving-2.0.dist-info")
    assert pins_for(["moving"]) == (Pin("moving", "2.0"),)


@pytest.mark.parametrize(
    "pin",
    [["--index-url", "1.0"], ["a", "1.0\n--index-url=x"], ["a\n-e .", "1.0"], ["a", "1.0; extra"], ["a", " 1.0"],
     ["a", "*"], ["a", "1.*"], ["a", ""], ["a-", "1"], ["A", "1"], ["a", "1.0/../.."], ["a", "1@file:///x"],
     ["a", "9" * 5000], ["a", "\u0661"], ["\u0430", "1"], ["a", None], ["a"], "a"],
)  # fmt: skip
def test_a_forged_pin_is_refused(pin: object) -> None:
    whole = [*pin, []] if isinstance(pin, list) and len(pin) == 2 else pin
    with pytest.raises(SnapshotInvalid):
        lock.decode(lock.canonical_json(made_of([whole])))


@pytest.mark.parametrize(
    "hashes",
    [
        ["sha256:" + "A" * 64],
        ["md5:" + "a" * 32],
        ["sha256:ab"],
        [f"sha256:{'a' * 64} --index-url=x"],
        [1],
        "",
        None,
    ],
)
def test_a_forged_hash_is_refused(hashes: object) -> None:
    with pytest.raises(SnapshotInvalid):
        lock.decode(lock.canonical_json(made_of([["a", "1.0", hashes]])))


@pytest.mark.parametrize(
    "changed",
    [
        {"source": ""},
        {"source": "a\nb"},
        {"source": 1},
        {"alone": 1},
        {"v": 1},
        {"asked": ["b"]},
        {"asked": 1},
        {"asked": [["b"]]},
        {"runtime": 1},
    ],
)
def test_a_lock_that_does_not_say_what_it_is_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(SnapshotInvalid):
        lock.decode(lock.canonical_json({**made_of([]), **changed}))


def test_a_lock_goes_and_comes_back() -> None:
    kept = Lock(
        (Pin("a", "1.0", ("sha256:" + "a" * 64,)), Pin("b", "2.0")),
        "sub/uv.lock",
        is_alone=True,
        asked=("b",),
    )
    assert lock.decode(lock.encode(kept)) == kept
    assert lock.decode(lock.canonical_json(made_of([]))) == Lock(source="uv.lock")


def made_of(pins: list[object]) -> dict[str, object]:
    return {"v": lock.VERSION, "pins": pins, "source": "uv.lock", "alone": False, "asked": [], "runtime": []}


@pytest.mark.parametrize(
    "origin",
    [
        '{"url": "file:///home/me/private", "dir_info": {"editable": true}}',
        '{"url": "https://git.example/private.git", "vcs_info": {"vcs": "git", "commit_id": "1"}}',
        '{"url": "file:///tmp/private-1.0-py3-none-any.whl", "archive_info": {}}',
    ],
    ids=["a folder", "a repository", "a wheel file"],
)
def test_what_came_from_no_index_is_never_asked_of_one(site: Path, origin: str) -> None:
    told = install(site, "private", "1.0", "private.py")
    assert pins_for(["private"]) == (Pin("private", "1.0"),)
    (told / "direct_url.json").write_text(origin)
    (site / "a.py").touch()  # the folder has changed, as by an installation
    assert pins_for(["private"]) == ()
