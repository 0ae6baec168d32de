"""Values that JSON does not carry: there and back, unharmed, and never unpickled before they are authenticated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from autocelery._config import Home
from autocelery._signing import keys
from tests.conftest import remove_tree
from tests.scripting import Project

TASKS = """
    import threading
    import numpy
    from celery import chord
    from shop.celery import app

    app.conf.result_extended = True

    @app.task
    def same(value, **more):
        return value

    @app.task
    def what(*args, **kwargs):
        return [[f"{type(each).__module__}.{type(each).__name__}" for each in args], sorted(kwargs)]

    @app.task
    def add(x, y):
        return x + y

    @app.task
    def total(parts):
        return sum(parts)

    @app.task(bind=True, max_retries=2)
    def again(self, array):
        if self.request.retries < 2:
            raise self.retry(countdown=0)
        return array

    @app.task
    def locked():
        return threading.Lock()

    @app.task
    def progress():
        return {"value": numpy.arange(3), "n": 1}
"""
#: A pickle that writes a file where it is unpickled, in place of a value.
HARM = """
import hashlib, os, pickle
from autocelery._blobs import pack
from autocelery._config import home
from autocelery._signing import attachments, keys

MARK = "autocelery.attachment"
NOWHERE = "0" * 64

class Harm:
    def __reduce__(self):
        return (open, ({mark!r}, "w"))

def harm():
    raw = pickle.dumps(Harm())
    digest = hashlib.sha256(raw).hexdigest()
    auto.shipper.store.put({{digest: pack(raw)}})
    return digest, len(raw)

def said(key, snapshot, purpose="argument", call="", **changed):
    digest, size = harm()
    found = attachments.sign(key, attachments.Attachment(digest, size, "numpy.ndarray", snapshot, purpose, call))
    return {{MARK: {{**found, **changed}}}}

def own():
    return keys.own_key(home())

def stranger():
    return keys.SigningKey(private := keys.Ed25519PrivateKey.generate(), keys.key_id(private.public_key()))

def was_harmed():
    return os.path.exists({mark!r})
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("attachments"), TASKS)
    try:
        project.worker("attachments", "-c", "2")
        yield project
    finally:
        project.close()


def test_arrays_frames_sets_and_objects_are_there_and_back_what_they_were(project: Project) -> None:
    shown = project.run("""
        import collections, numpy, pandas
        array = numpy.arange(6.0).reshape(2, 3)
        frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
        back = [got(tasks.same.live.delay(each)) for each in (array, frame, {1, 2}, numpy.int64(7))]
        named = got(tasks.same.live.delay(0, other=array))
        mixed = got(tasks.same.live.delay([1, {"deep": array}]))
        show([
            (back[0] == array).all().item() and back[0].flags.writeable,
            bool(back[1].equals(frame)),
            back[2] == {1, 2},
            [type(back[3]).__name__, int(back[3])],
            named,
            [mixed[0], mixed[1]["deep"].tolist() == array.tolist()],
        ])
    """)
    assert shown == [True, True, True, ["int64", 7], 0, [1, True]]


def test_a_class_of_the_script_comes_home_as_the_class_that_left(project: Project) -> None:
    shown = project.run("""
        import dataclasses
        SCALE = 2
        @dataclasses.dataclass
        class Point:
            x: int
            def scaled(self):
                return self.x * SCALE
        before = Point.scaled
        def moved(point):
            assert isinstance(point, Point)
            return Point(point.x + 1)
        first, second = got(tasks.same.live.delay(Point(1))), got(auto.live(moved).delay(Point(4)))
        SCALE = 10
        show([type(first) is Point, type(second) is Point, first == Point(1), second.scaled(), before is Point.scaled])
    """)
    assert shown == [True, True, True, 50, True]


def test_what_json_carries_goes_in_the_message_as_ever(project: Project) -> None:
    shown = project.run("""
        import datetime, uuid
        before = set(auto.shipper.store.names(""))
        got(tasks.same.live.delay(1))
        told = {"when": datetime.date(2026, 1, 2), "id": uuid.UUID(int=5), "bytes": b"raw", "tuple": (1, 2)}
        known = set(auto.shipper.store.names(""))
        back = got(tasks.same.live.delay(told))
        show([back == {**told, "tuple": [1, 2]}, sorted(set(auto.shipper.store.names("")) - known)])
    """)
    assert shown == [True, []]


def test_who_has_no_autocelery_sees_a_readable_reference(project: Project) -> None:
    shown = project.run("""
        import numpy
        from celery import Celery
        sent = tasks.same.live.delay(numpy.zeros(4))
        got(sent)
        plain = Celery("plain", broker=app.conf.broker_url, backend=app.conf.result_backend)
        reference = plain.AsyncResult(sent.id).get(timeout=60)["autocelery.attachment"]
        show([sent.id, reference, plain.AsyncResult(sent.id).args])
    """)
    call, reference, [argument] = shown
    assert (reference["type"], reference["purpose"], reference["call"]) == ("numpy.ndarray", "result", call)
    assert argument["autocelery.attachment"]["purpose"] == "argument"


def test_canvas_retries_and_tasks_that_wait_for_others_hand_values_on(project: Project) -> None:
    shown = project.run("""
        import numpy
        from celery import chain, chord, group
        one = numpy.ones(3)
        def waits(array):
            from celery.result import allow_join_result
            with allow_join_result():
                return tasks.add.live.delay(array, array).get(timeout=60) + 1
        results = [
            chain(tasks.add.live.s(one, one), tasks.add.live.s(one))(),
            chord([tasks.same.live.s(one), tasks.same.live.s(2 * one)], tasks.total.live.s())(),
            group(tasks.same.live.s(one), tasks.same.live.s(one))()[0],
            tasks.again.live.delay(4 * one),
            auto.live(waits).delay(one),
        ]
        show([got(each).tolist() for each in results])
    """)
    assert shown == [[3.0] * 3, [3.0] * 3, [1.0] * 3, [4.0] * 3, [3.0] * 3]


def test_a_value_that_cannot_be_pickled_is_refused_before_anything_is_sent(project: Project) -> None:
    shown = project.run("""
        import threading
        from autocelery.errors import ValueNotPicklable
        from kombu.exceptions import EncodeError
        def tried(*args, **kwargs):
            try:
                tasks.what.live.delay(*args, **kwargs)
            except ValueNotPicklable as exc:
                return [str(exc), isinstance(exc, EncodeError)]
        show([tried(1, threading.Lock()), tried(value=threading.Lock()), raised(tasks.locked.live.delay())])
    """)
    (by_place, is_encode_error), (by_name, _), result = shown
    assert by_place.startswith("Argument 2 of shop.tasks.what, of type _thread.lock, cannot be sent")
    assert is_encode_error
    assert by_name.startswith("Argument 'value' of shop.tasks.what")
    assert result[0] == "ValueNotPicklable"
    assert "The result of call" in result[1]


def test_a_worker_unpickles_no_argument_that_no_trusted_key_signed_for_its_snapshot(
    project: Project, tmp_path: Path
) -> None:
    shown = project.run(
        HARM.format(mark=str(tmp_path / "harmed"))
        + """
snapshot = auto.snapshot().id
told = [
    raised(tasks.same.live.delay(reference))
    for reference in (
        said(stranger(), snapshot),
        said(own(), NOWHERE),
        said(own(), snapshot, digest=NOWHERE),
        said(own(), snapshot, type="another"),
        said(own(), snapshot, signature="0" * 128),
        said(own(), snapshot, signature="none"),
        said(own(), snapshot, size=3),
        {MARK: "nothing"},
    )
]
show([told, was_harmed()])
"""
    )
    told, was_harmed = shown
    assert [kind for kind, _ in told] == ["UntrustedAttachment", *["AttachmentAltered"] * 7]
    assert told[0][1].startswith("attachments@")
    assert "autocelery keys trust" in told[0][1]
    assert not was_harmed


def test_bytes_that_were_altered_in_the_store_are_unpickled_in_neither_direction(
    project: Project, tmp_path: Path
) -> None:
    shown = project.run(
        HARM.format(mark=str(tmp_path / "harmed"))
        + """
import numpy
from autocelery_host import attachments as told

def altered(reference):
    store = auto.shipper.store
    raw = pickle.dumps(Harm())
    store.put({reference["digest"]: pack(raw.ljust(reference["size"], b"."))})

carrier = auto.shipper.carrier
sent = [told.Value("x", numpy.arange(1000) + n) for n in range(2)]
first, second = carrier.keep(sent, auto.snapshot().id, None)
altered(first)
worker = raised(tasks.same.live.delay({MARK: first}))

result = tasks.add.live.delay(numpy.arange(500), 7)
while not result.backend.get(result.backend.get_key_for_task(result.id)):
    pass
import json as plain
stored = plain.loads(result.backend.get(result.backend.get_key_for_task(result.id)))
altered(stored["result"][MARK])
show([worker, raised(result), was_harmed()])
"""
    )
    worker, caller, was_harmed = shown
    assert (worker[0], caller[0]) == ("AttachmentAltered", "AttachmentAltered")
    assert "not the ones that were signed" in worker[1]
    assert "not the ones that were signed" in caller[1]
    assert not was_harmed


def test_a_caller_unpickles_no_result_that_no_trusted_key_signed_for_its_call(
    project: Project, tmp_path: Path
) -> None:
    shown = project.run(
        HARM.format(mark=str(tmp_path / "harmed"))
        + """
snapshot = auto.snapshot().id

def answered(reference_for):
    sent = tasks.same.live.delay(1)
    got(sent)
    backend, key = app.backend, app.backend.get_key_for_task(sent.id)
    meta = json.loads(backend.get(key))
    backend.set(key, json.dumps({**meta, "result": reference_for(sent.id)}))
    backend._cache.clear()
    return raised(app.AsyncResult(sent.id))

show([
    answered(lambda call: said(stranger(), snapshot, "result", call)),
    answered(lambda call: said(own(), snapshot, "result", "another call")),
    answered(lambda call: said(own(), snapshot, "argument")),
    answered(lambda call: said(own(), snapshot, "result", call, size=7)),
    was_harmed(),
])
"""
    )
    *told, was_harmed = shown
    assert [kind for kind, _ in told] == ["UntrustedAttachment", *["AttachmentAltered"] * 3]
    assert not was_harmed


def test_a_value_that_the_store_lost_is_sent_again_or_missed_by_name(project: Project) -> None:
    shown = project.run("""
        import numpy
        from autocelery_host.attachments import Value
        carrier, snapshot, store = auto.shipper.carrier, auto.snapshot(), auto.shipper.store
        kept = carrier.keep([Value("x", numpy.arange(9.0)), Value("y", {5})], snapshot.id, None)
        store.discard([each["digest"] for each in kept])
        healed = got(tasks.same.live.delay({"autocelery.attachment": kept[0]}))
        auto.shipper._recent._kept.clear()
        lost = raised(tasks.same.live.delay({"autocelery.attachment": kept[1]}))
        show([healed.tolist(), lost])
    """)
    assert shown[0] == list(range(9))
    assert shown[1][0] == "AttachmentMissing"
    assert "argument of type builtins.set" in shown[1][1]


def test_results_from_another_machine_need_its_key_to_be_trusted(tmp_path: Path) -> None:
    project = Project(tmp_path, TASKS)
    there = tmp_path / "there"
    here = Home(keys=Path(os.environ["AUTOCELERY_HOME"]) / "keys", cache=tmp_path)
    mine = keys.export_text(keys.own_key(here))
    body = """
        import numpy
        result = tasks.same.live.delay(numpy.arange(3))
        try:
            show(got(result).tolist())
        except Exception as exc:
            show([type(exc).__name__, str(exc)])
    """
    try:
        project.worker("there", "-c", "1", AUTOCELERY_HOME=str(there), AUTOCELERY_TRUSTED_KEYS=mine)
        refused = project.run(body)
        theirs = keys.export_text(keys.own_key(Home(keys=there / "keys", cache=tmp_path)))
        accepted = project.run(body, AUTOCELERY_TRUSTED_KEYS=theirs)
    finally:
        project.close()
        remove_tree(there)
    assert refused[0] == "UntrustedAttachment"
    assert "result of type numpy.ndarray" in refused[1]
    assert accepted == [0, 1, 2]


def test_a_large_array_goes_both_ways(project: Project) -> None:
    shown = project.run("""
        import numpy
        large = numpy.random.default_rng(1).random(4 * 2**20)
        back = got(tasks.same.live.delay(large))
        show([back.nbytes, bool((back == large).all())])
    """)
    assert shown == [32 * 2**20, True]


def test_map_goes_over_the_rows_of_arrays_and_frames_with_few_messages(project: Project) -> None:
    shown = project.run("""
        import numpy, pandas
        from celery.signals import before_task_publish
        sent = []
        before_task_publish.connect(lambda **kwargs: sent.append(1), weak=False)
        rows = numpy.arange(20_000).reshape(10_000, 2)
        summed = list(auto.map(lambda row: row.sum(), rows))
        messages = len(sent)
        frame = pandas.DataFrame({"price": [1.5, 2.5], "sold": [2, 4]}, index=["tea", "jam"])
        earned = list(auto.map(lambda row: (row.Index, row.price * row.sold), frame, chunk=1))
        show([
            [int(each) for each in summed] == rows.sum(axis=1).tolist(),
            messages <= 256,
            earned,
            list(auto.map(lambda x: x + 1, frame.sold)) == [3, 5],
            [each.tolist() for each in auto.map(lambda part: part * 2, numpy.array_split(numpy.arange(4), 2))],
            list(auto.map(lambda x: x, numpy.empty((0, 3)))),
        ])
    """)
    assert shown == [True, True, [["tea", 3.0], ["jam", 10.0]], True, [[0, 2], [4, 6]], []]
