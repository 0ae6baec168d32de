"""Django projects with the preset on stock workers: transactions, arguments, live calls, and two on one Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from autocelery._broker import EmbeddedBroker, LocalBroker
from tests.django_projects import Project

_TASKS = """
import os
import time

from celery import current_app
from django.contrib.auth.models import User
from django.core.cache import caches
from django.db import connection, transaction


@shared_task(name="whoami")
def whoami():
    return current_app.main


@shared_task
def username(pk):
    return User.objects.get(pk=pk).username


@shared_task(bind=True, max_retries=1)
def fails_in_a_transaction(self):
    with transaction.atomic():
        User.objects.create(username=f"try {self.request.retries}")
        if not self.request.retries:
            raise self.retry(countdown=0)
        return [user.username for user in User.objects.filter(username__startswith="try")]


@shared_task
def database():
    return [str(connection.settings_dict["NAME"]), "live" if __file__ != DEPLOYED else "deployed"]


@shared_task
def where():
    return ["live" if __file__ != DEPLOYED else "deployed", VERSION, os.environ.get("SHOP_REGION")]


@shared_task
def says():
    print("said")


@shared_task
def connections():
    return [os.getpid() != IMPORTED_BY, connection.connection is not OPENED]


@shared_task
def hangs():
    time.sleep(600)


VERSION = 1
DEPLOYED = {deployed!r}
IMPORTED_BY = os.getpid()
connection.ensure_connection()
OPENED = connection.connection
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """A Redis that nobody else writes to."""
    with LocalBroker() as running:
        yield running


def project(
    folder: Path, name: str, server: EmbeddedBroker, options: str = "", **environment: str
) -> Project:
    made = Project(folder, name, options, REDIS_URL=server.broker_url, **environment).ready()
    made.append("tasks.py", _TASKS.replace("{deployed!r}", repr(str(folder / name / "tasks.py"))))
    return made


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, server: EmbeddedBroker) -> Iterator[Project]:
    """A project with a worker, its results in its own database."""
    made = project(tmp_path_factory.mktemp("one") / "shop", "shop", server, "time_limit=3, soft_time_limit=2")
    # One child: a retry without a delay could else end before Celery has stored that there is one.
    worker = made.worker("-c", "1").start()
    yield made
    worker.stop()


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory, server: EmbeddedBroker) -> Iterator[Project]:
    """A project with a worker, its results in Redis."""
    results = {"CELERY_RESULT_BACKEND": server.broker_url}
    made = project(tmp_path_factory.mktemp("two") / "mill", "mill", server, **results)
    worker = made.worker("-c", "1").start()
    yield made
    worker.stop()


def test_a_call_in_a_transaction_is_sent_after_the_commit_and_finds_what_was_written(shop: Project) -> None:
    code = """
from celery.result import AsyncResult
from django.contrib.auth.models import User
from django.db import transaction
from shop.tasks import username, whoami
from celery import group
with transaction.atomic():
    user = User.objects.create(username="ada")
    result = username.delay(user.pk)
    both = group(username.s(user.pk), whoami.s())()
    waited = AsyncResult(result.id).state
try:
    with transaction.atomic():
        gone = whoami.delay()
        at_once = whoami.apply_async(send_on_commit=False)
        raise KeyError
except KeyError:
    pass
answer = [waited, result.get(timeout=60), both.get(timeout=60), at_once.get(timeout=60), gone.state]
"""
    assert shop.ask(code) == ["PENDING", "ada", ["ada", "shop"], "shop", "PENDING"]


def test_a_retry_is_sent_although_it_rolls_its_transaction_back(shop: Project) -> None:
    code = "from shop.tasks import fails_in_a_transaction as task\nanswer = task.delay().get(timeout=60)"
    assert shop.ask(code) == ["try 1"]


def test_arguments_that_json_cannot_carry_are_refused_with_the_mend_and_others_arrive(shop: Project) -> None:
    code = """
import datetime, decimal, uuid
from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext_lazy
from autocelery.errors import ArgumentNotSerializable
from shop.tasks import add
answer = []
def said(*args, **kwargs):
    try:
        add.delay(*args, **kwargs)
    except ArgumentNotSerializable as error:
        answer.append(str(error))
said(User(username="hunter2"), 1)
said(1, y={"users": [User.objects.all()]})
said(1, {1, 2})
with transaction.atomic():
    said(User(), 1)
answer.append(str(add.delay(decimal.Decimal("1.5"), decimal.Decimal(2)).get(timeout=60)))
answer.append(add.delay(gettext_lazy("Yes"), ".").get(timeout=60))
answer.append(add.delay([uuid.UUID(int=1)], [datetime.date(2026, 1, 1)]).get(timeout=60) ==
              [uuid.UUID(int=1), datetime.date(2026, 1, 1)])
"""
    model, query, kept, later, number, lazy, others = shop.ask(code)
    assert "shop.tasks.add was not sent: x is a User" in model
    assert "Pass its primary key, user.pk" in model
    assert "hunter2" not in model
    assert "y['users'][0] is a QuerySet" in query
    assert "values_list" in query
    assert "Pass a list" in kept
    assert later == model
    assert (number, lazy, others) == ("3.5", "Yes.", True)


def test_a_live_call_runs_the_code_that_is_on_disk_with_the_workers_database(shop: Project) -> None:
    code = """
from django.contrib.auth.models import User
from django.db import transaction
from shop.tasks import database, username
with transaction.atomic():
    user = User.objects.create(username="grace")
    result = username.live.delay(user.pk)
answer = [result.get(timeout=60), database.live.delay().get(timeout=60), database.delay().get(timeout=60)]
"""
    path = str(shop.folder / "db.sqlite3")
    assert shop.ask(code) == ["grace", [path, "live"], [path, "deployed"]]


#: For `shop.ask`, with tasks that say what they run.
_LIVE = """
import os
from pathlib import Path
from celery import chain, chord, group
from django.db import transaction
from shop.celery import app
from shop.tasks import says, where
auto = app.autocelery
os.environ["SHOP_REGION"] = "north"
tasks = Path("shop/tasks.py")
def got(results):
    return [each.get(timeout=60) for each in results]
"""


def _live_in(name: str) -> str:
    return _LIVE.replace("shop", name)


def test_a_call_that_waits_for_a_commit_runs_what_it_was_made_for(shop: Project) -> None:
    code = """
with transaction.atomic():
    with auto.live(env=["SHOP_REGION"]):
        results = [where.delay(), where.apply_async(countdown=0), chain(where.si(), where.si())()]
        results += [chord([where.si()], where.si())(), group(where.s())().children[0]]
        where.apply_async_on_commit(task_id="explicit")
    plain = where.delay()
    before = tasks.read_text()
    tasks.write_text(before.replace("VERSION = 1", "VERSION = 2"))
answer = [got([*results, results[2].parent, app.AsyncResult("explicit")]), got([plain])]
tasks.write_text(before)
"""
    live, plain = shop.ask(_LIVE + code)
    assert live == [["live", 1, "north"]] * 7
    assert plain == [["deployed", 1, None]]


@pytest.mark.parametrize("name", ["shop", "mill"])
def test_a_result_names_the_snapshot_that_gave_it(name: str, request: pytest.FixtureRequest) -> None:
    code = """
mean = auto.snapshot()
live, plain = where.using(mean).delay(), where.delay()
got([live, plain])
answer = [app.backend.get_task_meta(each.id).get("snapshot") for each in (live, plain)] + [mean.id]
"""
    of_live, of_plain, mean = request.getfixturevalue(name).ask(_live_in(name) + code)
    assert of_live == mean
    assert of_plain is None


def test_a_commit_in_a_live_block_makes_no_call_live_that_was_made_outside(shop: Project) -> None:
    code = """
block = transaction.atomic()
block.__enter__()
result = where.delay()
explicit = []
transaction.on_commit(lambda: explicit.append(where.delay()))
with auto.live():
    block.__exit__(None, None, None)
answer = [got([result]), got(explicit)]
"""
    assert shop.ask(_LIVE + code) == [[["deployed", 1, None]], [["live", 1, None]]]


def test_the_output_of_a_call_that_waits_for_a_commit_is_heard(shop: Project) -> None:
    code = """
with transaction.atomic():
    with auto.live(output=True):
        results = [says.delay()]
    results.append(auto.live(says, output=True).delay())
answer = [each.text.strip() for each in auto.stream(results)]
"""
    assert shop.ask(_LIVE + code) == ["said"] * 2


def test_a_map_in_a_transaction_sends_at_once(mill: Project) -> None:
    code = """
from mill.tasks import username
from django.contrib.auth.models import User
keys = [User.objects.get_or_create(username=name)[0].pk for name in ("eve", "dan")]
with transaction.atomic():
    answer = list(auto.map(username, keys, timeout=60))
"""
    assert mill.ask(_live_in("mill") + code) == ["eve", "dan"]


def test_what_a_transaction_of_sqlite_keeps_from_being_stored_is_not_waited_for(shop: Project) -> None:
    code = """
from autocelery.errors import ResultNeverComes
from shop.tasks import hangs, whoami
answer = []
for wait in (lambda: list(auto.map(whoami, [1])), lambda: hangs.apply_async(send_on_commit=False).get()):
    try:
        with transaction.atomic():
            wait()
    except ResultNeverComes as error:
        answer.append(str(error))
"""
    told = shop.ask(_LIVE + code)
    assert len(told) == 2
    assert all("in SQLite" in each for each in told)


@pytest.mark.parametrize("name", ["shop", "mill"])
def test_what_a_commit_sends_is_not_waited_for_before_it(name: str, request: pytest.FixtureRequest) -> None:
    code = """
from autocelery.errors import ResultNeverComes
answer = []
one = where.si()
for call in (one, where.live.si(), group(one, one), chain(one, one), chord([one, one], one)):
    for wait in (lambda result: result.get(), lambda result: auto.wait([result])):
        with transaction.atomic():
            result = call.delay()
            try:
                wait(result)
            except ResultNeverComes as error:
                answer.append(str(error))
"""
    told = request.getfixturevalue(name).ask(_live_in(name) + code)
    assert len(told) == 10
    for each in told:
        assert each.startswith(f"{name}.tasks.where[")
        assert "Wait after the transaction.atomic() block" in each


def test_output_of_what_a_commit_sends_is_not_waited_for_before_it(shop: Project) -> None:
    code = """
from autocelery.errors import ResultNeverComes
from shop.tasks import says
with transaction.atomic():
    result = says.live.apply_async(output=True)
    try:
        answer = [next(auto.stream(result))]
    except ResultNeverComes as error:
        answer = [str(error)]
answer.append("".join(each.text for each in auto.stream(result)))
"""
    told, printed = shop.ask(_live_in("shop") + code)
    assert "Wait after the transaction.atomic() block" in told
    assert printed == "said\n"


@pytest.mark.parametrize("options", [["-A", "shop"], []])
def test_a_script_imports_models_and_tasks_as_manage_py_shell_does(shop: Project, options: list[str]) -> None:
    script = shop.folder / "try_it.py"
    script.write_text(
        "from django.contrib.auth.models import User\n"
        "from shop.tasks import where\n"
        "print(User.objects.filter(username='nobody').count(), *where.delay().get(timeout=60))\n"
    )
    done = shop.autocelery(*options, "run", str(script))
    assert done.stdout.split() == ["0", "live", "1", "None"], done.stderr


def test_a_script_of_a_project_whose_settings_fail_is_told_where(tmp_path: Path) -> None:
    broken = Project(tmp_path / "shop").with_app()
    broken.append("settings.py", "INSTALLED_APPS = ['nowhere']\n")
    (broken.folder / "try_it.py").write_text("")
    done = broken.autocelery("-A", "shop", "run", "try_it.py")
    assert done.returncode != 0
    assert "Importing Django's settings and apps failed" in done.stderr
    assert "nowhere" in done.stderr


def test_a_child_begins_without_the_connection_that_its_parent_had_open(shop: Project) -> None:
    code = """
from shop.tasks import connections
answer = [connections.delay().get(timeout=60) for _ in range(4)]
"""
    assert shop.ask(code) == [[True, True]] * 4


def test_a_task_that_hangs_hears_the_soft_limit_before_the_hard_one(shop: Project) -> None:
    code = (
        "from shop.tasks import hangs\nanswer = type(hangs.delay().get(timeout=60, propagate=False)).__name__"
    )
    assert shop.ask(code) == "SoftTimeLimitExceeded"


def test_results_are_in_the_admin_with_their_names_and_arguments(shop: Project) -> None:
    code = """
from django.contrib.auth.models import User
from django.test import Client
from shop.tasks import add
result = add.delay(40, 2)
result.get(timeout=60)
user, _ = User.objects.get_or_create(username="admin", is_staff=True, is_superuser=True)
client = Client(SERVER_NAME="localhost")
client.force_login(user)
page = client.get("/admin/django_celery_results/taskresult/").content.decode()
answer = [result.id in page, "shop.tasks.add" in page, "SUCCESS" in page]
"""
    assert shop.ask(code) == [True, True, True]


def test_two_projects_on_one_redis_never_meet(tmp_path: Path, server: EmbeddedBroker) -> None:
    results = {"CELERY_RESULT_BACKEND": server.broker_url, "ENVIRONMENT": "staging"}
    projects = [project(tmp_path / name, name, server, **results) for name in ("grocer", "bakery")]
    workers = [each.worker("-c", "1") for each in projects]
    send = """
from celery import current_app as app
from django.core.cache import caches
from {name}.tasks import whoami
answer = sorted({{each.get(timeout=60) for each in [whoami.apply_async(task_id=f"same-{{n}}") for n in range(20)]}})
answer += sorted(name.split("@")[0] for name in app.control.inspect().ping())
caches["django-cache"].set("key", "{name}")
whoami.apply_async(queue="nobody")
"""
    look = """
from celery import current_app as app
from django.core.cache import caches
with app.connection_for_write() as connection:
    purged = [connection.default_channel.queue_purge("nobody") for _ in range(2)]
answer = [caches["django-cache"].get("key"), *purged]
"""
    try:
        for worker in workers:
            worker.start()
        for each in projects:
            assert each.ask(send.format(name=each.name)) == [each.name, f"{each.name}-{each.name}"]
        for each in reversed(projects):
            assert each.ask(look) == [each.name, 1, 0]
        with redis.Redis.from_url(server.broker_url.replace("redis+socket://", "unix://")) as client:
            keys = [key.decode() for key in client.scan_iter()]
        ours = tuple(f"staging:{each.name}:{kind}" for each in projects for kind in ("celery:", "cache:"))
        assert {each for each in ours if any(key.startswith(each) for key in keys)} == set(ours)
        assert [key for key in keys if not key.startswith((*ours, "shop:celery:", "mill:celery:"))] == []
    finally:
        for worker in workers:
            worker.stop()


def test_live_calls_are_not_held_up_by_a_database_that_is_written_to(shop: Project) -> None:
    code = """
import itertools, threading
from django.db import connection
from django.contrib.auth.models import User
over = threading.Event()
def write():
    for each in itertools.count():
        if over.is_set():
            return connection.close()
        User.objects.update_or_create(username="busy", defaults={"first_name": str(each)})
writer = threading.Thread(target=write)
writer.start()
try:
    with auto.live():
        answer = [where.delay().get(timeout=60)[0] for _ in range(5)]
    answer.append(len({auto.snapshot().id for _ in range(5)}))
finally:
    over.set()
    writer.join()
"""
    assert shop.ask(_live_in("shop") + code) == ["live"] * 5 + [1]
