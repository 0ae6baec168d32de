"""What a message says about the signature that it was sent for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, chain, chord, group, signals
from celery.app.task import Task

from autocelery import Autocelery
from autocelery._celery.signatures import _PARKING as PARKING
from autocelery.errors import ConfigurationError
from autocelery_host.shapes import SIGNATURE


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    Autocelery(app)

    @app.task(name="shop.add")
    def add(x: int, y: int = 1) -> int:
        return x + y

    @app.task(name="shop.mul", bind=True, upgrade={1: lambda args, kwargs: ((*args, 1), kwargs)})
    def mul(self: Task, x: int, y: int) -> int:
        return x * y

    app.finalize()
    yield app
    app.close()


@pytest.fixture
def sent() -> Iterator[list[tuple[str, Any, Any]]]:
    """The name, the headers and the body's last part of each message."""
    found = []

    def note(sender: str, headers: Any, body: Any, **_: Any) -> None:
        found.append((sender, headers, body[2]))

    signals.before_task_publish.connect(note, weak=False)
    yield found
    signals.before_task_publish.disconnect(note)


def test_a_message_says_what_it_was_sent_for(app: Celery, sent: Any) -> None:
    app.tasks["shop.add"].delay(1)
    app.send_task("shop.mul", (1, 2))
    assert [each[1][SIGNATURE] for each in sent] == ["add/1(x,y=)", "mul/2(x,y)"]


def test_what_hangs_on_a_message_says_it_too(app: Celery, sent: Any) -> None:
    add, mul = app.tasks["shop.add"], app.tasks["shop.mul"]
    add.apply_async((1,), link=group(mul.s(2), chain(mul.s(3), add.s())), link_error=add.si(1))
    chain(add.s(1), mul.s(2)).apply_async()
    chord([add.s(1), add.s(2)], mul.s(3)).apply_async()
    [first, second, third, _] = [embed for _, _, embed in sent]
    [callback] = first["callbacks"]
    inner = callback["kwargs"]["tasks"]
    assert inner[0]["options"]["headers"][SIGNATURE] == "mul/2(x,y)"
    assert first["errbacks"][0]["options"]["headers"][SIGNATURE] == "add/1(x,y=)"
    assert second["chain"][0]["options"]["headers"][SIGNATURE] == "mul/2(x,y)"
    assert third["chord"]["options"]["headers"][SIGNATURE] == "mul/2(x,y)"


def test_what_a_producer_said_of_a_chains_rest_stays(app: Celery, sent: Any) -> None:
    old = {SIGNATURE: "mul/1(x)"}
    app.tasks["shop.mul"].apply_async((1, 2), headers=old)
    assert sent[0][1][SIGNATURE] == "mul/1(x)"


def test_the_headers_of_another_task_are_not_handed_on(app: Celery, sent: Any) -> None:
    app.tasks["shop.add"].apply_async((1,), headers={SIGNATURE: "mul/1(x)", "own": 1})
    app.send_task("elsewhere.task", headers={SIGNATURE: "mul/1(x)", "own": 1})
    [(_, first, _), (_, second, _)] = sent
    assert (first[SIGNATURE], first["own"]) == ("add/1(x,y=)", 1)
    assert (second.get(SIGNATURE), second["own"]) == (None, 1)


def test_a_task_keeps_celerys_own_signature_method(app: Celery) -> None:
    @app.task(name="shop.kind", signature="tolerant")
    def kind(x: int) -> int:
        return x

    assert kind.s(1) == kind.signature((1,))


def test_a_task_from_before_autocelery_has_its_policy_too() -> None:
    app = Celery("early", broker="memory://", set_as_current=False)

    @app.task(name="early.kind", signature="tolerant")
    def kind(x: int) -> int:
        return x

    app.finalize()
    Autocelery(app)
    task = app.tasks["early.kind"]
    assert (task.signature_policy, task.s(1).args) == ("tolerant", (1,))
    app.close()


def test_a_class_takes_its_policy_from_its_base_unless_it_says_another(app: Celery) -> None:
    class Tolerant(Task):
        signature_policy = "tolerant"

    @app.task(name="shop.based", base=Tolerant)
    def based(x: int) -> int:
        return x

    @app.task(name="shop.own", base=Tolerant, signature="park")
    def own(x: int) -> int:
        return x

    class Parking(type(app.tasks["shop.own"])):  # type: ignore[misc]
        name = "shop.parking"

    class Strict(Parking):
        name = "shop.strict"
        signature_policy = "strict"

    parking, strict = app.register_task(Parking()), app.register_task(Strict())
    assert [each.signature_policy for each in (based, own, parking, strict)] == [
        "tolerant",
        "park",
        "park",
        "strict",
    ]
    assert (own.Strategy, parking.Strategy) == (PARKING, PARKING)
    assert (based.Strategy, strict.Strategy) == (Task.Strategy, Task.Strategy)
    assert [each.typing for each in (based, own, parking, strict)] == [False, True, True, True]


def test_a_strategy_of_its_own_is_kept(app: Celery) -> None:
    @app.task(name="shop.own", signature="park", Strategy="shop.strategies:own")
    def own(x: int) -> int:
        return x

    assert own.Strategy == "shop.strategies:own"


@pytest.mark.parametrize(
    "wrong", [{"signature_policy": "tolerent"}, {"signature": "tolerent"}, {"upgrade": {3: 1}}]
)
def test_a_class_that_makes_no_sense_is_refused_where_it_is_registered(
    app: Celery, wrong: dict[str, Any]
) -> None:
    kind = type("Wrong", (Task,), {"name": "shop.wrong", "run": lambda self: None, **wrong})
    with pytest.raises(ConfigurationError, match=r"shop.wrong has (signature='tolerent'|upgrade=)"):
        app.register_task(kind())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"signature": "lenient"}, r"signature='lenient', which is no policy.*strict, tolerant, park"),
        ({"upgrade": {2: lambda args, kwargs: (args, kwargs)}}, "without a gap"),
        ({"upgrade": [1]}, "without a gap"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_where_it_stands(options: Any, said: str) -> None:
    app = Celery("wrong", broker="memory://", set_as_current=False)
    Autocelery(app)
    with pytest.raises(ConfigurationError, match=said):

        @app.task(name="wrong.task", lazy=False, **options)
        def task() -> None:
            """Do nothing."""

    app.close()
