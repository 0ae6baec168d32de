"""Environment variables of live calls: they arrive where they were sent, and are nowhere else."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from celery.exceptions import TimeLimitExceeded

from autocelery import errors
from autocelery._blobs import open_store, store_url_for
from autocelery._blobs.packing import unpack
from autocelery._config import Home
from autocelery._signing import keys, worker_keys
from tests import since
from tests.shops import Caller, Shop, family_of, is_alive, own_server
from tests.waiting import PATIENCE, wait_for
from tests.workers import Worker

pytestmark = pytest.mark.slow

POOL_PROCESSES = 3
#: The promise is ten; a busy machine takes its time to end a process.
SECONDS_TO_BE_GONE = 10.0 + 10.0
SECRET = f"s3cr3t-{secrets.token_hex(16)}"
TASKS = """
import hashlib, os, pathlib, threading
from celery import chord
from celery.result import allow_join_result
from shop.celery import app

def print_of(value):
    return value and hashlib.sha256(value.encode()).hexdigest()[:16]

AT_IMPORT = print_of(os.environ.get("API_KEY"))

@app.task
def see(*given, name="API_KEY"):
    return [AT_IMPORT, print_of(os.environ.get(name)), os.getpid()]

@app.task(bind=True, max_retries=2)
def again(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return see()

@app.task
def calls_another():
    with allow_join_result():
        return [see(), see.delay().get(timeout=20), see.live.delay().get(timeout=20)]

@app.task
def fail():
    key = os.environ["API_KEY"]
    raise ValueError("something else")

class Mourned(app.Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        pathlib.Path(args[0]).write_text(str(see()[:2]))

@app.task(base=Mourned)
def die(place):
    threading.Event().wait()

@app.task
def wait_for(begun, end):
    pathlib.Path(begun).write_text(str(os.getpid()))
    while not os.path.exists(end):
        threading.Event().wait(0.01)
    return see()

@app.task
def key_of_worker(home):
    return pathlib.Path(home, "keys", "worker.key").read_text().splitlines()[0]

@app.task
def dumpable():
    import ctypes
    return ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
"""


def print_of(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def shapes_of(secret: str) -> list[bytes]:
    """Return the forms in which ``secret`` may stand somewhere: as it is, in hex, in base64 at any place."""
    raw = secret.encode()
    shifted = [base64.b64encode(b"." * shift + raw)[4 if shift else 0 : -4] for shift in range(3)]
    return [raw, raw.hex().encode(), *shifted]


def holds(content: bytes, secret: str = SECRET) -> bool:
    return any(shape in content for shape in shapes_of(secret))


class Monitor:
    """Everything that is said to a Redis, from now on. Owns a connection and a thread."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url.replace("redis+socket://", "unix://"))
        self.heard: list[bytes] = []
        self._monitor = self._client.monitor().__enter__()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with suppress(redis.ConnectionError, OSError, ValueError, AttributeError):
            while True:
                self.heard.append(str(self._monitor.next_command()["command"]).encode())

    def stop(self) -> bytes:
        """Stop, and return all of it."""
        mark = secrets.token_hex(8)
        self._client.echo(mark)
        wait_for(lambda: any(mark.encode() in each for each in self.heard[-50:]), what="all was heard")
        self._monitor.connection.disconnect()
        self._client.close()
        self._thread.join(PATIENCE)
        return b"\n".join(self.heard)


class Fleet:
    """A shop with its worker, its caller and the URL of its Redis."""

    def __init__(self, owned: ExitStack, folder: Path) -> None:
        server = own_server(owned)
        self.url = server.broker_url
        self.shop = Shop(folder, self.url, server.result_backend)
        owned.callback(self.shop.close)
        self.shop.write("tasks.py", TASKS)
        self.worker = self.shop.worker("variables", "-c", str(POOL_PROCESSES), "-E", "-l", "DEBUG")
        self.caller = self.shop.caller()
        self.caller.do("exec('import os; from celery import chain, chord, group', kept)")

    def sent(self, expression: str, **variables: str) -> str:
        """Return the id of the call that ``expression`` sends while the caller has these variables."""
        return str(sent(self.caller, expression, **variables))

    def got(self, expression: str, **variables: str) -> Any:
        """Return the result of the call that ``expression`` sends while the caller has these variables."""
        return self.shop.result(self.sent(expression, **variables))


def sent(caller: Caller, expression: str, **variables: str) -> Any:
    caller.do(f"kept['os'].environ.update({variables!r})")
    try:
        return caller.do(f"({expression}).id")
    finally:
        caller.do(f"[kept['os'].environ.pop(name) for name in {list(variables)!r}] and None")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with ExitStack() as owned:
        yield Fleet(owned, tmp_path_factory.mktemp("variables"))


LIVE_SEE = "auto.live(tasks.see, env=['API_KEY']).delay()"
PRINT = print_of(SECRET)


def test_a_variable_is_there_when_the_code_is_imported_and_only_for_who_named_it(fleet: Fleet) -> None:
    assert fleet.got(LIVE_SEE, API_KEY=SECRET)[:2] == [PRINT, PRINT]
    assert fleet.got("tasks.see.live.delay()", API_KEY=SECRET)[:2] == [None, None]
    assert fleet.got("tasks.see.delay()", API_KEY=SECRET)[:2] == [None, None]
    assert fleet.got("auto.live(tasks.see, env=['OTHER']).delay()", API_KEY=SECRET, OTHER="")[:2] == [
        None,
        None,
    ]


def test_every_way_to_send_a_live_call_can_name_variables(fleet: Fleet) -> None:
    fleet.caller.do("exec('def here(x):\\n import os\\n return len(os.environ[\"API_KEY\"]) + x', kept)")
    assert fleet.got("auto.live(kept['here'], env=['API_KEY'], time_limit=60).delay(1)", API_KEY=SECRET) == 40
    fleet.caller.do("exec('def stay():\\n import threading\\n threading.Event().wait()', kept)")
    with pytest.raises(TimeLimitExceeded):
        fleet.got("auto.live(kept['stay'], env=['API_KEY'], time_limit=1).delay()", API_KEY=SECRET)
    block = 'exec(\'with auto.live(env=["API_KEY"]):\\n kept["sent"] = {}\', globals())'
    for call in ("tasks.see.delay()", "tasks.see.live.delay()", "tasks.see.using(auto.snapshot()).delay()"):
        assert fleet.got(f"[{block.format(call)}, kept['sent']][1]", API_KEY=SECRET)[:2] == [PRINT, PRINT]
    fleet.caller.do(f"kept['os'].environ.update(API_KEY={SECRET!r})")
    mapped = fleet.caller.do("list(auto.map(kept['here'], [1, 2], env=['API_KEY'], progress=False))")
    fleet.caller.do("kept['os'].environ.pop('API_KEY') and None")
    assert mapped == [40, 41]


def test_the_project_names_variables_for_all_of_its_live_calls(fleet: Fleet) -> None:
    settings = fleet.shop.top / "pyproject.toml"
    settings.write_text('[tool.autocelery]\nenv = ["API_KEY"]\n')
    try:
        assert fleet.got("tasks.see.live.delay()", API_KEY=SECRET)[:2] == [PRINT, PRINT]
        pinned = fleet.got("tasks.see.using(auto.snapshot()).delay()", API_KEY=SECRET)
        assert pinned[:2] == [PRINT, PRINT]
        with pytest.raises(errors.VariableNotSet, match="API_KEY"):
            fleet.caller.do("tasks.see.live.delay()")
    finally:
        settings.unlink()


def test_what_is_not_set_is_said_before_anything_is_sent(fleet: Fleet) -> None:
    fleet.shop.write("new.py", "x = 1\n")
    store = open_store(store_url_for(fleet.shop.app))
    try:
        before = set(store.names(""))
        with pytest.raises(errors.VariableNotSet, match="export NAME"):
            fleet.caller.do("auto.live(tasks.see, env=['API_KEY', 'PATH']).delay()")
        assert set(store.names("")) == before
    finally:
        store.close()


def test_retries_canvas_and_calls_from_inside_a_task_carry_the_same_variables(fleet: Fleet) -> None:
    both = [PRINT, PRINT]
    assert fleet.got("auto.live(tasks.again, env=['API_KEY']).delay()", API_KEY=SECRET)[:2] == both
    inside = fleet.got("auto.live(tasks.calls_another, env=['API_KEY']).delay()", API_KEY=SECRET)
    assert [each[:2] for each in inside] == [both] * 3
    s = "auto.live(tasks.see, env=['API_KEY']).s()"
    assert fleet.got(f"kept['chain']({s}, {s})()", API_KEY=SECRET)[:2] == both
    assert fleet.got(f"kept['chord']([{s}, {s}], {s})()", API_KEY=SECRET)[:2] == both
    assert fleet.got(f"kept['group']({s}, {s})()[1]", API_KEY=SECRET)[:2] == both
    linked = fleet.caller.do("kept.update(link=tasks.see.s()) or None")
    assert linked is None
    hanging = "kept['chain'](auto.live(tasks.see, env=['API_KEY']).s(), tasks.see.s())()"
    assert fleet.got(hanging, API_KEY=SECRET)[:2] == both


def test_each_step_of_a_chain_has_the_variables_that_it_was_made_with(fleet: Fleet) -> None:
    def signature(name: str) -> str:
        return f"auto.live(tasks.see, env=[{name!r}]).s(name={name!r})"

    for first, second in (("ONE", "TWO"), ("TWO", "ONE")):
        made = f"kept['chain']({signature(first)}, {signature(second)}, tasks.see.live.s(name={first!r}))"
        told = fleet.caller.do(
            f"kept['os'].environ.update(ONE='1', TWO='2') or kept.update(sent={made}()) or "
            "[kept['sent'].parent.parent.id, kept['sent'].parent.id, kept['sent'].id]"
        )
        values = {"ONE": print_of("1"), "TWO": print_of("2")}
        assert [fleet.shop.result(each)[1] for each in told] == [values[first], values[second], None]
    fleet.caller.do("[kept['os'].environ.pop(name) for name in ('ONE', 'TWO')] and None")


SCRIPT = """
from celery import chain
from shop.celery import app, auto
from shop import tasks

@app.task
def last(before, *rest):
    import os
    return [before[:2], len(os.environ["API_KEY"])]

print(chain(auto.live(tasks.see, env=["API_KEY"]).s(), last.s())().get(timeout=30))
"""


NOTEBOOK = """
from IPython.core.interactiveshell import InteractiveShell
from shop.celery import app, auto

shell = InteractiveShell.instance()
shell.user_ns.update(app=app, auto=auto)
shell.run_line_magic("load_ext", "autocelery")
shell.run_cell_magic("live", "--env API_KEY -A auto", "import os\\nlength = len(os.environ['API_KEY'])")
shell.run_cell_magic("live", "-A auto", "import os\\nis_there = 'API_KEY' in os.environ")
print([shell.user_ns["length"], shell.user_ns["is_there"]])
"""


def ran(fleet: Fleet, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the shop's folder, as a user does."""
    environment = {**os.environ, **fleet.shop.environment, "PYTHONPATH": str(fleet.shop.top), **variables}
    return subprocess.run(
        [sys.executable, *command],
        cwd=fleet.shop.top,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_what_hangs_on_a_call_has_its_variables_also_where_it_is_in_no_module(fleet: Fleet) -> None:
    script = fleet.shop.top / "script.py"
    script.write_text(SCRIPT)
    done = ran(fleet, str(script), API_KEY=SECRET)
    script.unlink()
    assert done.stdout.strip() == str([[PRINT, PRINT], len(SECRET)]), done.stderr


def test_a_cell_of_a_notebook_takes_names_too(fleet: Fleet) -> None:
    notebook = fleet.shop.top / "notebook.py"
    notebook.write_text(NOTEBOOK)
    done = ran(fleet, str(notebook), API_KEY=SECRET)
    notebook.unlink()
    assert done.stdout.strip().splitlines()[-1:] == [str([len(SECRET), False])], done.stderr


def test_the_commands_take_names_and_show_no_values(fleet: Fleet) -> None:
    command = ("-m", "autocelery", "-A", "shop")
    called = ran(fleet, *command, "call", "--env", "API_KEY", "shop.tasks.see", API_KEY=SECRET)
    assert called.stdout.count(PRINT) == 2, called.stderr
    planned = ran(fleet, *command, "plan", "--timeout", "4", "--env", "API_KEY", API_KEY=SECRET)
    assert "Variables, encrypted to 1 worker key: API_KEY" in planned.stdout
    unset = ran(fleet, *command, "call", "--env", "NOT_SET", "shop.tasks.see")
    assert (unset.returncode, "NOT_SET" in unset.stderr, unset.stdout) == (1, True, "")
    value = ran(fleet, *command, "call", "--env", f"API_KEY={SECRET}", "shop.tasks.see")
    assert value.returncode == 1
    assert "Error: --env has" in value.stderr
    shown = [each.stdout + each.stderr for each in (called, planned, unset, value)]
    assert [SECRET in each for each in shown] == [False] * 4


def test_who_runs_code_on_a_worker_can_read_its_keys(fleet: Fleet) -> None:
    """Which is why SECURITY.md says: whoever must be kept apart needs workers of their own."""
    assert "PRIVATE KEY" in fleet.got(f"tasks.key_of_worker.live.delay({str(fleet.shop.home)!r})")


def test_values_that_take_turns_never_cross(fleet: Fleet) -> None:
    """Of two snapshots, each with two values and with none."""
    for name in ("first", "second"):
        fleet.shop.write("version.py", f"name = {name!r}\n")
        fleet.caller.do(f"kept.update({name}=auto.snapshot())")
    assert fleet.caller.do("kept['first'].id != kept['second'].id")
    values = [f"{SECRET}-{number}" for number in range(2)]
    calls = []
    for number in range(40):
        value, name = values[number % 2], ("first", "second")[number // 2 % 2]
        using = f"tasks.see.using(kept[{name!r}])"
        named = f"auto.live({using}, env=['API_KEY']).delay()"
        calls.append((print_of(value), fleet.sent(named, API_KEY=value)))
        if number % 5 == 0:
            calls.append((None, fleet.sent(f"{using}.delay()", API_KEY=value)))
    assert [fleet.shop.result(each)[:2] for _, each in calls] == [[told, told] for told, _ in calls]


@since.where_hard_limits_call_hooks
def test_a_hook_that_runs_after_its_task_died_has_them_too(fleet: Fleet, tmp_path: Path) -> None:
    place = tmp_path / "mourned"
    with pytest.raises(TimeLimitExceeded):
        fleet.got(
            f"auto.live(tasks.die, env=['API_KEY']).apply_async(({str(place)!r},), time_limit=1)",
            API_KEY=SECRET,
        )
    wait_for(lambda: place.exists() and place.read_text(), what="the hook has run")
    assert place.read_text() == str([PRINT, PRINT])


def test_the_value_is_in_no_log_event_message_store_file_or_command_line(
    fleet: Fleet, tmp_path: Path
) -> None:
    begun, end = tmp_path / "begun", tmp_path / "end"
    monitor = Monitor(fleet.url)
    waiting = fleet.sent(
        f"auto.live(tasks.wait_for, env=['API_KEY']).delay({str(begun)!r}, {str(end)!r})", API_KEY=SECRET
    )
    wait_for(begun.exists, what="the task runs")
    everybody = family_of(fleet.worker.pid).everybody()
    seen = {each.pid: exec_time(each) for each in everybody}
    end.touch()
    assert fleet.shop.result(waiting)[:2] == [PRINT, PRINT]
    fleet.got("auto.live(tasks.again, env=['API_KEY']).delay()", API_KEY=SECRET)
    decoy = f"decoy-{secrets.token_hex(16)}"
    fleet.got(f"auto.live(tasks.see, env=['API_KEY']).delay({decoy!r})", API_KEY=SECRET)
    with pytest.raises(ValueError, match="something else") as failed:
        fleet.got("auto.live(tasks.fail, env=['API_KEY']).delay()", API_KEY=SECRET)
    planned = planned_with(fleet, SECRET)
    said = monitor.stop()
    assert len(seen) > 4
    assert int(begun.read_text()) in seen
    assert not any(holds(each) for each in seen.values())
    assert b"celeryev" in said
    assert holds(said, decoy), "what travels in the clear is found"
    assert not holds(said)
    assert holds(fleet.worker.text().encode(), decoy)
    assert not holds(fleet.worker.text().encode())
    assert not holds(repr(failed.value).encode())
    assert "API_KEY" in planned
    assert not holds(planned.encode())
    assert contents_of_store(fleet.shop)
    assert not any(holds(each) for each in contents_of_store(fleet.shop))
    for path in fleet.shop.home.rglob("*"):
        assert not path.is_file() or not holds(path.read_bytes()), path


def exec_time(process: psutil.Process) -> bytes:
    """Return a process's command line and the variables that it was started with, as the kernel shows them."""
    folder = Path(f"/proc/{process.pid}")
    with suppress(PermissionError):  # of a process whose memory is private, where we are not root
        return (folder / "cmdline").read_bytes() + b"\0" + (folder / "environ").read_bytes()
    return (folder / "cmdline").read_bytes()


def planned_with(fleet: Fleet, secret: str) -> str:
    fleet.caller.do(f"kept['os'].environ.update(API_KEY={secret!r})")
    try:
        plan = "__import__('autocelery._publish.planning', fromlist=['x']).plan(auto, timeout=4.0, env=['API_KEY'])"
        return str(fleet.caller.do(f"repr({plan})"))
    finally:
        fleet.caller.do("kept['os'].environ.pop('API_KEY') and None")


def contents_of_store(shop: Shop) -> list[bytes]:
    store = open_store(store_url_for(shop.app))
    try:
        found = []
        for stored in store.get(list(store.names(""))).values():
            found.append(stored)
            with suppress(errors.SnapshotInvalid):
                found.append(unpack(stored, None, 2**26))
        return found
    finally:
        store.close()


def test_no_process_but_their_host_and_the_agent_ever_holds_the_values(fleet: Fleet, tmp_path: Path) -> None:
    """As bytes anywhere in memory: the zygote would hand them on to every later host."""
    secret = f"{SECRET}-in-memory"
    begun, end = tmp_path / "begun", tmp_path / "end"
    waiting = fleet.sent(
        f"auto.live(tasks.wait_for, env=['API_KEY']).delay({str(begun)!r}, {str(end)!r})", API_KEY=secret
    )
    plain = tmp_path / "begun-without"
    without = fleet.sent(f"tasks.wait_for.live.delay({str(plain)!r}, {str(end)!r})")
    wait_for(lambda: begun.exists() and plain.exists() and plain.read_text(), what="both tasks run")
    own = int(begun.read_text())
    assert str(plain).encode() in memory_of(psutil.Process(int(plain.read_text()))), "what is there is found"
    for number in range(3):  # hosts that are forked while the other one runs, and after
        fleet.shop.write("other.py", f"x = {number}\n")
        fleet.got("tasks.see.live.delay()")
    family = family_of(fleet.worker.pid)
    others = [family.main, *family.pool, *family.zygotes, *(each for each in family.hosts if each.pid != own)]
    assert own in [each.pid for each in family.hosts]
    assert len(others) > 4
    assert [each for each in others if secret.encode() in memory_of(each)] == []
    end.touch()
    assert fleet.shop.result(waiting)[1] == print_of(secret)
    assert fleet.shop.result(without)[1] is None


def memory_of(process: psutil.Process) -> bytes:
    """Return what a process has written to its memory: its heap, stacks and other private pages."""
    found = []
    with suppress(psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):
        maps = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
        with Path(f"/proc/{process.pid}/mem").open("rb", buffering=0) as memory:
            for line in maps:
                span, rights = line.split()[:2]
                start, stop = (int(each, 16) for each in span.split("-"))
                if rights.startswith("rw"):
                    with suppress(OSError, ValueError):
                        memory.seek(start)
                        found.append(memory.read(stop - start))
    return b"".join(found)


def test_they_are_gone_with_their_host_soon_after_the_last_call_that_needs_them(fleet: Fleet) -> None:
    used = {fleet.got(LIVE_SEE, API_KEY=SECRET)[2] for _ in range(POOL_PROCESSES + 2)}
    assert len(used) <= POOL_PROCESSES, "calls with the same variables share a pool process's warm host"
    without = fleet.got("tasks.see.live.delay()")[2]
    assert without not in used
    wait_for(lambda: not any(map(is_alive, used)), SECONDS_TO_BE_GONE, "the hosts with variables have ended")
    assert is_alive(without)
    assert fleet.got("tasks.see.live.delay()")[:2] == [None, None]


def test_the_memory_of_their_host_is_private(fleet: Fleet) -> None:
    assert fleet.got("auto.live(tasks.dumpable, env=['API_KEY']).delay()", API_KEY=SECRET) == 0
    assert fleet.got("tasks.dumpable.live.delay()") == 1


def test_what_the_store_lost_is_sent_again_or_missed_by_name(fleet: Fleet) -> None:
    secret = f"{SECRET}-lost"
    store = open_store(store_url_for(fleet.shop.app))
    try:
        header = "auto.live(tasks.see, env=['API_KEY'])._header()['variables']"
        fleet.caller.do(f"kept['os'].environ.update(API_KEY={secret!r})")
        digest = fleet.caller.do(header)
        store.discard([digest])
        assert fleet.shop.result(fleet.caller.do(f"({LIVE_SEE}).id"))[1] == print_of(secret)
        assert fleet.caller.do(header) == digest
    finally:
        fleet.caller.do("kept['os'].environ.pop('API_KEY') and None")
        store.close()


def test_another_authors_envelope_gets_nobody_its_values(fleet: Fleet) -> None:
    """Ben is trusted too, and can write to broker and store; Anna's variables are Anna's snapshots' alone."""
    anna, shop = fleet.caller, fleet.shop
    theirs = shop.home.parent / "ben"
    text = keys.export_text(keys.own_key(Home(theirs / "keys", theirs)))
    trusted = keys.trust_text(Home(shop.home / "keys", shop.home), text)
    workers = worker_keys.export_text(worker_keys.own_key(Home(shop.home / "keys", shop.home)))
    ben = shop.caller(AUTOCELERY_HOME=str(theirs), AUTOCELERY_WORKER_KEYS=workers)
    ben.do("exec('import os', kept)")
    try:
        anna.do(f"kept['os'].environ.update(API_KEY={SECRET!r})")
        header = anna.do("auto.live(tasks.see, env=['API_KEY'])._header()")
        anna.do("kept['os'].environ.pop('API_KEY') and None")
        same = ben.do("tasks.see.live._header()")
        shop.write("ben.py", "x = 1\n")
        own = ben.do("tasks.see.live._header()")
        assert same["snapshot"] == header["snapshot"] != own["snapshot"]
        stolen = [
            {**own, "variables": header["variables"]},
            {**same, "variables": header["variables"]},
        ]
        for each in stolen:
            told = f"app.send_task('autocelery.live', headers={{'autocelery': {each!r}}}).id"
            with pytest.raises(errors.VariablesAltered, match="not signed with the key"):
                shop.result(ben.do(told))
        assert shop.result(sent(ben, LIVE_SEE, API_KEY="of-ben"))[:2] == [print_of("of-ben")] * 2
        annas = f"__import__('autocelery').Snapshot({header['snapshot']!r}, {header['key']!r})"
        foreign = f"auto.live(tasks.see.using({annas}), env=['PATH']).delay()"
        with pytest.raises(errors.VariablesError, match="snapshots checkout"):
            ben.do(foreign)
    finally:
        ben.stop()
        Path(trusted.source).unlink()


def test_an_envelope_that_was_altered_in_the_store_is_refused(fleet: Fleet) -> None:
    store = open_store(store_url_for(fleet.shop.app))
    try:
        fleet.caller.do(f"kept['os'].environ.update(API_KEY={SECRET + '-altered'!r})")
        digest = fleet.caller.do("auto.live(tasks.see, env=['API_KEY'])._header()['variables']")
        store.put({digest: b"\0" + b"altered"})
        with pytest.raises(errors.VariablesAltered, match="blob store"):
            fleet.shop.result(fleet.caller.do(f"({LIVE_SEE}).id"))
    finally:
        fleet.caller.do("kept['os'].environ.pop('API_KEY') and None")
        store.close()


def test_a_worker_elsewhere_reads_them_once_its_key_is_trusted(fleet: Fleet) -> None:
    shop, queue = fleet.shop, "elsewhere"
    there = shop.home.parent / "there"
    mine = keys.export_text(keys.own_key(Home(shop.home / "keys", shop.home)))
    worker: Worker | None = None
    call = f"auto.live(tasks.see, env=['API_KEY']).apply_async(queue={queue!r})"
    try:
        worker = shop.worker(
            "elsewhere", "-c", "1", "-Q", queue, AUTOCELERY_HOME=str(there), AUTOCELERY_TRUSTED_KEYS=mine
        )
        with pytest.raises(errors.VariablesNotForWorker, match=r"keys export --worker.*keys trust"):
            fleet.got(call, API_KEY=SECRET)
        assert "elsewhere" in planned_with(fleet, SECRET).partition("cannot read API_KEY")[0][-80:]
        theirs = worker_keys.export_text(worker_keys.own_key(Home(there / "keys", there)), "there")
        trusted = worker_keys.trust_text(Home(shop.home / "keys", shop.home), theirs)
        assert fleet.got(call, API_KEY=SECRET)[:2] == [PRINT, PRINT]
        assert "cannot read API_KEY" not in planned_with(fleet, SECRET)
        Path(trusted.source).unlink()
    finally:
        if worker is not None:
            worker.stop()
