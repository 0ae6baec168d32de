"""Environments are complete or absent, built once, and every way in which a build fails is a typed error."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from autocelery._env import comparing, installing
from autocelery._env.building import Overlays
from autocelery._env.interpreters import own_interpreter
from autocelery._model import Pin
from autocelery.errors import DiskFull, EnvironmentNotBuilt, PackageAltered
from tests.shops import is_alive
from tests.unit.locks.making import Index
from tests.waiting import wait_for
from tests.wheels import make_wheel

ANY = 2**30


@pytest.fixture
def overlays(index: Path, tmp_path: Path) -> Overlays:
    return Overlays(tmp_path / "environments", ANY)


def left_in(folder: Path) -> list[str]:
    return (
        sorted(each.name for each in folder.rglob("*") if each.name != ".scratch") if folder.exists() else []
    )


def test_an_overlay_is_what_an_interpreter_can_import_from(overlays: Overlays) -> None:
    place = overlays.get([Pin("alpha", "1.0")])
    command = [sys.executable, "-c", "import alpha; print(alpha.VALUE)"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(place)}, capture_output=True, text=True, check=False
    )
    assert done.stdout == "1\n", done.stderr


def test_many_who_ask_at_once_get_one_build(overlays: Overlays, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with ThreadPoolExecutor(20) as threads:
        places = set(threads.map(overlays.get, [[Pin("alpha", "1.0")]] * 100))
    assert len(places) == 1
    assert caplog.text.count("Built environment") == 1


def test_what_a_package_needs_on_this_platform_only_is_there_too(overlays: Overlays, index: Path) -> None:
    make_wheel(
        index, "beta", "1.0", {"beta.py": ""}, requires=["gamma>=2", "nowhere; sys_platform == 'never'"]
    )
    make_wheel(index, "gamma", "2.1", {"gamma.py": ""}, requires=["alpha"])
    place = overlays.get([Pin("alpha", "1.0"), Pin("beta", "1.0")])
    assert {each.name for each in place.glob("*.py")} == {"alpha.py", "beta.py", "gamma.py"}
    assert not list(place.parent.glob(".scratch/*"))


@pytest.mark.parametrize("pin", [Pin("alpha", "9.9"), Pin("nowhere", "1.0")])
def test_what_no_index_has_is_named_and_leaves_nothing(overlays: Overlays, tmp_path: Path, pin: Pin) -> None:
    with pytest.raises(EnvironmentNotBuilt, match=f"{pin.name}=={pin.version}"):
        overlays.get([pin])
    assert left_in(tmp_path / "environments") == []


def test_a_file_that_has_none_of_the_hashes_of_its_lock_is_refused_and_leaves_nothing(
    overlays: Overlays, index: Path, tmp_path: Path
) -> None:
    wheel = make_wheel(index, "alpha", "1.0", {"alpha.py": "VALUE = 1\n"})
    right, wrong = f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}", f"sha256:{'a' * 64}"
    make_wheel(index, "beta", "1.0", {"beta.py": ""})
    with pytest.raises(PackageAltered) as caught:
        overlays.get([Pin("alpha", "1.0", (wrong,)), Pin("beta", "1.0")])
    for part in ("alpha==1.0", f"its hash is {right}", f"admits {wrong}"):
        assert part in caught.value.message
    assert left_in(tmp_path / "environments") == []
    assert (overlays.get([Pin("alpha", "1.0", (wrong, right)), Pin("beta", "1.0")]) / "alpha.py").exists()


def test_what_was_built_without_its_hashes_is_not_what_a_lock_with_hashes_gets(overlays: Overlays) -> None:
    assert overlays.get([Pin("alpha", "1.0")]).is_dir()
    with pytest.raises(PackageAltered):
        overlays.get([Pin("alpha", "1.0", (f"sha256:{'a' * 64}",))])


def test_a_hash_that_does_not_match_in_an_index_that_says_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index(tmp_path / "simple")
    index.add("alpha", "1.0")
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.folder.as_uri())
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    overlays = Overlays(tmp_path / "environments", ANY)
    with pytest.raises(PackageAltered, match=index.hash_of("alpha", "1.0")):
        overlays.get([Pin("alpha", "1.0", (f"sha256:{'a' * 64}",))])
    assert overlays.get([Pin("alpha", "1.0", (index.hash_of("alpha", "1.0"),))]).is_dir()


def test_a_wheel_with_files_outside_of_its_folder_is_refused_and_none_is_written(
    overlays: Overlays, index: Path, tmp_path: Path
) -> None:
    make_wheel(index, "evil", "1.0", {"evil.py": "", "../../../escaped.py": ""})
    for _ in range(2):  # the second time it is in uv's cache
        with pytest.raises(EnvironmentNotBuilt, match=r"evil==1\.0 has a file outside .*\.\./escaped\.py"):
            overlays.get([Pin("alpha", "1.0"), Pin("evil", "1.0")])
    assert left_in(tmp_path / "environments") == []
    assert not list(tmp_path.rglob("escaped.py"))


def test_a_pth_file_of_a_package_is_named_and_never_run(
    overlays: Overlays, index: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    line = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"
    make_wheel(index, "starter", "1.0", {"starter.py": "", "starter.pth": line})
    with pytest.raises(EnvironmentNotBuilt, match=r"starter 1\.0 brings starter\.pth"):
        overlays.get([Pin("starter", "1.0")])
    with pytest.raises(EnvironmentNotBuilt, match=r"starter 1\.0 brings starter\.pth"):
        overlays.get([Pin("starter", "1.0")], own_interpreter())
    assert left_in(tmp_path / "environments") == []
    assert not mark.exists()


def test_a_pth_file_that_does_nothing_there_is_left_out(
    overlays: Overlays, index: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    line = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"
    names = ("distutils-precedence.pth", "spaced-1.0-nspkg.pth")
    make_wheel(index, "spaced", "1.0", {"spaced/one.py": "", **dict.fromkeys(names, line)})
    place = overlays.get([Pin("spaced", "1.0")])
    command = [sys.executable, "-c", "import spaced.one"]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(place)}, check=True)
    assert not mark.exists()
    assert not list(place.glob("*.pth"))


def test_an_index_that_hangs_is_given_up(overlays: Overlays, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.delenv("UV_NO_INDEX")
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        monkeypatch.setenv("UV_HTTP_TIMEOUT", "1")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        with pytest.raises(EnvironmentNotBuilt, match=r"slow==1\.0"):
            overlays.get([Pin("slow", "1.0")])


def test_a_full_disk_in_the_middle_of_a_build_leaves_nothing(
    overlays: Overlays, index: Path, tmp_path: Path
) -> None:
    make_wheel(index, "large", "1.0", {"large.py": f"VALUE = {os.urandom(200_000).hex()!r}\n"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (65_536, limits[1])
    )  # as good as a full disk, and as real an error
    try:
        with pytest.raises(DiskFull, match="AUTOCELERY_HOME"):
            overlays.get([Pin("large", "1.0")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert left_in(tmp_path / "environments") == []
    assert (overlays.get([Pin("large", "1.0")]) / "large.py").exists()


def test_without_uv_the_error_says_what_to_install(
    overlays: Overlays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "uv_here", lambda: None)
    with pytest.raises(EnvironmentNotBuilt, match=r"autocelery\[env\]"):
        overlays.get([Pin("alpha", "1.0")])


def test_overlays_keep_to_their_size_and_those_in_use_stay(index: Path, tmp_path: Path) -> None:
    for number in range(4):
        make_wheel(index, f"big{number}", "1.0", {f"big{number}.py": "#" * 100_000})
    overlays = Overlays(tmp_path / "environments", 250_000)
    places = [overlays.get([Pin(f"big{number}", "1.0")]) for number in range(4)]
    for age, place in enumerate(reversed(places)):
        os.utime(place, (1e9 - age, 1e9 - age))
    for place in places:
        wait_for(lambda place=place: list(place.glob("__pycache__/*.pyc")), 20, "it is compiled")
    wait_for(
        lambda: overlays.tidy(lambda: [places[0]]) or [place.exists() for place in places].count(True) == 2,
        20,
        "it is within its limit",
    )
    assert [place.exists() for place in places] == [True, False, False, True]
    assert overlays.get([Pin("big1", "1.0")]) == places[1]


def test_what_is_new_is_compiled_soon_and_nothing_else_of_it_changes(overlays: Overlays, index: Path) -> None:
    make_wheel(index, "deep", "1.0", {"deep/__init__.py": "", "deep/broken.py": "def (:\n"})
    place = overlays.get([Pin("alpha", "1.0"), Pin("deep", "1.0")])
    before = {each for each in place.rglob("*") if "__pycache__" not in each.parts}
    tag = sys.implementation.cache_tag
    wait_for((place / "deep" / "__pycache__" / f"__init__.{tag}.pyc").exists, 20, "it is compiled")
    wait_for((place / "__pycache__" / f"alpha.{tag}.pyc").exists, 20, "it is compiled")
    assert {each for each in place.rglob("*") if "__pycache__" not in each.parts} == before


def test_what_a_build_left_that_was_killed_is_removed_at_the_next_start(index: Path, tmp_path: Path) -> None:
    half = tmp_path / "environments" / ".scratch" / "half"
    half.mkdir(parents=True)
    Overlays(tmp_path / "environments", ANY)
    assert not half.exists()


def test_those_who_wait_for_a_build_that_fails_fail_with_it(overlays: Overlays, index: Path) -> None:
    begun, go_on = index / "begun", index / "go_on"
    slow_uv = index / "uv"
    slow_uv.write_text(
        f"#!/bin/sh\necho x >> {begun}\nwhile [ ! -e {go_on} ]; do sleep 0.05; done\necho broken >&2; exit 1\n"
    )
    slow_uv.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(8) as threads:
        patch.setattr(installing, "uv_here", lambda: str(slow_uv))
        first = threads.submit(overlays.get, [Pin("alpha", "1.0")])
        wait_for(begun.exists, what="the build has begun")
        others = [threads.submit(overlays.get, [Pin("alpha", "1.0")]) for _ in range(7)]
        wait_for(threads._work_queue.empty, what="all have asked")
        go_on.touch()
        for each in (first, *others):
            with pytest.raises(EnvironmentNotBuilt, match="broken"):
                each.result(20)
    assert begun.read_text().count("x") == 1
    assert (overlays.get([Pin("alpha", "1.0")]) / "alpha.py").exists()


def test_an_overlay_that_begins_to_be_used_while_others_go_stays(overlays: Overlays, tmp_path: Path) -> None:
    small = Overlays(tmp_path / "environments", 0)
    place = small.get([Pin("alpha", "1.0")])
    used: list[Path] = []

    def in_use() -> list[Path]:
        used.append(small.place([Pin("alpha", "1.0")]))
        return used

    small.tidy(in_use)
    assert place.is_dir()
    wait_for(lambda: small.tidy(list) or not place.exists(), 20, "it is not in use, and compiled")


def test_a_module_that_the_standard_library_has_is_never_the_packages(
    overlays: Overlays, index: Path, tmp_path: Path
) -> None:
    broken = "raise ImportError('not the one of this Python')\n"
    make_wheel(index, "enum34", "1.0", {"enum/__init__.py": broken})
    make_wheel(index, "typing", "3.7", {"typing.py": broken, "typing_more.py": ""})
    place = overlays.get([Pin("enum34", "1.0"), Pin("typing", "3.7")])
    assert not (place / "enum").exists()
    assert not (place / "typing.py").exists()
    command = [sys.executable, "-c", "import enum, typing, typing_more"]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(place)}, check=True)


def test_what_the_worker_has_and_a_package_cannot_use_is_there_in_a_version_that_it_can(
    overlays: Overlays, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(index, "beta", "1.0", {"beta.py": ""}, requires=["gamma>=2"])
    make_wheel(index, "gamma", "2.1", {"gamma.py": ""})
    monkeypatch.setattr(comparing, "installed_here", lambda: {"gamma": "1.0"})
    assert (overlays.get([Pin("beta", "1.0")]) / "gamma.py").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_build_ends_with_the_process_that_asked_for_it(
    index: Path, tmp_path: Path, number: signal.Signals
) -> None:
    pids = tmp_path / "pids"
    uv = tmp_path / "uv"
    uv.write_text(f"#!/bin/sh\nsleep 600 &\necho $$ $! > {pids}.new; mv {pids}.new {pids}\nwait\n")
    uv.chmod(0o755)
    code = f"""
import pathlib
from autocelery._env import building, installing
from autocelery._model import Pin
installing.uv_here = lambda: {str(uv)!r}
building.Overlays(pathlib.Path({str(tmp_path / "environments")!r}), 1).get([Pin("alpha", "1.0")])
"""
    with subprocess.Popen([sys.executable, "-c", code]) as asking:
        try:
            wait_for(pids.exists, what="the build has begun")
        finally:
            asking.send_signal(number)
    of_build = [int(each) for each in pids.read_text().split()]
    wait_for(lambda: not any(is_alive(each) for each in of_build), what="the build has ended")
