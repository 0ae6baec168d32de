"""What Celery does since some version only, for the few expectations that are absolute.

The conformance suite compares live calls with deployed ones of the same Celery, whatever that does. Where a test says
besides what both come to, or where an older Celery never comes to an end, it asks here.
"""

from __future__ import annotations

from typing import Final

import celery
import pytest

_CELERY: Final = tuple(int(part) for part in celery.__version__.split(".")[:2])

#: Before, a result that the garbage collector finds while another one is being subscribed to waits for a lock that
#: its own thread has, for ever: https://github.com/celery/celery/issues/10477
RESULTS_MAY_DIE_AT_ANY_TIME: Final = _CELERY >= (5, 7)

#: What a script or a session begins with that calls a worker: where results may not die at any time, none does.
SCRIPT_HEAD: Final = "" if RESULTS_MAY_DIE_AT_ANY_TIME else "import gc; gc.disable()\n"

#: Before, a worker with the threads pool loses events: https://github.com/celery/celery/issues/10434
THREADS_TELL_EVERY_EVENT: Final = _CELERY >= (5, 7)

#: Before, an errback that fails takes its call's tracer with it, and a solo worker, and no event tells of an end:
#: https://github.com/celery/celery/pull/10214
ERRBACKS_FAIL_ALONE: Final = _CELERY >= (5, 7)

#: Before, a call whose on_success or after_return raises has failed, after it had succeeded.
HOOKS_FAIL_ALONE: Final = _CELERY >= (5, 7)

#: Before, of all that a failure calls, a hard limit calls the errbacks only, and it sends no event:
#: https://github.com/celery/celery/pull/10226
HARD_LIMITS_CALL_HOOKS: Final = _CELERY >= (5, 7)

#: For tests of what such a hook may count on.
where_hard_limits_call_hooks: Final = pytest.mark.skipif(
    not HARD_LIMITS_CALL_HOOKS, reason="this Celery calls no on_failure after a hard limit, deployed or live"
)

#: Before, the caller of a call that rejects its message never hears of it:
#: https://github.com/celery/celery/pull/10369
REJECTED_CALLS_FAIL: Final = _CELERY >= (5, 7)

#: Before, a call cannot ask for the result of a task that ignores its results, and a retry forgets what the call
#: asked for: https://github.com/celery/celery/pull/10184
CALLS_DECIDE_ON_THEIR_RESULTS: Final = _CELERY >= (5, 7)

#: Before, the results of a chain never come if they wait for a chord that failed:
#: https://github.com/celery/celery/pull/10323
CHAINS_FAIL_WITH_THEIR_CHORDS: Final = _CELERY >= (5, 7)

#: Before, the results of a group that replaced a task of a chord come in any order.
GROUPS_IN_CHORDS_KEEP_THEIR_ORDER: Final = _CELERY >= (5, 7)
