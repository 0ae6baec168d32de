"""Code that is in no module a worker could import: scripts, ``__main__``, lambdas, closures, notebooks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import since
from tests.workers import Worker

APP = """
from celery import Celery
from autocelery import Autocelery

app = Celery("shop", broker={url!r}, backend={url!r}, include=["shop.tasks"])
app.conf.broker_transport_options = {{"global_keyprefix": {prefix!r}}}
app.conf.result_backend_transport_options = {{"global_keyprefix": {prefix!r}}}
auto = Autocelery(app)
"""
TASKS = """
from shop.celery import app

@app.task
def double(x):
    return 2 * x

def triple(x):
    return 3 * x
"""
SCRIPT_HEAD = f"""{since.SCRIPT_HEAD}
import json, sys
from shop.celery import app, auto
from shop.tasks import double, triple

def got(result):
    return result.get(timeout=60)

def show(value):
    print(json.dumps(value))
"""
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def project(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    top = tmp_path_factory.mktemp("by-value") / "project"
    prefix = f"{top.parent.name}-{os.getpid()}:"
    (top / "shop").mkdir(parents=True)
    (top / "shop" / "__init__.py").touch()
    (top / "shop" / "celery.py").write_text(APP.format(url=redis_url, prefix=prefix))
    (top / "shop" / "tasks.py").write_text(TASKS)
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    worker = Worker(top, "shop", "by-value", "-c", "2")
    try:
        worker.start()
        yield top
    finally:
        worker.stop()
        _forget(redis_url, prefix)


def _forget(url: str, prefix: str) -> None:
    import redis

    with redis.Redis.from_url(url) as connection:
        for key in connection.scan_iter(f"{prefix}*"):
            connection.delete(key)


@pytest.fixture
def run(project: Path) -> Run:
    """Run a script in the project as ``python script.py``, or with ``autocelery run``; return what it shows."""

    def run(body: str, *, by: tuple[str, ...] = (), name: str = "script.py") -> Any:
        script = project / name
        script.write_text(SCRIPT_HEAD + textwrap.dedent(body))
        command = [sys.executable, *by, str(script)]
        environment = {**os.environ, "PYTHONPATH": str(project)}
        done = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run


def test_a_lambda_a_closure_and_a_nested_function_run_on_the_worker(run: Run) -> None:
    shown = run("""
        def power(n):
            def inner(x):
                return x ** n
            return inner
        show([got(auto.live(lambda x: x + 1).delay(1)), got(auto.live(power(3)).delay(2))])
    """)
    assert shown == [2, 8]


def test_a_function_of_a_module_runs_as_it_is_on_disk(run: Run) -> None:
    assert run("show([got(auto.live(triple).delay(4)), got(auto.live(double).delay(4))])") == [12, 8]


@pytest.mark.parametrize("way", ["spawn", "forkserver", "fork"])
def test_a_call_may_hand_functions_of_modules_to_processes_of_its_own(run: Run, way: str) -> None:
    """forkserver is what Python 3.14 does unless told otherwise."""
    shown = run(f"""
        def spread(x):
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context({way!r})) as pool:
                return list(pool.map(triple, range(x)))
        show(got(auto.live(spread).delay(3)))
    """)
    assert shown == [0, 3, 6]


def test_annotations_travel_with_functions_and_classes(run: Run) -> None:
    shown = run("""
        class Item:
            price: int
        def annotated(x: "NotThere") -> Item:
            return [sorted(Item.__annotations__), sorted(annotated.__annotations__)]
        show(got(auto.live(annotated).delay(0)))
    """)
    assert shown == [["price"], ["return", "x"]]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated where they stand")
def test_annotations_that_only_a_type_checker_can_evaluate_keep_no_function_back(run: Run) -> None:
    shown = run("""
        class Item:
            price: NotThere
            def priced(self, x: NotThere) -> NotThere:
                return x + 1
        def outer(x: NotThere, *, more: int = 5) -> int:
            return [Item().priced(x), more, outer.__name__, annotationlib.get_annotations(outer)]
        import annotationlib
        show(got(auto.live(outer).delay(1)))
    """)
    assert shown == [2, 5, "outer", {"x": "NotThere", "more": "int", "return": "int"}]


def test_the_next_version_of_a_function_of_the_same_name_is_what_runs(run: Run) -> None:
    shown = run("""
        seen = []
        for n in range(5):
            def score(x, n=n):
                return [x, n]
            seen.append(got(auto.live(score).delay(0)))
        show(seen)
    """)
    assert shown == [[0, n] for n in range(5)]


def test_a_global_that_changed_since_travels_with_the_function(run: Run) -> None:
    shown = run("""
        RATE = 1
        def priced(x):
            return x * RATE
        call = auto.live(priced)
        first = got(call.delay(10))
        RATE = 7
        show([first, got(call.delay(10))])
    """)
    assert shown == [10, 70]


def test_a_task_of_main_runs_with_its_options_and_the_tasks_that_it_mentions(run: Run) -> None:
    shown = run("""
        @app.task
        def helper(x):
            return x + 100

        @app.task(bind=True, max_retries=2, default_retry_delay=0)
        def outer(self, x):
            if self.request.retries < 2:
                raise self.retry(countdown=0)
            return [self.request.retries, self.name, helper.delay(x).id]

        if __name__ == "__main__":
            retries, name, nested = got(outer.live.delay(5))
            show([retries, name, got(app.AsyncResult(nested))])
    """)
    assert shown[0] == 2
    assert shown[1].endswith(".outer")
    assert shown[2] == 105


def test_a_script_without_a_main_guard_is_not_run_again_on_the_worker(run: Run) -> None:
    shown = run("""
        @app.task
        def count(x):
            return x
        show([got(count.live.delay(n)) for n in range(3)])
    """)
    assert shown == [0, 1, 2]


def test_an_exception_class_of_main_comes_back_as_that_class_with_the_lines_of_the_script(run: Run) -> None:
    shown = run("""
        class Unpriced(Exception):
            pass

        @app.task
        def price(x):
            raise Unpriced("no price for", x)

        result = price.live.delay("tea")
        try:
            got(result)
        except Unpriced as exc:
            show([type(exc) is Unpriced, exc.args, result.traceback])
    """)
    assert shown[:2] == [True, ["no price for", "tea"]]
    assert "script.py" in shown[2]
    assert 'raise Unpriced("no price for", x)' in shown[2]


def test_a_script_given_to_run_sends_every_task_live(run: Run, project: Path) -> None:
    tasks = project / "shop" / "tasks.py"
    before = tasks.read_text()
    tasks.write_text(before.replace("return 2 * x", "return 2000 * x"))
    try:
        body = """
            from celery import chain
            @app.task
            def here(x):
                return x + 1
            show([__name__, sys.argv[1:], got(double.delay(1)), got(chain(double.s(2), here.s())())])
        """
        assert run(body, by=("-m", "autocelery", "run")) == ["__main__", [], 2000, 4001]
    finally:
        tasks.write_text(before)


def test_a_function_that_holds_a_lock_is_refused_before_anything_is_sent(run: Run) -> None:
    shown = run("""
        import threading
        from autocelery.errors import NotShippable
        lock = threading.Lock()
        def locked(x):
            with lock:
                return x
        try:
            auto.live(locked).delay(1)
        except NotShippable as exc:
            show(str(exc))
    """)
    assert "locked" in shown
    assert "cannot be sent to the workers by value" in shown


def test_map_keeps_order_reads_iterators_as_needed_and_raises_at_the_items_place(run: Run) -> None:
    shown = run("""
        def careful(x):
            if x == 7:
                raise ValueError(f"not {x}")
            return x * x
        seen = []
        try:
            for value in auto.map(careful, (n for n in range(50)), chunk=1, window=4):
                seen.append(value)
        except ValueError as exc:
            seen.append(str(exc))
        show([seen, list(auto.map(double, range(100))), list(auto.map(triple, []))])
    """)
    assert shown[0] == [n * n for n in range(7)] + ["not 7"]
    assert shown[1] == [2 * n for n in range(100)]
    assert shown[2] == []


def test_wait_counts_how_calls_ended_and_keeps_their_errors(run: Run) -> None:
    shown = run("""
        def half(x):
            return 1 / x
        call = auto.live(half)
        ended = auto.wait([call.delay(n) for n in (1, 2, 0, 0)], timeout=60)
        show([ended.succeeded, ended.failed, ended.pending, ended.failures[0].traceback])
    """)
    assert shown[:3] == [2, 2, 0]
    assert "ZeroDivisionError" in shown[3]
    assert "return 1 / x" in shown[3]


def test_run_makes_the_calls_of_an_app_live_that_knows_nothing_of_autocelery(run: Run) -> None:
    shown = run(
        """
        from celery import Celery
        plain = Celery("plain", broker=app.conf.broker_url, backend=app.conf.result_backend)
        for setting in ("broker_transport_options", "result_backend_transport_options"):
            plain.conf[setting] = app.conf[setting]

        @plain.task(name="only.here")
        def only_here(x):
            return x * 11

        show(got(only_here.delay(2)))
        """,
        by=("-m", "autocelery", "run"),
    )
    assert shown == 22


def test_a_retry_inside_map_is_an_error_at_its_item_and_not_a_call_that_never_ends(run: Run) -> None:
    shown = run("""
        @app.task(bind=True)
        def again(self, x):
            raise self.retry(exc=KeyError(x), countdown=0)

        @app.task(bind=True)
        def once_more(self, x):
            raise self.retry(countdown=0)

        seen = []
        for task in (again, once_more):
            try:
                list(auto.map(task, [1]))
            except Exception as exc:
                seen.append([type(exc).__name__, str(exc)])
        show(seen)
    """)
    assert shown[0][0] == "KeyError"
    assert shown[1][0] == "AutoceleryError"
    assert "task.live.delay()" in shown[1][1]


@pytest.mark.parametrize("ignored", [True, False])
def test_a_script_in_a_folder_from_which_nothing_is_shipped_runs(
    project: Path, run: Run, ignored: bool
) -> None:
    scratch = project / f"scratch-{ignored}"
    scratch.mkdir()
    (project / ".gitignore").write_text("scratch-True/\n" if ignored else "")
    script = scratch / "script.py" if ignored else project / "script.py"
    script.write_text(SCRIPT_HEAD + "show(got(double.live.delay(4)))\n")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=scratch,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("8", 0), done.stderr
