"""What a worker does not run: each refusal reaches the caller typed, nothing was executed, and the worker lives."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import NotRegistered, SoftTimeLimitExceeded, TimeLimitExceeded

from autocelery import errors
from autocelery._blobs import pack
from autocelery._config import Home
from autocelery._signing import keys, statement
from autocelery_host.header import LIVE_TASK
from tests.forgery import Forge, Forged
from tests.shops import Shop, family_of, is_alive, own_shop, stop_worker
from tests.stopwatch import Stopwatch
from tests.waiting import wait_for
from tests.workers import Worker

pytestmark = pytest.mark.slow

NOWHERE = "0" * 64
#: DESIGN.md, guarantee 4.
SECONDS_TO_FAIL = 5.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with ExitStack() as owned:
        shop = own_shop(owned, tmp_path_factory.mktemp("refusals"))
        yield shop


@pytest.fixture(scope="module")
def forge(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    forge = Forge(shop, tmp_path_factory.mktemp("traces") / "mark")
    yield forge
    forge.close()


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``pip install --target`` leaves it, with one package at version 1.2.3."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "fakery.py").write_text("VERSION = 1\n")
    told = folder / "fakery-1.2.3.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: fakery\nVersion: 1.2.3\n")
    (told / "top_level.txt").write_text("fakery\n")
    return folder


@pytest.fixture(scope="module")
def stock(shop: Shop, forge: Forge, packages: Path) -> Worker:
    return shop.worker("refusing", "-c", "1", PYTHONPATH=str(packages))


@pytest.fixture
def worker(stock: Worker, forge: Forge) -> Iterator[Worker]:
    """The worker; it runs a good snapshot after the bad one, in the processes that it had before."""
    good = forge.make(forge.code())
    assert forge.call(good) == "well"
    agents = family_of(stock.pid).agents
    forge.traces()
    yield stock
    assert forge.call(good) == "well"
    assert family_of(stock.pid).agents == agents
    assert is_alive(stock.pid)


def refused(forge: Forge, forged: Forged, error: type[Exception], match: str = ".", **options: Any) -> None:
    forge.traces()
    with pytest.raises(error, match=match):
        forge.call(forged, **options)
    assert forge.traces() == ""


def test_an_untrusted_key_is_refused_by_a_worker_that_says_its_name(
    forge: Forge, worker: Worker, tmp_path: Path
) -> None:
    stranger = keys.own_key(Home(keys=tmp_path, cache=tmp_path))
    named = rf"^{worker.hostname}: .*{stranger.id}"
    refused(forge, forge.make(forge.code("stranger"), key=stranger), errors.UntrustedSnapshot, named)


def test_an_expired_statement_is_refused(forge: Forge, worker: Worker) -> None:
    refused(forge, forge.make(forge.code("old"), issued=-7200, expires=-3600), errors.SnapshotExpired)


def test_a_statement_from_the_future_is_refused(forge: Forge, worker: Worker) -> None:
    refused(forge, forge.make(forge.code("new"), issued=3600), errors.SnapshotExpired)


def test_an_altered_statement_is_refused(forge: Forge, worker: Worker) -> None:
    forged = forge.make(forge.code("altered statement"))
    name = f"{forged.id}.{forged.key}.sig"
    said = forge.store.get([name])[name]
    forge.store.put({name: said.replace(b"/home/me", b"/home/it")})
    refused(forge, forged, errors.UntrustedSnapshot)
    forge.store.put({name: b"no statement at all"})
    refused(forge, forged, errors.SnapshotInvalid)


@pytest.mark.parametrize("part", ["manifest", "tree", "file"])
def test_what_contradicts_its_digest_is_refused_and_can_be_shipped_again(
    part: str, forge: Forge, worker: Worker
) -> None:
    code = forge.code(f"altered {part}")
    forged = forge.make(code)
    name = {"manifest": forged.id, "tree": forged.tree, "file": forged.files["forged.py"]}[part]
    harmful = forge.code("altered", before="import os\n")[: len(code)].ljust(len(code))
    forge.store.put({name: pack(harmful.encode())})
    refused(forge, forged, errors.SnapshotInvalid)
    assert forge.store.missing([name]) == {name}
    assert forge.call(forge.make(code)) == f"altered {part}"


def test_a_revoked_snapshot_is_refused_and_its_warm_host_ends(forge: Forge, worker: Worker) -> None:
    forged = forge.make(forge.code("revoked"))
    assert forge.call(forged) == "revoked"
    name = f"{forged.id}.revoked"
    forge.store.put({name: b"not by a trusted key"})
    assert forge.call(forged) == "revoked"
    before = {each.pid for each in family_of(worker.pid).hosts}
    forge.store.put({name: statement.revoke(forge.key, forged.id, time.time())})
    wait_for(lambda: before - {each.pid for each in family_of(worker.pid).hosts}, 15, "the warm host ends")
    refused(forge, forged, errors.SnapshotRevoked)
    forge.store.put({name: b"not by a trusted key"})
    refused(forge, forged, errors.SnapshotRevoked)


def test_a_revocation_that_is_broadcast_holds_at_once(forge: Forge, worker: Worker, shop: Shop) -> None:
    forged = forge.make(forge.code("recalled"))
    assert forge.call(forged) == "recalled"
    for envelope, hosts in ((b"not by a trusted key", 0), (statement.revoke(forge.key, forged.id, 1), 1)):
        arguments = {"snapshot": forged.id, "envelope": envelope.hex()}
        replies = shop.app.control.broadcast("autocelery_revoke", arguments, reply=True, timeout=5, limit=1)
        assert [reply["hosts"] for each in replies for reply in each.values()] == [hosts]
    refused(forge, forged, errors.SnapshotRevoked)


def test_the_warm_host_of_an_author_who_is_no_longer_trusted_ends(
    forge: Forge, worker: Worker, shop: Shop, tmp_path: Path
) -> None:
    other = keys.own_key(Home(keys=tmp_path / "keys", cache=tmp_path / "cache"))
    trusted = keys.trust_text(
        Home(keys=shop.home / "keys", cache=shop.home / "cache"), keys.export_text(other)
    )
    forged = forge.make(forge.code("a guest"), key=other)
    others = {each.pid for each in family_of(worker.pid).hosts}
    assert forge.call(forged) == "a guest"
    guests = {each.pid for each in family_of(worker.pid).hosts} - others
    assert guests
    Path(trusted.source).unlink()
    wait_for(lambda: guests.isdisjoint(each.pid for each in family_of(worker.pid).hosts), 15, "the host ends")
    refused(forge, forged, errors.UntrustedSnapshot)


def test_code_that_is_being_imported_ends_when_its_author_is_no_longer_trusted(
    forge: Forge, worker: Worker, shop: Shop, tmp_path: Path
) -> None:
    other = keys.own_key(Home(keys=tmp_path / "keys", cache=tmp_path / "cache"))
    trusted = keys.trust_text(
        Home(keys=shop.home / "keys", cache=shop.home / "cache"), keys.export_text(other)
    )
    begun = tmp_path / "begun"
    endless = (
        f"import os, pathlib, threading\npathlib.Path({str(begun)!r} + '.new').write_text(str(os.getpid()))\n"
        f"os.rename({str(begun)!r} + '.new', {str(begun)!r})\nthreading.Event().wait()\n"
    )
    call = forge.sent(forge.make(forge.code(before=endless), key=other))
    wait_for(begun.exists, what="it is being imported")
    Path(trusted.source).unlink()
    with pytest.raises(errors.UntrustedSnapshot):
        shop.result(call.id)
    assert not is_alive(int(begun.read_text()))


def test_another_python_is_refused(forge: Forge, worker: Worker) -> None:
    refused(forge, forge.make(forge.code("python"), python="3.2"), errors.PythonMismatch, r"3\.2")


def test_a_package_that_the_worker_lacks_is_named(forge: Forge, worker: Worker) -> None:
    package = ["no_such_thing", "no-such-thing", "4.5.6"]
    forged = forge.make(forge.code(before="import no_such_thing\n"), packages=[package])
    refused(forge, forged, errors.PackageMissing, r"no-such-thing==4\.5\.6")


def test_a_package_in_another_major_version_is_named_with_both(forge: Forge, worker: Worker) -> None:
    forged = forge.make(forge.code(before="import fakery\n"), packages=[["fakery", "fakery", "2.0.1"]])
    refused(forge, forged, errors.PackageMismatch, r"2\.0\.1.*1\.2\.3")
    good = forge.make(
        forge.code("compatible", before="import fakery\n"), packages=[["fakery", "fakery", "1.9"]]
    )
    assert forge.call(good) == "compatible"


@pytest.mark.parametrize(
    ("before", "match"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import shopp\n", "ModuleNotFoundError.*shopp"),
        ("raise ValueError('on purpose')\n", "on purpose"),
        ("import sys; sys.exit(4)\n", "SystemExit"),
        ("import os; os._exit(3)\n", "exit status 3"),
        ("import ctypes; ctypes.string_at(0)\n", "SIGSEGV"),
        ("import os; os.abort()\n", "SIGABRT"),
    ],
)
def test_code_that_cannot_be_imported_is_a_typed_error(
    before: str, match: str, forge: Forge, worker: Worker
) -> None:
    with Stopwatch() as watch:
        refused(forge, forge.make(forge.code(before=before)), errors.CodeNotImportable, match)
    assert watch.seconds < SECONDS_TO_FAIL, watch


def test_the_traceback_of_a_syntax_error_shows_the_file_and_nobody_who_imports_it(
    forge: Forge, worker: Worker
) -> None:
    broken = forge.make(forge.code(before="def broken(:\n"))
    with pytest.raises(
        errors.CodeNotImportable, match=r"(?s)SyntaxError.*forged\.py.*def broken\(:"
    ) as refusal:
        forge.call(broken)
    assert "importlib" not in refusal.value.message
    assert "autocelery_host" not in refusal.value.message
    assert "loaders" not in refusal.value.message


def test_an_import_that_never_returns_meets_the_time_limits(forge: Forge, worker: Worker) -> None:
    forever = forge.make(forge.code(before="import threading; threading.Event().wait()\n"))
    refused(forge, forever, SoftTimeLimitExceeded, soft_time_limit=1)
    refused(forge, forever, TimeLimitExceeded, time_limit=1)
    wait_for(lambda: len(family_of(worker.pid).hosts) <= 1, what="no host is left that imports")


def test_a_task_that_the_snapshot_does_not_define_is_named_with_those_it_does(
    forge: Forge, worker: Worker
) -> None:
    forged = forge.make(forge.code("other"))
    with pytest.raises(errors.TaskNotInSnapshot, match=r"forged\.runn.*forged\.run") as refusal:
        forge.call(forged, "forged.runn")
    assert LIVE_TASK not in refusal.value.message  # it is none of the project's
    assert forge.traces() == "imported"


@pytest.mark.parametrize(
    "change",
    [
        lambda header: None,
        lambda header: 5,
        lambda header: "text",
        lambda header: [],
        lambda header: {},
        lambda header: {**header, "v": 2},
        lambda header: {**header, "v": None},
        lambda header: {**header, "snapshot": "../../etc"},
        lambda header: {**header, "snapshot": None},
        lambda header: {**header, "snapshot": header["snapshot"].upper()},
        lambda header: {**header, "key": "../key"},
        lambda header: {**header, "key": ""},
        lambda header: {**header, "key": {}},
        lambda header: {**header, "task": None},
        lambda header: {**header, "task": ["forged.run"]},
        lambda header: {**header, "module": 7},
        lambda header: {**header, "variables": "../../etc"},
        lambda header: {**header, "variables": None},
        lambda header: {**header, "variables": {}},
    ],
)
def test_a_malformed_header_is_refused(change: Callable[[Any], Any], forge: Forge, worker: Worker) -> None:
    forged = forge.make(forge.code("header"))
    header = {"v": 1, "snapshot": forged.id, "key": forged.key, "task": "forged.run"}
    with pytest.raises(errors.AutoceleryError):
        forge.send(change(header))
    assert forge.traces() == ""


@pytest.mark.parametrize(
    "options", [5, "text", {"acks_late": []}, {"acks_late": {}}, {"max_retries": "many"}, {"nonsense": 1}]
)
def test_malformed_options_in_a_header_do_no_harm(options: object, forge: Forge, worker: Worker) -> None:
    forged = forge.make(forge.code("options"))
    header = {"v": 1, "snapshot": forged.id, "key": forged.key, "task": "forged.run", "options": options}
    assert forge.send(header) == "options"


def test_a_snapshot_that_is_nowhere_fails_in_time(forge: Forge, worker: Worker) -> None:
    with Stopwatch() as watch, pytest.raises(errors.SnapshotIncomplete):
        forge.call(Forged(secrets.token_hex(32), forge.key.id, "", {}))
    assert watch.seconds < SECONDS_TO_FAIL, watch


def test_calls_that_wait_for_the_same_lost_snapshot_all_fail_in_time(forge: Forge, shop: Shop) -> None:
    crowd = shop.worker("crowd", "-P", "threads", "-c", "6", "-Q", "crowd")
    lost = Forged(secrets.token_hex(32), forge.key.id, "", {})
    assert forge.call(forge.make(forge.code()), queue="crowd") == "well"  # its agent runs
    with Stopwatch() as watch:
        calls = [forge.sent(lost, queue="crowd") for _ in range(6)]
        for call in calls:
            with pytest.raises(errors.SnapshotIncomplete):
                shop.result(call.id)
    assert watch.seconds < SECONDS_TO_FAIL, watch
    stop_worker(crowd)


@pytest.mark.parametrize(
    "entry",
    [
        ["../evil.py", "f", 0, None],
        ["/tmp/evil.py", "f", 0, None],
        ["..", "d", 0, NOWHERE],
        ["sub/evil.py", "f", 0, None],
        ["evil\0.py", "f", 0, None],
        ["evil", "l", 0, "../../../../../../../../tmp"],
        ["evil", "l", 0, "/etc"],
        ["evil", "l", 0, "../root-1-other/x"],
        ["evil", "p", 0, NOWHERE],
        ["sitecustomize.py", "f", 0, None],
        ["celery.py", "f", 0, None],
        ["evil.pth", "f", 0, None],
        ["forged.py", "f", 0, None],
    ],
)
def test_a_tree_that_leaves_its_folder_or_shadows_the_interpreter_is_refused(
    entry: list[object], forge: Forge, worker: Worker, shop: Shop
) -> None:
    code = forge.code("path")
    good = forge.make(code)
    if entry[3] is None:
        entry = [entry[0], entry[1], len(code.encode()), good.files["forged.py"]]
    before = set(files_of(shop.home))
    refused(forge, forge.make(code, entries=[entry]), errors.SnapshotInvalid)
    assert not [each for each in set(files_of(shop.home)) - before if "evil" in each]
    assert not Path("/tmp/evil.py").exists()


@pytest.mark.parametrize(
    "field",
    [
        {"roots": [["..", NOWHERE]]},
        {"roots": [["a/b", NOWHERE]]},
        {"roots": []},
        {"paths": ["../elsewhere"]},
        {"paths": ["/etc"]},
        {"cwd": "/"},
        {"cwd": "tree/../.."},
        {"values": "not a digest"},
        {"app": {"module": 5}},
        {"v": 2},
        {"extra": True},
    ],
)
def test_a_manifest_that_is_not_as_it_should_be_is_refused(
    field: dict[str, object], forge: Forge, worker: Worker
) -> None:
    refused(forge, forge.make(forge.code("manifest"), **field), errors.SnapshotInvalid)


def test_a_worker_that_trusts_nobody_says_which_command_to_run(
    forge: Forge, shop: Shop, tmp_path: Path
) -> None:
    own = shop.worker(
        "trusting-nobody", "-P", "solo", "-Q", "nobody", AUTOCELERY_HOME=str(tmp_path / "empty")
    )
    forged = forge.make(forge.code("trust"))
    refused(forge, forged, errors.NoTrustedKeys, "autocelery keys trust", queue="nobody")
    stop_worker(own)


def test_a_worker_without_autocelery_answers_that_it_does_not_know_the_task(forge: Forge, shop: Shop) -> None:
    plain = 'import json\nfrom celery import Celery\napp = Celery("plain")\napp.conf.update(json.load(open({!r})))\n'
    (shop.top / "plain.py").write_text(plain.format(str(shop.top / "shop" / "settings.json")))
    own = Worker(shop.top, "plain", "plain", "-P", "solo", "-Q", "plain")
    try:
        own.start()
        refused(forge, forge.make(forge.code("plain")), NotRegistered, r"autocelery\.live", queue="plain")
    finally:
        own.stop()


def files_of(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        yield from (os.path.join(parent, name) for name in (*folders, *files))
