"""Time limits, revocation and death: calls that do not come to their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import chord

from tests import since
from tests.integration.conformance.fleets import Caller
from tests.integration.conformance.records import Record, in_any_order, only_the_value, whoever_was_last
from tests.waiting import wait_for

Same = Callable[..., Record]

#: Celery has time limits and termination in the prefork pool only.
limits = pytest.mark.pools("prefork")


@pytest.fixture
def same_when_warm(same: Same) -> Same:
    """Run a scenario as ``same`` does, where each process of the pool has run a call of the same code before."""

    def run(scenario: Callable[[Caller], Any], **options: Any) -> Record:
        return same(scenario, before=Caller.warm_up, **options)

    return run


@limits
def test_a_soft_time_limit_is_raised_in_the_task(same_when_warm: Same) -> None:
    record = same_when_warm(lambda on: [on.slow.apply_async(soft_time_limit=2), on.softly_limited.delay()])
    assert record.value[0] == ("FAILURE", "billiard.exceptions.SoftTimeLimitExceeded()")
    assert record.value[1] == ("SUCCESS", "in time")
    assert "cleaned up" in " ".join(record.call("softly_limited").ran)


@limits
def test_a_hard_time_limit_ends_the_task_and_its_hooks_are_called(same_when_warm: Same) -> None:
    record = same_when_warm(
        lambda on: [on.hard_limited.delay(), on.slow.apply_async(time_limit=2)], apart_from=in_any_order
    )
    assert record.value[0] == ("FAILURE", "billiard.exceptions.TimeLimitExceeded(2,)")
    assert record.value[1][0] == "FAILURE"
    assert ("on_failure" in record.call("hard_limited").steps()) == since.HARD_LIMITS_CALL_HOOKS


@limits
def test_errbacks_of_every_kind_are_called_after_a_hard_time_limit(same_when_warm: Same) -> None:
    def scenario(on: Caller) -> Any:
        return on.slow.apply_async(time_limit=2, link_error=[on.new_errback.s(), on.old_errback.s()])

    record = same_when_warm(scenario, apart_from=in_any_order)
    assert "new_errback" in record.call("slow").steps()
    assert record.named("old_errback")


@limits
def test_a_hard_time_limit_in_a_chord_fails_its_body(same_when_warm: Same) -> None:
    def scenario(on: Caller) -> Any:
        return chord([on.slow.s().set(time_limit=2), on.add.s(1, 1)])(on.total.s())

    def apart(record: Record) -> Record:
        return in_any_order(whoever_was_last(record))

    assert same_when_warm(scenario, apart_from=apart).value[0] == "FAILURE"


@limits
def test_a_late_acknowledged_call_is_acknowledged_after_its_hard_time_limit(same_when_warm: Same) -> None:
    record = same_when_warm(lambda on: on.hard_limited_late.delay(), apart_from=in_any_order)
    assert record.call("hard_limited_late").event_types()[:4] == ["sent", "received", "started", "failed"]


def test_a_call_that_is_revoked_before_it_starts_never_runs(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        result = on.add.apply_async((1, 1), countdown=1)
        wait_for(lambda: on.fleet.watch.count(result.id, "task-received"))
        result.revoke()
        return result

    record = same(scenario)
    assert record.value == ("REVOKED", "celery.exceptions.TaskRevokedError('revoked',)")
    assert record.call("add").steps() == ["task_received", "task_revoked"]


@limits
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_call_that_is_terminated_ends_at_once(same: Same, name: str) -> None:
    def scenario(on: Caller) -> Any:
        result = on.terminable.delay()
        on.recording.wait_at_gate(result.id)
        result.revoke(terminate=True, signal=name)
        return result

    record = same(scenario, apart_from=in_any_order)
    assert record.value == ("REVOKED", "celery.exceptions.TaskRevokedError('terminated',)")
    assert ("task_postrun" in record.call("terminable").steps()) == (name == "SIGTERM")  # it could clean up
    assert "task_revoked" in record.call("terminable").steps()


def test_a_call_may_be_revoked_by_its_stamp(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        signature = on.add.s(1, 1)
        signature.stamp(batch=f"{on.fleet.prefix}{on.way}")
        result = signature.apply_async(countdown=1)
        wait_for(lambda: on.fleet.watch.count(result.id, "task-received"))
        on.control.revoke_by_stamped_headers({"batch": [f"{on.fleet.prefix}{on.way}"]})
        return result

    assert same(scenario, apart_from=only_the_value).value[0] == "REVOKED"
