"""What a snapshot of a project with a lock is made of: its versions, its folders, and what is said of both."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from celery import Celery

from autocelery._model import Package, Pin
from autocelery._publish import locking
from autocelery._publish.collecting import Collector
from autocelery._publish.inspecting import WorkerReport
from autocelery._publish.needing import Needed, Needer, at_their_versions
from autocelery._publish.roots import roots_of
from autocelery._snapshot import ShipRules
from autocelery.errors import LockInvalid

RULES = ShipRules()
A = "sha256:" + "a" * 64


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's top, the working directory and the only import path besides the environment."""
    place = tmp_path / "project"
    place.mkdir()
    monkeypatch.chdir(place)
    environment = [each for each in sys.path if "site-packages" in each or "lib/python" in each]
    monkeypatch.setattr(sys, "path", [str(place), *environment])
    return Path(os.path.realpath(place))


def needed(top: Path, *outside: Path, rules: ShipRules = RULES) -> Needed:
    return Needer(top).needed(top, rules, [], outside)


def said(found: Needed) -> tuple[tuple[Pin, ...], str]:
    return found.pins, found.source


def test_a_lock_says_where_it_is_from(top: Path) -> None:
    (top / "requirements.txt").write_text("one==1.0\n")
    assert said(needed(top)) == ((Pin("one", "1.0"),), "requirements.txt")
    (top / "a [b]").mkdir()
    (top / "a [b]" / "x.txt").write_text("one==2.0\n")
    assert said(needed(top, rules=ShipRules(lock="a [b]/x.txt"))) == ((Pin("one", "2.0"),), "a -b-/x.txt")
    assert needed(top, rules=ShipRules(lock="installed")) == Needed()
    assert needed(top, rules=ShipRules(environment="worker")) == Needed()


def test_what_is_needed_is_worked_out_once_as_long_as_nothing_changes(top: Path) -> None:
    file = top / "requirements.txt"
    file.write_text("one==1.0\n")
    os.utime(file, (1e9, 1e9))  # what was written just now may be written again at the same time
    needer = Needer(top)
    first = needer.needed(top, RULES, [])
    assert needer.needed(top, RULES, []) is first
    file.write_text("one==2.0 # and more\n")
    assert needer.needed(top, RULES, []).pins == (Pin("one", "2.0"),)
    file.unlink()
    assert needer.needed(top, RULES, []) == Needed()


def test_two_versions_of_a_package_through_two_roots_are_refused(top: Path, tmp_path: Path) -> None:
    lib = tmp_path / "lib"
    (lib / "src").mkdir(parents=True)
    (top / "requirements.txt").write_text("one==1.0\n")
    (lib / "requirements.txt").write_text("one==2.0\ntwo==2.0\n")
    with pytest.raises(LockInvalid) as caught:
        needed(top, lib / "src")
    assert f"{top / 'requirements.txt'} has one 1.0" in str(caught.value)
    assert f"{lib / 'requirements.txt'}, whose code is shipped too, has 2.0" in str(caught.value)
    assert needed(top, lib / "src", rules=ShipRules(lock="requirements.txt")).pins == (Pin("one", "1.0"),)
    (lib / "requirements.txt").write_text("one==1.0\ntwo==2.0\n")
    together = needed(top, lib / "src")
    assert together.pins == (Pin("one", "1.0"), Pin("two", "2.0"))
    assert together.source == "requirements.txt and ../lib/requirements.txt"


def test_a_root_that_the_lock_covers_has_no_say_of_its_own(top: Path, tmp_path: Path) -> None:
    lib = tmp_path / "lib"
    lib.mkdir()
    (top / "requirements.txt").write_text("one==1.0\n-e ../lib\n")
    (lib / "requirements.txt").write_text("one==2.0\n")
    assert needed(top, lib).pins == (Pin("one", "1.0"),)


@pytest.mark.parametrize("layout", ["src", "."])
def test_a_folder_that_a_lock_names_is_a_root_although_nothing_was_imported_from_it(
    top: Path, tmp_path: Path, layout: str
) -> None:
    package = tmp_path / "lib" / layout / "lib"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    found = roots_of(top, [tmp_path / "lib"])
    folder = (tmp_path / "lib" / layout).resolve()
    assert [root.top for root in found.roots] == [top, folder]
    assert found.paths == ("tree", f"root-1-{folder.name}")


def test_a_member_inside_of_the_tree_is_an_import_path(top: Path) -> None:
    (top / "packages" / "lib" / "src" / "lib").mkdir(parents=True)
    (top / "packages" / "lib" / "src" / "lib" / "__init__.py").touch()
    found = roots_of(top, [top / "packages" / "lib"])
    assert [root.name for root in found.roots] == ["tree"]
    assert "tree/packages/lib/src" in found.paths


def test_a_snapshot_has_the_lock_and_the_folders_that_it_names(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autocelery_home: Path
) -> None:
    package = tmp_path / "lib" / "src" / "lib"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import idna\n")
    (top / "requirements.txt").write_text(f"packaging==1.0 --hash={A}\nidna==1.0 --hash={A}\n-e ../lib\n")
    (top / "tasks.py").write_text("import packaging, lib\n")
    monkeypatch.setattr(sys.modules["__main__"], "app", app := Celery("shop"), raising=False)
    collected = Collector(app, top).collect()
    assert collected.lock.pins == (Pin("idna", "1.0", (A,)), Pin("packaging", "1.0", (A,)))
    assert [root.name for root in collected.manifest.roots] == ["tree", "root-1-src"]
    assert {each.distribution: each.version for each in collected.manifest.packages} == {
        "idna": "1.0",
        "packaging": "1.0",
    }
    app.close()


def test_a_version_that_is_only_spelled_otherwise_stays_as_it_is() -> None:
    packages = (Package("one", "One", "1.00"), Package("two", "two", "3.0"), Package("three", "three", "1"))
    pins = (Pin("one", "1.0"), Pin("two", "2.0"))
    assert [each.version for each in at_their_versions(packages, pins)] == ["1.00", "2.0", "1"]


def test_plan_says_where_lock_machine_and_workers_go_apart(top: Path) -> None:
    (top / "requirements.txt").write_text(
        "pytest==1.0\nnowhere>=2\nruff>=9999\nfar @ https://me:secret@git.example/far\n"
    )
    workers = [
        WorkerReport("w@a", autocelery="1"),
        WorkerReport("w@b", autocelery="1", packages=(("far", "1"),)),
        WorkerReport("w@c"),
    ]
    told = [f"{each.level}: {each.what} {each.mend}" for each in locking.problems_of(needed(top), workers)]
    assert len(told) == 3
    assert all(each.startswith("warning") for each in told)
    assert "requirements.txt says" in told[0]
    assert "pytest 1.0 (" in told[0]
    assert "pip install -r requirements.txt" in told[0]
    assert "ruff>=9999 (requirements.txt:3), and " in told[1]
    assert "nowhere" not in "".join(told)
    assert "w@a lacks what is from no index, and does not build it: far (https://git.example/far)" in told[2]
    assert "secret" not in "".join(told)


def test_plan_says_which_files_were_passed_over(top: Path) -> None:
    for name in ("requirements-a.txt", "requirements-b.txt"):
        (top / name).touch()
    [problem] = locking.problems_of(needed(top), [])
    assert "requirements-a.txt and requirements-b.txt" in problem.what
    assert 'lock = "requirements-a.txt"' in problem.mend


def test_what_only_an_environment_of_its_own_has_to_fit_refuses_no_other_call(top: Path) -> None:
    (top / "requirements.txt").write_text("click<1\n")
    runtime = frozenset({"click"})
    found = Needer(top).needed(top, RULES, [], runtime=runtime)
    assert found.pins == ()
    assert [pin.name for pin in found.runtime] == ["click"]
    with pytest.raises(LockInvalid, match="click<1"):
        Needer(top).needed(top, ShipRules(environment="own"), [], runtime=runtime)
